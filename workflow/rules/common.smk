# What the rules of all stages share: the jobs of the configuration, how the shell starts them, what they ask for.

# Results and records go to the working folder. Scripts and documents are the project's: in its own folder by relative
# paths; elsewhere scripts by a resource, which Snakemake does not compare. So a project that moves makes nothing again.
INSIDE = PROJECT.samefile(".")
JOBS = Jobs(CONFIG, {} if INSIDE else {"scripts": shlex.quote(str(PROJECT / "src"))})
RESULTS = JOBS.folder
# A pattern of the tasks whose samples a model judges. Without names it matches nothing.
TEXT_TASKS = "|".join(JOBS.judged_tasks) or "(?!)"


def project(file):
    """A file of the project, as an input."""
    return file if INSIDE else str(PROJECT / file)


def command(words, start="OMP_NUM_THREADS={threads} python"):
    """The command of a rule: the name of its script and its options. What is printed goes to the log."""
    script, options = " ".join(words.split()).split(" ", 1)
    return f"{start} {'src' if INSIDE else '{resources.scripts}'}/{script}.py {options} > {{log}} 2>&1"


training = partial(command, start="OMP_NUM_THREADS={threads} {resources.launcher}")

# What the commands of rules say by {resources}: results do not depend on it, and Snakemake compares the resources of a
# finished job with nothing, while it makes results again if a command or a parameter changed.
LAUNCHER = launcher(CONFIG.jobs.train.gpu)

# Consent to run Python code that comes with a network, which a model's folder cannot give.
if any(CONFIG.settings(task)["model"].trust_remote_code for task in CONFIG.tasks):
    os.environ[CONSENT] = "1"

if CONFIG.tracker != "none":
    os.environ.update(SEQUENCEMATCH_TRACKER=CONFIG.tracker)

# Scripts run in the interpreter that runs Snakemake, unless each rule has a conda environment.
if not any(str(method) == "conda" for method in workflow.deployment_settings.deployment_method):
    # Under workflow/launcher/run.py the jobs of this machine share one import of torch and transformers; a cluster's do not.
    shared = "SEQUENCEMATCH_RUN_PID" in os.environ and not workflow.remote_exec
    first = [str(PROJECT / "workflow/launcher/warm")] if shared else []
    first.append(str(Path(sys.executable).parent))
    os.environ.update(PATH=os.pathsep.join([*first, os.environ.get("PATH", os.defpath)]))

snakemake_internals.share_one_gpu(workflow)

# The kinds of figures that the report shows of each task.
FIGURES = ("learning_curves", "masks", "backspaces")
