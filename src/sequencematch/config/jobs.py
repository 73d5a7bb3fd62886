"""What the rules of the workflow take from the configuration: each job's options, and its files.

The functions take a job's wildcards, as Snakemake gives them. A job gets exactly the settings that its script reads. So
a changed setting reruns exactly the jobs that read it.
"""

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sequencematch.config.experiment import Config, InForce
from sequencematch.settings.data import OF_CORPUS, OF_EXAMPLES, OF_TOKENIZER
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.families import FAMILIES
from sequencematch.settings.options import options
from sequencematch.store.code_digest import SOURCE, code_digests

Wildcards = Any  # Snakemake's: a name's value as an attribute and by get()

# Modules that a script imports and some of its jobs do not use: only noise that a model writes runs the code of models.
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
MODEL_CODE = ("sequencematch.model.likely_noise", "sequencematch.sampling.continued_noise")


def launcher(gpus: int) -> str:
    """The command that starts a training: Python, or one process per GPU if there are several."""
    explicit = "--num_machines 1 --mixed_precision no --dynamo_backend no --main_process_port 0"  # no user's defaults
    return "python" if gpus < 2 else f"accelerate launch --multi_gpu --num_processes {gpus} {explicit}"


def rule_parameter(
    script: str | Callable[[Wildcards], str],
    of_job: Callable[[Wildcards], str] = lambda wildcards: "",
    unused: Callable[[Wildcards], Collection[str]] = lambda wildcards: (),
) -> Callable[[Wildcards], dict[str, Any]]:
    """A rule's only parameter: the script, its options with their names, and the digest of each file of its code.

    ``script`` may depend on the wildcards. ``unused`` names modules that the script imports in functions that the job
    does not call. There is one parameter because Snakemake compares parameters as a set; ``make why`` shows what
    changed in it.
    """

    @cache
    def digests(name: str, unused: tuple[str, ...]) -> dict[str, str]:
        return code_digests(SOURCE / f"{name}.py", unused)

    def parameter(wildcards: Wildcards) -> dict[str, Any]:
        name = script(wildcards) if callable(script) else script
        return {"script": name, "options": of_job(wildcards), "code": digests(name, tuple(unused(wildcards)))}

    return parameter


class Jobs:
    """The jobs of a configuration, whose results are in ``folder``; ``common``: resources that all of them have."""

    def __init__(self, config: Config, common: Mapping[str, Any] = MappingProxyType({})):
        self.config = config
        self.common = common
        self.folder = f"results/{config.scale}"
        self.judged_tasks = [name for name, task in config.tasks.items() if FAMILIES[task.data.family].judged]
        self.table_tasks = list(dict.fromkeys(table.task for table in config.tables.values()))

    def resources(self, stage: str) -> dict[str, Any]:
        """What a job of a stage asks of the machine; more memory and minutes with every attempt."""
        job = getattr(self.config.jobs, stage)

        def growing(what: str) -> Callable[..., int]:
            return lambda wildcards, attempt: getattr(job, what) * attempt

        return {"mem_mb": growing("mem_mb"), "runtime": growing("runtime"), "gpu": job.gpu, **self.common}

    def _settings(self, wildcards: Wildcards, sections: Mapping[str, Collection[str] | None]) -> str:
        """The options for a job's settings: of each section named, all (None), or those listed."""
        in_force = self.in_force(wildcards)
        return " ".join(options(in_force[section], only) for section, only in sections.items())

    def in_force(self, wildcards: Wildcards) -> InForce:
        """The settings in force for a job, by section."""
        return self.config.settings(wildcards.task, wildcards.get("method"))

    def files_of(self, source: str) -> list[str]:
        """What a model is read from: its files, or the folder that a rule makes. Empty for models of the hub."""
        if source in self.config.made:
            return [source]
        files = Path(source).rglob("*") if source and source != "scratch" else []
        return sorted(str(file) for file in files if file.is_file() and not file.name.startswith("."))

    def tokenizer_files(self, wildcards: Wildcards) -> list[str]:
        """The files of its tokenizer: all of them but the weights."""
        files = self.files_of(self.in_force(wildcards)["model"].source)
        return [file for file in files if Path(file).suffix not in WEIGHTS]

    def dataset_options(self, wildcards: Wildcards) -> str:
        """The settings that determine the rows of a task: its own, and those of its corpus."""
        source, data = self.config.source(wildcards.task), self.in_force(wildcards)["data"]
        own = options(data, type(data).model_fields.keys() - OF_TOKENIZER - OF_EXAMPLES)
        return f"{own} {options(source, OF_CORPUS)}" if source else own

    def corpus_files(self, wildcards: Wildcards) -> list[str]:
        """The files on this machine that a task's corpus is read from."""
        source = self.config.source(wildcards.task)
        if source is None:
            return []
        in_hub_format = Path(source.name).rglob("*") if source.kind == "hub" else []
        named = [file for files in source.files.values() for file in files]
        return [*named, *sorted(str(file) for file in in_hub_format if file.is_file())]

    def tokenizer_options(self, wildcards: Wildcards) -> str:
        """The settings of the tokenizer. A pretrained model brings its own."""
        model = self.in_force(wildcards)["model"]
        if model.source != "scratch":
            return options(model, {"source", "revision", "trust_remote_code"})
        return self._settings(wildcards, {"model": {"source"}, "data": OF_TOKENIZER})

    def examples_options(self, wildcards: Wildcards) -> str:
        """The settings of the encoding. The context is left out for a pretrained model, whose tokenizer knows it."""
        context = {"context"} if self.in_force(wildcards)["model"].source == "scratch" else set()
        return self._settings(wildcards, {"data": OF_EXAMPLES, "model": context})

    def injected_policy(self, wildcards: Wildcards) -> str | list:
        """The model that writes wrong tokens, if one does. Clean data (eta 0) have none."""
        by_model = wildcards.eta != "0" and self.in_force(wildcards)["noise"].by_model
        return self.base_model(wildcards) if by_model else []

    def noise_options(self, wildcards: Wildcards) -> str:
        """The settings of the noise and of deletions, and the policy that writes wrong tokens. Clean data read none."""
        if wildcards.eta == "0":
            return ""
        policy = self.injected_policy(wildcards)
        chosen = self._settings(wildcards, {"noise": None, "model": {"deletions"}})
        return f"{chosen} {f'--policy {policy} {self.kernels}' if policy else ''}"

    def base_model(self, wildcards: Wildcards) -> str:
        """The base model of the seed, which tasks may share."""
        return f"{self.folder}/{self.config.base_task(wildcards.task)}/base/seed={wildcards.seed}/model"

    def initial_model(self, wildcards: Wildcards) -> str:
        """What a method starts from: the k steps of BC, or the base model."""
        if self.config.starts_from_bc(wildcards.task, wildcards.method):
            return f"{self.folder}/{wildcards.task}/pretrain_bc/eta={wildcards.eta}/seed={wildcards.seed}/model"
        return self.base_model(wildcards)

    def finetune_options(self, wildcards: Wildcards) -> str:
        """The loss of a method, and the settings that this loss reads."""
        loss, reads = self.config.methods[wildcards.method].loss, self.config.loss_of(wildcards.method).reads
        return f"--loss {loss} {self.training_options(wildcards, reads)}"

    def training_options(self, wildcards: Wildcards, reads: Mapping[str, Collection[str] | None]) -> str:
        """The settings that a training reads, the kernels, and the folder in which it keeps its checkpoints.

        The folder is not declared as an output, because Snakemake deletes outputs before each attempt.
        """
        method = wildcards.get("method", "pretrain_bc" if wildcards.get("eta") else "base")
        level = f"eta={wildcards.eta}/" if wildcards.get("eta") else ""
        resume = f"--resume {self.folder}/.resume/{wildcards.task}/{method}/{level}seed={wildcards.seed}"
        return " ".join(filter(None, [self._settings(wildcards, reads), self.kernels, resume]))

    @property
    def kernels(self) -> str:
        """The kernels of the CPU where they are not the default. They change bits, so they are among the options."""
        chosen = self.config.jobs.kernels
        return "" if chosen == "portable" else f"--kernels {chosen}"

    def sample_options(self, wildcards: Wildcards) -> str:
        """The settings of sampling; those of texts for texts alone, the kind of noise where a decoding uses it."""
        evaluation = self.config.evaluation_of(wildcards.task, wildcards.method, float(wildcards.eta))
        unread = {"judge"} if wildcards.task in self.judged_tasks else {"judge", "shown"}
        kind = {"kind"} if evaluation.uses_training_noise else set()
        chosen = options(evaluation, set(Evaluation.model_fields) - unread)
        return f"{chosen} {self._settings(wildcards, {'noise': kind})} {self.kernels}".rstrip()

    def judge_model(self, wildcards: Wildcards) -> str | list:
        """The model that judges a run: of the next seed, not its own. Empty if the settings name a judge."""
        if self.in_force(wildcards)["evaluation"].judge:
            return []
        seed = self.config.seed_after(int(wildcards.seed))
        return f"{self.folder}/{wildcards.task}/{self.config.judge_method}/eta=0/seed={seed}/model"

    def judge_options(self, wildcards: Wildcards) -> str:
        """The settings, and the judge if it is one of the task's own models."""
        own = self.judge_model(wildcards)
        chosen = self._settings(wildcards, {"evaluation": {"split", "batch", "judge"}})
        return f"{chosen} {f'--judge-model {own}' if own else ''} {self.kernels}".rstrip()

    def judged(self, wildcards: Wildcards) -> list[str]:
        """A run's judged.json, if a model judges its samples."""
        run = "{task}/{method}/eta={eta}/seed={seed}".format(**wildcards)
        return [f"{self.folder}/{run}/judged.json"] if wildcards.task in self.judged_tasks else []

    def run_options(self, wildcards: Wildcards) -> str:
        """The names of a run, which its scores carry, and the file of its judge."""
        words = [f"--{name} {wildcards[name]}" for name in ("task", "method", "eta", "seed")]
        judged = [f"--judged {file}" for file in self.judged(wildcards)]
        return " ".join([f"--scale {self.config.scale}", *words, *judged])

    def metrics_of(self, tables: Iterable[str]) -> list[str]:
        """The scores of every run that some tables compare, each once."""
        found = [
            f"{self.folder}/{table.task}/{method}/eta={eta:g}/seed={seed}/metrics.json"
            for table in map(self.config.tables.__getitem__, tables)
            for method in table.methods
            for eta in self.config.etas_of(method)
            for seed in self.config.seeds
        ]
        return list(dict.fromkeys(found))

    def task_metrics(self, wildcards: Wildcards) -> list[str]:
        """The scores of the runs that a task's tables compare."""
        return self.metrics_of(name for name, table in self.config.tables.items() if table.task == wildcards.task)

    def shown_of(self, tables: Iterable[str]) -> list[str]:
        """Of text: what each run of some tables wrote after damaged prompts, in the same order."""
        judged = [name for name in tables if self.config.tables[name].task in self.judged_tasks]
        return [str(Path(metrics).with_name("shown.jsonl")) for metrics in self.metrics_of(judged)]

    def table_files(self, table: str) -> list[str]:
        """The files of a table: its numbers, its page, its figure."""
        return [f"{self.folder}/tables/{table}.{kind}" for kind in ("csv", "md", "html", "png")]

    def titled(self, form: str) -> Callable[[Wildcards], dict[str, str]]:
        """The labels of the file of a table, or of an overhead table, in Snakemake's report: its title and its form."""
        titles = {name: table.title for name, table in self.config.tables.items()}
        titles |= {name: table.title for name, table in self.config.overheads.items()}
        return lambda wildcards: {"table": titles[wildcards.get("table") or wildcards.overhead], "form": form}

    def overhead_options(self, wildcards: Wildcards) -> str:
        """What an overhead table measures, and the network."""
        return " ".join([*map(options, self.config.overhead_settings(wildcards.overhead)), self.kernels]).rstrip()

    def overhead_title(self, wildcards: Wildcards) -> str:
        """The heading of an overhead table, and what it compares."""
        table = self.config.overheads[wildcards.overhead]
        return f"--title {shlex.quote(table.title)} --compared {shlex.quote(table.compared)}"

    def overhead_table_files(self, name: str) -> list[str]:
        """The files of an overhead table."""
        return [f"{self.folder}/overheads/{name}.{kind}" for kind in ("csv", "md", "png")]

    def overhead_files(self, name: str) -> list[str]:
        """The table, and the benchmarks of the parts that its settings ask for in addition to its steps."""
        measured = self.config.overheads[name].measured
        parts = [*(["growth"] if measured.contexts else []), *(["masking"] if measured.masked else []), *measured.parts]
        files = [f"{self.folder}/overheads/{name}_{part}.{kind}" for part in parts for kind in ("csv", "md")]
        figure = [f"{self.folder}/overheads/{name}_growth.png"] if "growth" in parts else []
        return [*self.overhead_table_files(name), *files, *figure]
