# What the rules of all stages share: their scripts' options, inputs that depend on the configuration, resources.

RESULTS = f"results/{CONFIG.scale}"
# The tasks whose samples a model judges and the tables of their runs, as patterns; they fit nothing where there is none.
JUDGED = [name for name, task in CONFIG.tasks.items() if task.data.family == "text"]
TEXT_TASKS = "|".join(JUDGED) or "(?!)"
TEXT_TABLES = "|".join(name for name, table in CONFIG.tables.items() if table.task in JUDGED) or "(?!)"
SCORE_TABLES = "|".join(name for name, table in CONFIG.tables.items() if table.task not in JUDGED) or "(?!)"

# The settings that each loss reads, besides the optimiser's.
INTERVALS = {"metrics_every", "validate_every", "checkpoint_every"}
STEPS = INTERVALS | {"pretrain_steps", "steps", "decay_start"}
WITH_BKSPC = STEPS | {"bkspc_start"}
READ_BY = {
    "mle": {"schedule": STEPS, "objective": {"imitate_prompt"}},
    "uls": {"schedule": STEPS, "objective": {"imitate_prompt", "uls_ngram", "uls_weight"}},
    "bc": {"schedule": WITH_BKSPC, "objective": {"imitate_noise", "imitate_prompt"}},
    "sm": {
        "schedule": WITH_BKSPC | {"beta_final", "beta_steps"},
        "objective": set(Objective.model_fields) - {"uls_ngram", "uls_weight"},
        "rollouts": None,
    },
}


def launcher(gpus):
    """What starts a script: Python, or one process per GPU where there are several."""
    explicit = "--num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"  # no user's defaults
    return "python" if gpus < 2 else f"accelerate launch --multi_gpu --num_processes {gpus} {explicit}"


# Training starts with $TRAINER: in the shell's prefix, because results do not depend on the number of GPUs, and a
# changed command or parameter would make them again.
prefix = f"TRAINER={shlex.quote(launcher(CONFIG.jobs.train.gpu))}; TRAINING_THREADS={CONFIG.jobs.train.threads}; "

# Likewise the consent to run the Python code that a network comes with: its trained model's folder cannot give it.
if any(CONFIG.settings(task)["model"].trust_remote_code for task in CONFIG.tasks):
    prefix += f"export {CONSENT}=1; "

# Likewise the configuration's changes, for a job that asks Snakemake itself: few of them concern it.
changes = shlex.join(f"{name}={json.dumps(value)}" for name, value in ({"scale": CONFIG.scale} | GIVEN).items())
prefix += f"CONFIGURATION={shlex.quote(changes)}; "

# Scripts run by the interpreter that runs Snakemake, unless each rule brings a conda environment.
if not any(str(method) == "conda" for method in workflow.deployment_settings.deployment_method):
    # Under workflow/run.py those on its own machine share one start of torch and transformers; a cluster's nodes do not.
    shared = "SEQUENCEMATCH_RUN_PID" in os.environ and not workflow.remote_exec
    warm = [f"{workflow.basedir}/workflow/warm"] if shared else []
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


def call(script, options=lambda wildcards: "", unused=lambda wildcards: ()):
    """A rule's one parameter: the script, its options, with their names, and the digest of each file of its code.

    ``script`` may follow from the wildcards.

    One value, because Snakemake compares parameters as a set; exactly what a job reads, so that exactly the jobs
    that a changed key or file concerns run again (``make why`` names it).
    """
    digests = cache(lambda name, unused: code_digests(SOURCE / f"{name}.py", unused))

    def parameter(wildcards):
        name = script(wildcards) if callable(script) else script
        return {"script": name, "options": options(wildcards), "code": digests(name, tuple(unused(wildcards)))}

    return parameter


def settings(wildcards, **sections):
    """The options for a job's settings: of each section named, all (None), or those listed."""
    in_force = CONFIG.settings(wildcards.task, wildcards.get("method"))
    return " ".join(options(in_force[section], only) for section, only in sections.items())


def ask(stage, what):
    """Memory or minutes for a job of ``stage``, more with every attempt."""
    return lambda wildcards, attempt: getattr(getattr(CONFIG.jobs, stage), what) * attempt


def base_model(wildcards):
    """The base model of the seed."""
    return f"{RESULTS}/{wildcards.task}/base/seed={wildcards.seed}/model"


def injected_policy(wildcards):
    """The model that proposes wrong tokens, where the task's noise kind is 'model'; clean sequences (eta = 0) have none."""
    kind = CONFIG.settings(wildcards.task)["noise"].kind
    return base_model(wildcards) if wildcards.eta != "0" and kind == "model" else []


def injected_unused(wildcards):
    """Only noise of the kind 'model' runs the code of models."""
    return [] if injected_policy(wildcards) else ["sequencematch.model.likely_noise"]


def noise_options(wildcards):
    if wildcards.eta == "0":
        return ""
    policy = injected_policy(wildcards)
    return f"{settings(wildcards, noise=None)} {f'--policy {policy}' if policy else ''}"


def sample_options(wildcards):
    """Without what only texts have, or what only disturbed decoding reads: the kind of noise is what disturbs it."""
    evaluation = CONFIG.evaluation_of(wildcards.task, wildcards.method, float(wildcards.eta))
    unread = {"judge"} if wildcards.task in JUDGED else {"judge", "shown"}
    perturbed = any("perturbed" in decoding_options(name) for name in evaluation.decodings)
    kind = {"kind"} if perturbed or evaluation.error_depths else set()
    chosen = options(evaluation, set(Evaluation.model_fields) - unread)
    return f"{chosen} {settings(wildcards, noise=kind)}"


def judge_model(wildcards):
    """The MLE model of the next seed, so that none judges its own samples; nothing where the settings name a judge."""
    if CONFIG.settings(wildcards.task, wildcards.method)["evaluation"].judge:
        return []
    return f"{RESULTS}/{wildcards.task}/{CONFIG.judge_method}/eta=0/seed={CONFIG.seed_after(int(wildcards.seed))}/model"


def judge_options(wildcards):
    """The settings, and the judge if it is one of the task's own models."""
    own = judge_model(wildcards)
    chosen = settings(wildcards, evaluation={"split", "batch", "judge"})
    return f"{chosen} {f'--judge-model {own}' if own else ''}"


def dataset_script(wildcards):
    return f"make_{CONFIG.tasks[wildcards.task].data.family}"


def dataset_options(wildcards):
    """What the rows of a task follow from: its settings, and those of its corpus."""
    source = CONFIG.source(wildcards.task)
    corpus = [] if source is None else [options(source, prefix="source_")]
    return " ".join([options(CONFIG.tasks[wildcards.task].data, data_read(wildcards, "dataset")), *corpus])


def data_read(wildcards, stage):
    """The settings of a task's data that a stage reads."""
    fields = set(type(CONFIG.tasks[wildcards.task].data).model_fields)
    later = {"tokenizer": {"vocabulary"} & fields, "examples": {"longest", "prompt", "continuation"} & fields}
    return later.get(stage, fields - set().union(*later.values()))


def corpus_files(wildcards):
    """The files on this machine that a task's corpus is read from."""
    source = CONFIG.source(wildcards.task)
    if source is None:
        return []
    in_hub_format = Path(source.name).rglob("*") if source.kind == "hub" else []
    named = [file for files in source.files.values() for file in files]
    return [*named, *sorted(str(file) for file in in_hub_format if file.is_file())]


def tokenizer_options(wildcards):
    """A pretrained model brings its own tokenizer."""
    model = CONFIG.settings(wildcards.task)["model"]
    if model.source != "scratch":
        return options(model, {"source", "revision", "trust_remote_code"}, prefix="model_")
    return options(CONFIG.tasks[wildcards.task].data, data_read(wildcards, "tokenizer"))


def examples_options(wildcards):
    """The tokenizer of a pretrained model knows its context."""
    model = CONFIG.settings(wildcards.task)["model"]
    context = [f"--context {model.context}"] if model.source == "scratch" else []
    return " ".join([options(CONFIG.tasks[wildcards.task].data, data_read(wildcards, "examples")), *context])


def base_options(wildcards):
    schedule = INTERVALS | {"base_steps"}
    return f"{settings(wildcards, model=None, optimiser=None, schedule=schedule, objective={'imitate_prompt'})} {resume_option(wildcards)}"


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
    """The names of a run, as its scores carry them, and what was judged of it."""
    names = {"scale": CONFIG.scale} | {name: wildcards[name] for name in ("task", "method", "eta", "seed")}
    names |= {"judged": judged(wildcards)} if judged(wildcards) else {}
    return " ".join(f"--{name} {value}" for name, value in names.items())


def judged(wildcards):
    """A run's judged.json, where a model judges its samples."""
    run = "{task}/{method}/eta={eta}/seed={seed}".format(**wildcards)
    return f"{RESULTS}/{run}/judged.json" if wildcards.task in JUDGED else []


def initial_model(wildcards):
    """What a method starts from: the k steps of BC, or the base model."""
    if CONFIG.starts_from_bc(wildcards.task, wildcards.method):
        return f"{RESULTS}/{wildcards.task}/pretrain_bc/eta={wildcards.eta}/seed={wildcards.seed}/model"
    return base_model(wildcards)


def table_metrics(wildcards):
    """The scores of every run that a table compares."""
    table = CONFIG.tables[wildcards.table]
    return [
        f"{RESULTS}/{table.task}/{method}/eta={eta:g}/seed={seed}/metrics.json"
        for method in table.methods
        for eta in CONFIG.etas_of(method)
        for seed in CONFIG.seeds
    ]


def table_shown(wildcards):
    """What each of those runs wrote after damaged prompts, in the same order."""
    return [str(Path(metrics).with_name("shown.jsonl")) for metrics in table_metrics(wildcards)]


def table_files(table):
    """What a table consists of; a table of texts has pages to look at as well."""
    kinds = ["csv", "md", "png", *(["html", "txt"] if CONFIG.tables[table].task in JUDGED else [])]
    return [f"{RESULTS}/tables/{table}.{kind}" for kind in kinds]


def table_page(table):
    """The page of a table, as far as it is to look at: HTML of a table of texts, Markdown otherwise."""
    return f"{RESULTS}/tables/{table}.{'html' if CONFIG.tables[table].task in JUDGED else 'md'}"


def map_metrics(wildcards):
    """The scores of every run that the map compares."""
    runs = dict.fromkeys(side.run for reading in CONFIG.map_readings for side in reading.sides.values())
    return [f"{RESULTS}/{run}/seed={seed}/metrics.json" for run in runs for seed in CONFIG.seeds]


def map_options(wildcards):
    """The map and what of the configuration it reads; the runs' files follow from that."""
    words = ["--map", CONFIG.map.model_dump_json(exclude_defaults=True), "--noiseless", *CONFIG.noiseless]
    return shlex.join([*words, "--results", RESULTS, "--seeds", *map(str, CONFIG.seeds)])


def title_option(wildcards):
    return f"--title {shlex.quote(CONFIG.tables[wildcards.table].title)}"


def titled(form):
    """The labels of a table's file in Snakemake's report: the table's title, and which form of it the file is."""
    return lambda wildcards: {"table": CONFIG.tables[wildcards.table].title, "form": form}


def titled_costs(form):
    """The same of a cost table."""
    return lambda wildcards: {"table": CONFIG.overheads[wildcards.overhead].title, "form": form}


def titled_axis(wildcards):
    """The labels of a figure of the map: the title of its axis, or its own name."""
    axis = CONFIG.map.axes.get(wildcards.figure)
    return {"figure": axis.title if axis else wildcards.figure}


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


def graph_options(wildcards):
    """What of the configuration decides which rules there are and which reads what another makes; the script does not
    ask, for the configuration reaches it by the environment."""
    compared = [(table.task, method) for table in CONFIG.tables.values() for method in table.methods]
    families = sorted({CONFIG.tasks[task].data.family for task in TABLE_TASKS})
    from_bc = any(CONFIG.starts_from_bc(*run) for run in compared)
    by_model = any(CONFIG.settings(task)["noise"].kind == "model" for task in TABLE_TASKS)
    return f"--families {' '.join(families)} --pretrain-bc {from_bc} --noise-by-model {by_model}"


def overhead_options(wildcards):
    """What an overhead table measures, and the network."""
    return " ".join(map(options, CONFIG.overhead_settings(wildcards.overhead)))


def overhead_title(wildcards):
    table = CONFIG.overheads[wildcards.overhead]
    return f"--title {shlex.quote(table.title)} --compared {shlex.quote(table.compared)}"


def overhead_table_files(name):
    """What a table of overheads consists of."""
    return [f"{RESULTS}/overheads/{name}.{kind}" for kind in ("csv", "md", "png")]


def overhead_files(name):
    """The table and the benchmarks of parts that its settings ask for."""
    measured = CONFIG.overheads[name].measured
    parts = [*(["growth"] if measured.contexts else []), *(["masking"] if measured.masked else []), *measured.parts]
    files = [f"{RESULTS}/overheads/{name}_{part}.{kind}" for part in parts for kind in ("csv", "md")]
    figure = [f"{RESULTS}/overheads/{name}_growth.png"] if measured.contexts else []
    return [*overhead_table_files(name), *files, *figure]
