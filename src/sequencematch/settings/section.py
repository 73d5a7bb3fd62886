"""What every group of settings shares: the base class, bounded types, and the sentence that explains a setting.

Each module of this folder holds the settings of one stage. Scripts turn a section into options (``options.py``), the
Snakefile turns the configuration into the options of each rule (``Config.settings``), and both are checked here.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1, le=10**9)]
Natural = Annotated[int, Field(ge=0, le=10**9)]
Size = Annotated[int, Field(ge=1, le=2**20)]  # of what must be in memory at once
Rows = Annotated[int, Field(ge=1, le=10**8)]  # of a split, which one job makes
Rate = Annotated[float, Field(ge=0, lt=1)]
Eta = Annotated[float, Field(gt=0, lt=1)]  # of noised data; 0 is clean
# Of a folder: a file's name has 255 characters at most, and more than one name may be in it.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


def is_plain(value: object) -> bool:
    """Whether a text that Python takes for a number is written as people do; other values are left to the types."""
    try:
        float(value if isinstance(value, str) else "")
    except ValueError:
        return True
    return bool(NUMBER.fullmatch(str(value)))


def distinct(values: tuple) -> tuple:
    """The values of a list. Raises ValueError where one occurs twice."""
    if len(set(values)) < len(values):
        raise ValueError(f"{', '.join(map(str, values))}: each may occur once")
    return values


def one_text(title: str) -> str:
    """A title. Raises ValueError where it would end the script of Snakemake's report, or no command can hold it."""
    if re.search("</script|<!--", title, re.IGNORECASE):
        raise ValueError(f"{title[:40]!r} would end a report's page: correct it")
    if re.search("[\0\ud800-\udfff]", title):
        raise ValueError(f"{title[:40]!r} holds a character that no command can: correct it")
    return title


Title = Annotated[str, AfterValidator(one_text)]


def setting(default, meaning: str, **bounds):
    """A field with its default, its bounds, and the sentence shown by --help."""
    return Field(default, description=meaning, **bounds)


class Section(BaseModel):
    """A group of settings; a name it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def group(cls) -> str:
        """The section's name in the configuration, and in options: ``objective``."""
        return cls.__name__.lower()

    @field_validator("*", mode="before")
    @classmethod
    def _numbers_as_written(cls, value, field: ValidationInfo):
        """Refuse what Python would take for a number: a truth value, ``1_2`` (12), digits of other scripts."""
        annotation = cls.model_fields[field.field_name or ""].annotation
        if isinstance(value, bool) and annotation is not bool:
            raise PydanticCustomError("bool_for_other", "a truth value where another type is needed")
        if "str" not in str(annotation) and not all(
            map(is_plain, value if isinstance(value, list | tuple) else [value])
        ):
            raise PydanticCustomError("no_plain_number", "a number in another form than 12, -1.5 or 1e-3")
        return value
