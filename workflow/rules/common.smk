# What the rules of all stages share: the jobs of the configuration, how the shell starts them, what they ask for.

JOBS = Jobs(CONFIG)
RESULTS = JOBS.folder
# The tasks whose samples a model judges and the tables of their runs, as patterns; they fit nothing where there is none.
TEXT_TASKS = "|".join(JOBS.judged_tasks) or "(?!)"
TEXT_TABLES = "|".join(JOBS.text_tables) or "(?!)"
SCORE_TABLES = "|".join(JOBS.score_tables) or "(?!)"

# Training starts with $TRAINER: in the shell's prefix, because results do not depend on the number of GPUs, and a
# changed command or parameter would make them again.
prefix = f"TRAINER={shlex.quote(launcher(CONFIG.jobs.train.gpu))}; TRAINING_THREADS={CONFIG.jobs.train.threads}; "

# Likewise the consent to run the Python code that a network comes with: its trained model's folder cannot give it.
if any(CONFIG.settings(task)["model"].trust_remote_code for task in CONFIG.tasks):
    prefix += f"export {CONSENT}=1; "

# Likewise the tracker that training reports to.
if CONFIG.tracker != "none":
    prefix += f"export SEQUENCEMATCH_TRACKER={CONFIG.tracker}; "

# Likewise the configuration's changes, for a job that asks Snakemake itself: few of them concern it.
changes = shlex.join(f"{name}={json.dumps(value)}" for name, value in ({"scale": CONFIG.scale} | GIVEN).items())
prefix += f"CONFIGURATION={shlex.quote(changes)}; "

# Scripts run by the interpreter that runs Snakemake, unless each rule brings a conda environment.
if not any(str(method) == "conda" for method in workflow.deployment_settings.deployment_method):
    # Under workflow/run.py those on its own machine share one start of torch and transformers; a cluster's nodes do not.
    shared = "SEQUENCEMATCH_RUN_PID" in os.environ and not workflow.remote_exec
    warm = [f"{workflow.basedir}/workflow/warm"] if shared else []
    if shared:
        count_workers()
    interpreters = ":".join([*warm, str(Path(sys.executable).parent)])
    prefix += f"export PATH={shlex.quote(interpreters)}:$PATH; "

# One GPU, unless the command line says how many jobs may use at a time; a cluster gives what each job asks for.
if workflow.is_main_process and workflow.local_exec:
    workflow.global_resources.setdefault("gpu", 1)

shell.prefix(prefix.replace("{", "{{").replace("}", "}}"))  # Snakemake formats it


def planned_jobs():
    """The jobs that are about to run, as the check of the machine reads them."""
    return [
        preflight.Planned(job.rule.name, job.wildcards_dict.get("task"), job.resources.get("mem_mb", 0))
        for job in workflow.dag.needrun_jobs()
    ]


def allowed_gpus():
    """GPUs that the jobs of this run may use at a time (make GPUS=2); None where nothing was said."""
    resource = workflow.global_resources.get("gpu")
    return getattr(resource, "value", resource)


# Of the report: its figures, the tasks they are of, and the files that say what rules there are.
FIGURES = ("learning_curves", "masks", "backspaces")
RULE_FILES = [
    "Snakefile",
    *sorted(f"workflow/rules/{file.name}" for file in Path(workflow.current_basedir).glob("*.smk")),
]
