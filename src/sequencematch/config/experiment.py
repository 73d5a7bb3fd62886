"""The configuration of an experiment: what its files may contain, and the settings in force for each job.

Every task may override any section. A method may override only the sections that its own jobs read.
"""

from functools import cache, cached_property
from typing import Annotated, Any, Literal, Union

from pydantic import Discriminator, Field, Tag, field_validator

from sequencematch.kernels import Kernels
from sequencematch.settings.data import DATA, MADE, Language, Source
from sequencematch.settings.evaluation import Evaluation
from sequencematch.settings.losses import LOSSES, Loss
from sequencematch.settings.map import Map, Reading, readings_of
from sequencematch.settings.model import Model
from sequencematch.settings.noise import Noise
from sequencematch.settings.overheads import Overhead
from sequencematch.settings.section import Count, Eta, Name, Natural, Section, Title, distinct, setting
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule

SECTIONS = {s.__name__.lower(): s for s in (Noise, Model, Optimiser, Schedule, Objective, Rollouts, Evaluation)}
DEFAULT_SCALE = "default"

Overrides = dict[str, Any]


def _family(data: Any) -> str | None:
    return data.get("family") if isinstance(data, dict) else getattr(data, "family", None)


TAGGED = [Annotated[section, Tag(family)] for family, section in DATA.items()]


class Overriding(Section):
    """Settings that differ from the configuration's, of the sections that fine-tuning and what follows it read."""

    optimiser: Overrides = {}
    schedule: Overrides = {}
    objective: Overrides = {}
    rollouts: Overrides = {}
    evaluation: Overrides = {}


class Task(Overriding):
    """A task: its data, and the settings that differ from the configuration's."""

    data: Union[*TAGGED] = Field(  # type: ignore[valid-type]
        discriminator=Discriminator(_family), description="the task's examples, of one family"
    )
    base: str = setting("", "task whose base model and settings this one takes, but for its own (empty: none)")
    noise: Overrides = {}
    model: Overrides = {}


class Method(Overriding):
    """A loss with its own settings.

    The stages before fine-tuning are shared by all methods, so a method cannot override their settings.
    """

    loss: Literal[*LOSSES] = Field(description="what the method minimises")  # type: ignore[valid-type]


class Table(Section):
    """A table of results: one task, and the methods it compares."""

    title: Title = Field(description="heading of the table")
    task: str = Field(description="task whose runs are compared")
    methods: tuple[str, ...] = Field(min_length=1, description="methods compared, in this order")

    _distinct = field_validator("methods")(distinct)


class OverheadTable(Section):
    """A table of what steps and sampling cost, with the network that they are measured on."""

    title: Title = Field(description="heading of the table")
    compared: str = setting("", "task in paper_tables.csv whose numbers are printed for comparison")
    measured: Overhead = Field(description="what is measured, and how often")
    model: Overrides = {}


class Job(Section):
    """What one job of a stage asks of the machine; memory and time double with the second attempt."""

    threads: Count = setting(1, "CPU threads")
    mem_mb: Count = setting(2000, "memory in MB")
    runtime: Count = setting(30, "minutes")
    gpu: Natural = setting(0, "GPUs")


class Jobs(Section):
    """The kernels that jobs use on a CPU, and what each kind of job asks of a cluster."""

    kernels: Kernels = setting(
        "portable", "of the CPU: those of AVX2, those that round alike on all makers' CPUs, or its fastest"
    )
    data: Job = Job()
    train: Job = Job()
    sample: Job = Job()
    report: Job = Job()


InForce = dict[str, Any]  # the settings in force for a job: ``data`` and the sections, by name


class Config(Section):
    """The whole configuration of a scale, checked."""

    scale: Name = Field(description="name of the scale, and of its folder under results/")
    extends: str = setting("", "scale whose overlay comes before this one's")
    tracker: Literal["none", "tensorboard", "wandb"] = setting("none", "where training can be followed live")
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

    _distinct = field_validator("seeds", "etas")(distinct)

    @cache  # noqa: B019  (one configuration per process)
    def settings(self, task: str, method: str | None = None) -> InForce:
        """The settings in force for a task's jobs, or for those of one of its methods, by section name."""
        sections = {name: SECTIONS[name](**values) for name, values in self.merged(task, method).items()}
        return {"data": self.tasks[task].data, **sections}

    def merged(self, task: str, method: str | None) -> dict[str, dict]:
        """The same, before the values of a section are checked together."""
        chosen = [self.tasks[task], *([self.methods[method]] if method else [])]
        return {
            name: getattr(self, name).model_dump() | {k: v for c in chosen for k, v in getattr(c, name, {}).items()}
            for name in SECTIONS
        }

    def overhead_settings(self, name: str) -> tuple[Overhead, Model]:
        """What an overhead table measures, and on which network."""
        table = self.overheads[name]
        return table.measured, Model(**(self.model.model_dump() | table.model))

    def source(self, task: str) -> Source | None:
        """The corpus of a task's examples; None where they are generated questions."""
        data = self.tasks[task].data
        return self.sources[data.source].extracted(data.source, data.family) if isinstance(data, Language) else None

    @property
    def packages(self) -> list[str]:
        """The names of the sources that are packages."""
        return [name for name, source in self.sources.items() if source.kind == "package"]

    @property
    def made(self) -> set[str]:
        """The files and folders that rules make from packages."""
        return {path.format(package=name) for name in self.packages for path in MADE.values()}

    @property
    def judge_method(self) -> str | None:
        """The method whose models judge text where no other judge is named: the first with a plain loss."""
        return next((name for name in self.methods if self.loss_of(name).plain), None)

    def seed_after(self, seed: int) -> int:
        """The next seed of the list; after the last one, the first."""
        place = self.seeds.index(seed) if seed in self.seeds else -1
        return self.seeds[(place + 1) % len(self.seeds)]

    def base_task(self, task: str) -> str:
        """The task whose base model a task starts from: another if it names one, otherwise itself."""
        return self.tasks[task].base or task

    def loss_of(self, method: str) -> Loss:
        """The properties of a method's loss."""
        return LOSSES[self.methods[method].loss]

    def starts_from_bc(self, task: str, method: str) -> bool:
        """Whether a method starts from the k steps of BC, instead of the base model."""
        return self.loss_of(method).continues_bc and self.settings(task)["schedule"].pretrain_steps > 0

    def etas_of(self, method: str) -> tuple[float, ...]:
        """The noise levels that a method is trained at: only 0 if it trains on clean data."""
        return self.etas if self.loss_of(method).noised else (0,)

    @property
    def noiseless(self) -> list[str]:
        """The methods that train on clean data, without ``<bkspc>``."""
        return [name for name in self.methods if not self.loss_of(name).noised]

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
