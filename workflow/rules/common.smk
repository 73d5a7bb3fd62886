# What the rules of all stages share: the jobs of the configuration, how the shell starts them, what they ask for.

JOBS = Jobs(CONFIG)
RESULTS = JOBS.folder
# A pattern of the tasks whose samples a model judges. Without names it matches nothing.
TEXT_TASKS = "|".join(JOBS.judged_tasks) or "(?!)"

# The launcher of training is a variable in the shell's prefix: results do not depend on the number of GPUs, and
# Snakemake would make them again if a rule's command changed.
prefix = f"TRAINER={shlex.quote(launcher(CONFIG.jobs.train.gpu))}; TRAINING_THREADS={CONFIG.jobs.train.threads}; "

# The same holds for the consent to run Python code that comes with a network. A model's folder cannot give it.
if any(CONFIG.settings(task)["model"].trust_remote_code for task in CONFIG.tasks):
    prefix += f"export {CONSENT}=1; "

# The same holds for the tracker that training reports to.
if CONFIG.tracker != "none":
    prefix += f"export SEQUENCEMATCH_TRACKER={CONFIG.tracker}; "

# The same holds for the changes to the configuration. Only draw_rules reads them, because it starts Snakemake itself.
changes = shlex.join(f"{name}={json.dumps(value)}" for name, value in ({"scale": CONFIG.scale} | GIVEN).items())
prefix += f"CONFIGURATION={shlex.quote(changes)}; "

# Scripts run in the interpreter that runs Snakemake, unless each rule has a conda environment.
if not any(str(method) == "conda" for method in workflow.deployment_settings.deployment_method):
    # Under workflow/launcher/run.py the jobs of this machine share one import of torch and transformers; a cluster's do not.
    shared = "SEQUENCEMATCH_RUN_PID" in os.environ and not workflow.remote_exec
    warm = [f"{workflow.basedir}/workflow/launcher/warm"] if shared else []
    if shared:
        count_workers()
    interpreters = ":".join([*warm, str(Path(sys.executable).parent)])
    prefix += f"export PATH={shlex.quote(interpreters)}:$PATH; "

# Jobs of this machine share one GPU, unless the command line says more. A cluster gives each job what it asks for.
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
    """GPUs that the jobs of this run may use at a time (make GPUS=2). None if the command line names no number."""
    resource = workflow.global_resources.get("gpu")
    return getattr(resource, "value", resource)


# For the report: its figures, their tasks, and the files that define the rules.
FIGURES = ("learning_curves", "masks", "backspaces")
RULE_FILES = [
    "Snakefile",
    *sorted(f"workflow/rules/{file.name}" for file in Path(workflow.current_basedir).glob("*.smk")),
]
