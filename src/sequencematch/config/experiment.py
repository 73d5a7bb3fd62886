"""The configuration of an experiment: what its files may say, and the settings that follow for each job.

A base file and any number of overlays are merged key by key (null removes a key). Every task may override any section,
every method those that only its own jobs read.
"""

import itertools
import re
from collections.abc import Collection, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, field_validator

from sequencematch.data import documents, pairs
from sequencematch.errors import UserError
from sequencematch.settings.data import Arithmetic, Source, Text, Translation
from sequencematch.settings.decodings import decoding_options
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.explain import sentence, unknown
from sequencematch.settings.map import Map, Reading, readings_of
from sequencematch.settings.model import Model
from sequencematch.settings.noise import Noise
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.section import Count, Name, Section, setting
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule
from sequencematch.store.files import read_text, reason

SECTIONS = {s.__name__.lower(): s for s in (Noise, Model, Optimiser, Schedule, Objective, Rollouts, Evaluation)}
DEFAULT_SCALE = "default"
MOST_BYTES, MOST_VALUES = 2**20, 100_000  # of a configuration file
# The settings of the schedule that fine-tuning alone reads, so that methods may differ in them.
OF_FINE_TUNING = {"beta_final", "beta_steps"}
NOISELESS = ("mle", "uls")  # losses on clean data: one run stands beside every eta
# Folders beside those of tasks, and beside those of methods; figures beside those of the map's axes.
TASK_RESERVED = ("tables", "overheads", "figures", "map", "logs", "benchmarks")
MAP_RESERVED = ("map", "summary", "cost")
METHOD_RESERVED = ("data", "tokenizer", "examples", "noised", "base", "pretrain_bc")

Eta = Annotated[float, Field(gt=0, lt=1)]
Overrides = dict[str, Any]


def _family(data: Any) -> str | None:
    return data.get("family") if isinstance(data, dict) else getattr(data, "family", None)


Data = (
    Annotated[Arithmetic, Tag("arithmetic")] | Annotated[Translation, Tag("translation")] | Annotated[Text, Tag("text")]
)


class Task(Section):
    data: Data = Field(discriminator=Discriminator(_family), description="the task's examples, of one family")
    noise: Overrides = {}
    model: Overrides = {}
    optimiser: Overrides = {}
    schedule: Overrides = {}
    objective: Overrides = {}
    rollouts: Overrides = {}
    evaluation: Overrides = {}


class Method(Section):
    """A loss with its own settings. What precedes fine-tuning is shared by all methods and cannot be overridden."""

    loss: Literal["mle", "uls", "bc", "sm"] = Field(description="what the method minimises")
    optimiser: Overrides = {}
    schedule: Overrides = {}
    objective: Overrides = {}
    rollouts: Overrides = {}
    evaluation: Overrides = {}


class Table(Section):
    title: str = Field(description="heading of the table")
    task: str = Field(description="task whose runs are compared")
    methods: tuple[str, ...] = Field(min_length=1, description="methods compared, in this order")


class OverheadTable(Section):
    """A table of what steps and sampling cost, with the network that they are measured on."""

    title: str = Field(description="heading of the table")
    compared: str = setting("", "what the paper's numbers beside it are of, as in paper_tables.csv")
    measured: Overhead = Field(description="what is measured, and how often")
    model: Overrides = {}


class Job(Section):
    """What one job of a stage asks of the machine; memory and time double with the second attempt."""

    threads: Count = setting(1, "CPU threads")
    mem_mb: Count = setting(2000, "memory in MB")
    runtime: Count = setting(30, "minutes")
    gpu: Annotated[int, Field(ge=0)] = setting(0, "GPUs")


class Jobs(Section):
    data: Job = Job()
    train: Job = Job()
    sample: Job = Job()
    report: Job = Job()


class Config(Section):
    scale: Name = Field(description="name of the scale, and of its folder under results/")
    extends: str = setting("", "scale whose overlay comes before this one's")
    seeds: tuple[int, ...] = Field(min_length=1, description="seeds of the runs")
    etas: tuple[Eta, ...] = Field(min_length=1, description="noise levels")
    sources: dict[Name, Source] = {}
    tasks: dict[Name, Task] = Field(min_length=1)
    methods: dict[Name, Method] = Field(min_length=1)
    tables: dict[Name, Table] = {}
    map: Map | None = None
    overheads: dict[Name, OverheadTable] = {}
    noise: Noise = Noise()
    model: Model = Model()
    optimiser: Optimiser = Optimiser()
    schedule: Schedule = Schedule()
    objective: Objective = Objective()
    rollouts: Rollouts = Rollouts()
    evaluation: Evaluation = Evaluation()
    jobs: Jobs = Jobs()

    @field_validator("seeds", "etas")
    @classmethod
    def _distinct(cls, values):
        if len(set(values)) < len(values):
            raise ValueError(f"{list(values)} holds the same value twice; each one is a run of its own")
        return values

    @cache  # noqa: B019  (one configuration per process)
    def settings(self, task: str, method: str | None = None) -> dict[str, Section]:
        """The settings in force for a task's jobs, or for those of one of its methods, by section name."""
        chosen = [self.tasks[task], *([self.methods[method]] if method else [])]
        merged = {
            name: getattr(self, name).model_dump() | {k: v for c in chosen for k, v in getattr(c, name, {}).items()}
            for name in SECTIONS
        }
        return {"data": self.tasks[task].data} | {name: SECTIONS[name](**values) for name, values in merged.items()}

    def overhead_settings(self, name: str) -> tuple[Overhead, Model]:
        """What an overhead table measures, and on which network."""
        table = self.overheads[name]
        return table.measured, Model(**(self.model.model_dump() | table.model))

    def source(self, task: str) -> Source | None:
        """The corpus of a task's examples; None where they are generated questions."""
        data = self.tasks[task].data
        return None if data.family == "arithmetic" else self.sources[data.source]

    @property
    def judge_method(self) -> str | None:
        """The method whose models judge text where no other judge is named: the first that trains by MLE."""
        return next((name for name, method in self.methods.items() if method.loss == "mle"), None)

    def seed_after(self, seed: int) -> int:
        """The next seed of the list, in a circle: another one, if there are several."""
        place = self.seeds.index(seed) if seed in self.seeds else -1
        return self.seeds[(place + 1) % len(self.seeds)]

    def starts_from_bc(self, task: str, method: str) -> bool:
        """Whether a method goes on from the k steps of BC, not from the base model."""
        return self.methods[method].loss not in NOISELESS and self.settings(task)["schedule"].pretrain_steps > 0

    def etas_of(self, method: str) -> tuple[float, ...]:
        """The noise levels a method is trained at: 0 alone where it trains on clean data."""
        return (0,) if self.methods[method].loss in NOISELESS else self.etas

    @property
    def noiseless(self) -> list[str]:
        """The methods that train on clean data, without ``<bkspc>``."""
        return [name for name, method in self.methods.items() if method.loss in NOISELESS]

    @cached_property
    def map_readings(self) -> list[Reading]:
        """Every cell of the map in each of its readings; none without a map."""
        return readings_of(self.map, self.noiseless) if self.map else []

    def evaluation_of(self, task: str, method: str, eta: float) -> Evaluation:
        """How a run is evaluated: as the settings say, and in every decoding that the map reads of it."""
        settings = self.settings(task, method)["evaluation"]
        sides = (side for reading in self.map_readings for side in reading.sides.values())
        wanted = [side.decoding for side in sides if (side.task, side.method, side.eta) == (task, method, eta)]
        return settings.model_copy(update={"decodings": tuple(dict.fromkeys((*settings.decodings, *wanted)))})

    def __hash__(self) -> int:
        return id(self)


def scale_overlay(folder: Path, name: str | None) -> list[Path]:
    """The files in ``folder`` that make the scale ``name`` of the base configuration, the one it extends first.

    None for the default scale.
    """
    if name in (None, DEFAULT_SCALE):
        return []
    files = {file.stem: file for file in sorted(Path(folder).glob("*.yaml"))}
    chosen: list[Path] = []
    while name and name != DEFAULT_SCALE:
        if name not in files:
            raise UserError(unknown(f"scale '{name}'", str(name), [DEFAULT_SCALE, *files]))
        if files[name] in chosen:
            raise UserError(f"{files[name]}: extends is '{name}', which extends this scale in turn")
        chosen.insert(0, files[name])
        name = read_yaml(files[name]).get("extends")
    return chosen


def run_name(name: object, scales: Path) -> str:
    """The name of a run's own folder under results/. Raises UserError where a scale or the reference has that name."""
    taken = {DEFAULT_SCALE, "reference", *(file.stem for file in Path(scales).glob("*.yaml"))}
    if str(name) in taken:
        raise UserError(f"NAME is '{name}', which is taken by results of the project: choose another name")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", str(name)):
        raise UserError(f"NAME is '{name}', but must consist of letters, digits, _ and - (it names a folder)")
    return str(name)


def load_config(*sources: Path | tuple[str, dict]) -> Config:
    """The checked configuration of a base file and its overlays, the later ones first in precedence.

    An overlay is a YAML file, or a mapping with the name errors give it. Raises UserError, one sentence with the
    file, the key, its value and what is allowed.
    """
    named = [
        (source[0], _with_nulls(source[1])) if isinstance(source, tuple) else (str(source), read_yaml(Path(source)))
        for source in sources
    ]
    merged: dict = {}
    for _, values in named:
        merged = _merge(merged, values)

    def write(place: tuple) -> str:
        return f"{_origin(named, place)}: {'.'.join(map(str, place))}"

    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise UserError(sentence(error, Config, write)) from None
    _check_names(config, write)
    for task in config.tasks:
        _check_source(config, task, write)
        for method in (None, *config.methods):
            _check_settings(config, task, method, write)
    for name in config.overheads:
        _check_overhead(config, name, write)
    return config


def read_yaml(file: Path) -> dict:
    """The mapping in a YAML file, read safely; a key that stands twice is an error."""
    if not file.exists():
        raise UserError(f"'{file}' does not exist")
    text = read_text(file, "write it again", MOST_BYTES)
    try:
        _check_size(yaml.compose(text, Loader=yaml.SafeLoader))
        values = yaml.load(text, Loader=_UniqueKeys)
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}, line {mark.line + 1}" if mark else str(file)
        raise UserError(f"{where}: not valid YAML ({getattr(error, 'problem', None) or reason(error)})") from None
    if not isinstance(values, dict | None):
        raise UserError(f"{file}: holds no settings (key: value)")
    return values or {}


def _check_size(node: yaml.Node | None) -> None:
    """Raises ValueError where aliases (``*name``) unfold to very much, or to a group that holds itself."""
    waiting, seen = [node], 0
    while waiting:
        node, seen = waiting.pop(), seen + 1
        if seen > MOST_VALUES:
            raise ValueError(f"it unfolds to more than {MOST_VALUES:,} values: an alias may hold itself")
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _with_nulls(value):
    """What a command line gives, on which ``null`` arrives as a word."""
    if isinstance(value, dict):
        return {key: _with_nulls(inner) for key, inner in value.items()}
    return None if isinstance(value, str) and value in ("null", "Null", "NULL", "~") else value


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float):
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is no name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands here twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _merge(below: dict, above: dict) -> dict:
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged[key] if isinstance(merged.get(key), dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _origin(named: Sequence[tuple[str, dict]], place: tuple) -> str:
    """The last source that says anything about ``place``, or about the closest group around it."""
    for length in range(len(place), 0, -1):
        for name, values in reversed(named):
            for key in place[:length]:
                values = values.get(key) if isinstance(values, dict) else None
            if values is not None:
                return name
    return named[0][0]


def _check_names(config: Config, write) -> None:
    for group, reserved in (("tasks", TASK_RESERVED), ("methods", METHOD_RESERVED)):
        for name in getattr(config, group):
            if name in reserved:
                raise UserError(f"{write((group, name))}: this name is taken by a folder of the results; rename it")
    for name, task in config.tasks.items():
        source = getattr(task.data, "source", None)
        if source is not None and source not in config.sources:
            raise UserError(unknown(f"{write(('tasks', name, 'data', 'source'))}: '{source}'", source, config.sources))
    for name in config.overheads.keys() & config.tables.keys():
        raise UserError(f"{write(('overheads', name))}: a table of that name stands under tables; rename one of them")
    for name, table in config.tables.items():
        if table.task not in config.tasks:
            raise UserError(unknown(f"{write(('tables', name, 'task'))}: '{table.task}'", table.task, config.tasks))
        for method in table.methods:
            if method not in config.methods:
                raise UserError(unknown(f"{write(('tables', name, 'methods'))}: '{method}'", method, config.methods))
    if config.map:
        _check_map(config, config.map, write)


def _check_map(config: Config, described: Map, write) -> None:
    """That what the map names exists, and that its decodings go together."""
    for role, method in described.methods.items():
        _check_known(write(("map", "methods", role)), method, config.methods)
    _check_known(write(("map", "task")), described.task, config.tasks)
    for name, axis in described.axes.items():
        place = write(("map", "axes", name))
        if name in MAP_RESERVED:
            raise UserError(f"{place}: this name is taken by another figure of the map; rename it")
        for cell in axis.cells:
            for group, known in (("task", config.tasks), ("method", config.methods), ("decoding", None)):
                given = getattr(cell, group)
                for role in given if isinstance(given, dict) else ():
                    _check_known(f"{place}, cell '{cell.at}'.{group}", role, described.methods)
                for value in (given.values() if isinstance(given, dict) else [given]) if known else ():
                    _check_known(f"{place}, cell '{cell.at}'.{group}", value, known)
        try:
            readings = readings_of(described.model_copy(update={"axes": {name: axis}}), config.noiseless)
        except ValueError as error:
            raise UserError(f"{place}: {error}") from None
        for reading in readings:
            for side in reading.sides.values():
                _check_perturbed([side.decoding], config.tasks[side.task], f"{place}, cell '{reading.at}'")


def _check_perturbed(decodings: Sequence[str], task: Task, place: str) -> None:
    """Only questions of arithmetic have digits to be wrong."""
    if task.data.family == "arithmetic":
        return
    for name in decodings:
        if "perturbed_task" in decoding_options(name):
            raise UserError(
                f"{place}: '{name}' writes digits, which a task of {task.data.family} has not: "
                "choose perturbed_random or perturbed_model"
            )


def _check_known(place: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise UserError(unknown(f"{place}: '{name}'", name, known))


def _check_overhead(config: Config, name: str, write) -> None:
    """The network of an overhead table, with the overrides applied, and that the sequences fit it."""
    values = config.model.model_dump() | config.overheads[name].model
    try:
        Model.model_validate(values)
    except ValidationError as error:
        raise UserError(sentence(error, Model, lambda place: write(("overheads", name, "model", *place)))) from None
    measured, model = config.overhead_settings(name)
    try:
        measured.check_fits(model)
    except UserError as error:
        raise UserError(f"{write(('overheads', name))}: {error}") from None


def check_files(config: Config) -> None:
    """Raises UserError where a file of a corpus that a task needs is not there. Paths are relative to this folder."""
    for task in config.tasks:
        source = config.source(task)
        for file in itertools.chain(*source.files.values()) if source else ():
            if not Path(file).is_file():
                raise UserError(
                    f"'{file}' is not there: task {task} needs it (sources.{config.tasks[task].data.source}); "
                    "put it there, or name another source"
                )


def _check_source(config: Config, task: str, write) -> None:
    """That the task's corpus can give what its family needs."""
    data = config.tasks[task].data
    try:
        if data.family == "translation":
            pairs.check_source(config.sources[data.source], data)
        if data.family == "text":
            documents.check_source(config.sources[data.source])
    except UserError as error:
        raise UserError(f"{write(('sources', data.source))}: {error} (task {task})") from None


def _check_settings(config: Config, task: str, method: str | None, write) -> None:
    """The settings in force, with the overrides applied, one section after the other and then together."""
    group, name = ("methods", method) if method else ("tasks", task)
    overrides = getattr(config, group)[name]

    def write_override(place: tuple) -> str:
        return write((group, name, section, *place))

    for section, model in SECTIONS.items():
        values = getattr(config, section).model_dump() | getattr(config.tasks[task], section)
        values |= getattr(overrides, section, {})
        try:
            model.model_validate(values)
        except ValidationError as error:
            raise UserError(sentence(error, model, write_override)) from None

    shared = set(getattr(overrides, "schedule", {})) - OF_FINE_TUNING if method else set()
    if shared:
        raise UserError(
            f"{write(('methods', method, 'schedule', min(shared)))} is shared by all methods of a task, so that they "
            f"start alike and take the same number of steps: set it for the task; a method may change "
            f"{' and '.join(sorted(OF_FINE_TUNING))}"
        )

    def write_in_force(section: str, key: str) -> str:
        """The place that gives a setting its value here."""
        chosen = [("methods", method), ("tasks", task)] if method else [("tasks", task)]
        says = [place for place in chosen if key in getattr(getattr(config, place[0])[place[1]], section, {})]
        return write((*(says[0] if says else ()), section, key))

    in_force = config.settings(task, method)
    buffer, batch = in_force["rollouts"].buffer, in_force["optimiser"].batch
    if buffer < batch:
        raise UserError(
            f"{write_in_force('rollouts', 'buffer')} is {buffer}, but must be at least optimiser.batch ({batch}), "
            f"or no batch can be drawn from it (task {task})"
        )
    if in_force["rollouts"].concurrent and config.jobs.train.gpu > 1:
        raise UserError(
            f"{write_in_force('rollouts', 'concurrent')} is true, but training then takes one process, and "
            f"jobs.train.gpu is {config.jobs.train.gpu}, one process each: set one of them to false or 1 (task {task})"
        )
    if in_force["model"].source == "scratch":
        _check_lengths(task, in_force, write, write_in_force)
    _check_evaluation(config, task, in_force, write_in_force)
    if in_force["noise"].kind == "task" and in_force["data"].family != "arithmetic":
        raise UserError(
            f"{write_in_force('noise', 'kind')} is 'task', which writes digits, but must be one of random, "
            f"unigram, model in a task of {in_force['data'].family} (task {task})"
        )


def _check_evaluation(config: Config, task: str, in_force: dict[str, Section], write_in_force) -> None:
    """That what is to be measured exists in the task's family."""
    data, evaluation = in_force["data"], in_force["evaluation"]
    if "task" in evaluation.corruptions and data.family != "arithmetic":
        raise UserError(
            f"{write_in_force('evaluation', 'corruptions')} holds 'task', which writes digits, but may hold random, "
            f"unigram and model alone in a task of {data.family} (task {task})"
        )
    _check_perturbed(evaluation.decodings, config.tasks[task], write_in_force("evaluation", "decodings"))
    if data.family != "text":
        return
    if evaluation.max_actions < data.continuation:
        raise UserError(
            f"{write_in_force('evaluation', 'max_actions')} is {evaluation.max_actions}, but must be at least "
            f"data.continuation ({data.continuation}), and more, so that deletions leave as many tokens (task {task})"
        )
    if not evaluation.judge and config.judge_method is None:
        raise UserError(
            f"{write_in_force('evaluation', 'judge')} is empty, and no method has the loss mle, whose models would "
            f"judge text: name a causal LM, or add such a method (task {task})"
        )


def _check_lengths(task: str, in_force: dict[str, Section], write, write_in_force) -> None:
    """That the longest sequences fit the model's context, as far as their lengths are known before there are any."""
    context = in_force["model"].context
    prompt, completion = in_force["data"].lengths
    if prompt + completion > context:
        raise UserError(
            f"{write(('tasks', task, 'data'))}: a prompt of {prompt} tokens and {completion} to come after it "
            f"are more than model.context ({context}) holds"
        )
    for section in ("rollouts", "evaluation"):
        if prompt + in_force[section].max_actions > context:
            raise UserError(
                f"{write_in_force(section, 'max_actions')} is {in_force[section].max_actions}, but must be at most "
                f"{context - prompt}: model.context ({context}) holds the prompt too (task {task})"
            )
