# What the rules of all stages share: their scripts' options, inputs that depend on the configuration, resources.

RESULTS = f"results/{CONFIG.scale}"
TABLE_KINDS = ("csv", "md", "png")

# The settings that each loss reads, besides the optimiser's.
INTERVALS = {"metrics_every", "validate_every", "checkpoint_every"}
STEPS = INTERVALS | {"pretrain_steps", "steps", "decay_start"}
READ_BY = {
    "mle": {"schedule": STEPS},
    "uls": {"schedule": STEPS, "objective": {"uls_ngram", "uls_weight"}},
    "bc": {"schedule": STEPS, "objective": {"imitate_noise"}},
    "sm": {
        "schedule": STEPS | {"beta_final", "beta_steps"},
        "objective": set(Objective.model_fields) - {"uls_ngram", "uls_weight"},
        "rollouts": None,
    },
}

# Scripts run by the interpreter that runs Snakemake, unless each rule brings a conda environment.
if not any(str(method) == "conda" for method in workflow.deployment_settings.deployment_method):
    # Under workflow/run.py they share one start of torch and transformers.
    warm = [f"{workflow.basedir}/workflow/warm"] if "SEQUENCEMATCH_RUN_PID" in os.environ else []
    interpreters = ":".join([*warm, str(Path(sys.executable).parent)])
    shell.prefix(f"export PATH={shlex.quote(interpreters)}:$PATH; ")


def call(script, options=lambda wildcards: "", unused=lambda wildcards: ()):
    """A rule's one parameter: the script's options, with their names, and the digest of the code behind it.

    One value, because Snakemake compares parameters as a set; exactly what a job reads, so that exactly the jobs
    that a changed key or module concerns run again.
    """

    def parameter(wildcards):
        return {"options": options(wildcards), "code": code_digest(SOURCE / f"{script}.py", unused(wildcards))}

    return parameter


def settings(wildcards, **sections):
    """The options for a job's settings: of each section named, all (None), or those listed."""
    in_force = CONFIG.settings(wildcards.task, wildcards.get("method"))
    return " ".join(cli.options(in_force[section], only) for section, only in sections.items())


def ask(stage, what):
    """Memory or minutes for a job of ``stage``, more with every attempt."""
    return lambda wildcards, attempt: getattr(getattr(CONFIG.jobs, stage), what) * attempt


def noise_policy(wildcards):
    """The model that proposes wrong tokens, where the task's noise kind is 'model'."""
    kind = CONFIG.settings(wildcards.task)["noise"].kind
    return f"{RESULTS}/{wildcards.task}/base/seed={wildcards.seed}/model" if kind == "model" else []


def injected_policy(wildcards):
    """Clean sequences (eta = 0) do not depend on the kind of noise."""
    return [] if wildcards.eta == "0" else noise_policy(wildcards)


def injected_unused(wildcards):
    """Only noise of the kind 'model' runs the code of models."""
    return [] if injected_policy(wildcards) else ["sequencematch.core", "sequencematch.policy"]


def noise_options(wildcards):
    return "" if wildcards.eta == "0" else f"{settings(wildcards, noise=None)} {policy_option(wildcards)}"


def sample_options(wildcards):
    """The kind of noise is that of the corrupted prompts too."""
    return f"{settings(wildcards, evaluation=None, noise={'kind'})} {policy_option(wildcards)}"


def policy_option(wildcards):
    policy = noise_policy(wildcards)
    return f"--policy {policy}" if policy else ""


def tokenizer_options(wildcards):
    """A pretrained model brings its own tokenizer."""
    source = CONFIG.settings(wildcards.task)["model"].source
    return "" if source == "scratch" else f"--source {shlex.quote(source)}"


def base_options(wildcards):
    schedule = INTERVALS | {"base_steps"}
    return f"{settings(wildcards, model=None, optimiser=None, schedule=schedule)} {resume_option(wildcards)}"


def bc_options(wildcards):
    return f"{settings(wildcards, optimiser=None, **READ_BY['bc'])} {resume_option(wildcards)}"


def finetune_options(wildcards):
    loss = CONFIG.methods[wildcards.method].loss
    return f"--loss {loss} {settings(wildcards, optimiser=None, **READ_BY[loss])} {resume_option(wildcards)}"


def resume_option(wildcards):
    """Where training keeps its checkpoints: no declared output, because Snakemake deletes those before each attempt."""
    method = wildcards.get("method", "pretrain_bc" if wildcards.get("eta") else "base")
    level = f"eta={wildcards.eta}/" if wildcards.get("eta") else ""
    return f"--resume {RESULTS}/.resume/{wildcards.task}/{method}/{level}seed={wildcards.seed}"


def run_options(wildcards):
    """The names of a run, as its scores carry them."""
    names = {"scale": CONFIG.scale} | {name: wildcards[name] for name in ("task", "method", "eta", "seed")}
    return " ".join(f"--{name} {value}" for name, value in names.items())


def initial_model(wildcards):
    """What a method starts from: the k steps of BC, or the base model."""
    if CONFIG.starts_from_bc(wildcards.task, wildcards.method):
        return f"{RESULTS}/{wildcards.task}/pretrain_bc/eta={wildcards.eta}/seed={wildcards.seed}/model"
    return f"{RESULTS}/{wildcards.task}/base/seed={wildcards.seed}/model"


def table_metrics(wildcards):
    """The scores of every run that a table compares."""
    table = CONFIG.tables[wildcards.table]
    return [
        f"{RESULTS}/{table.task}/{method}/eta={eta:g}/seed={seed}/metrics.json"
        for method in table.methods
        for eta in CONFIG.etas_of(method)
        for seed in CONFIG.seeds
    ]


def title_option(wildcards):
    return f"--title {shlex.quote(CONFIG.tables[wildcards.table].title)}"


# Of the report: its figures, the tasks they are of, and the files that say what rules there are.
FIGURES = ("learning_curves", "masks", "backspaces")
TABLE_TASKS = list(dict.fromkeys(table.task for table in CONFIG.tables.values()))
RULE_FILES = [
    "Snakefile",
    *sorted(f"workflow/rules/{file.name}" for file in Path(workflow.current_basedir).glob("*.smk")),
]


def metrics_of_tables(task=None):
    """The scores of every run of the tables, or of those that compare methods on ``task``."""
    tables = [name for name, table in CONFIG.tables.items() if task in (None, table.task)]
    found = (table_metrics(SimpleNamespace(table=name)) for name in tables)
    return list(dict.fromkeys(path for paths in found for path in paths))


def task_metrics(wildcards):
    return metrics_of_tables(wildcards.task)


def base_models(wildcards):
    return [f"{RESULTS}/{wildcards.task}/base/seed={seed}/model" for seed in CONFIG.seeds]


def noisiest_examples(wildcards):
    """Of the first seed."""
    return f"{RESULTS}/{wildcards.task}/noised/eta={max(CONFIG.etas):g}/seed={CONFIG.seeds[0]}"


def configuration_options(wildcards):
    """The configuration's changes to the scale, for a second Snakemake."""
    given = {"scale": CONFIG.scale} | dict(config)
    return f"--config {shlex.join(f'{name}={json.dumps(value)}' for name, value in given.items())}"
