"""Names that become folders and rules, and numbers in paths: refused before anything runs if they fall together."""

import re

import pytest
from support.configuration import SCALES, refusal
from support.workflow import ROOT

from sequencematch.config.load import scale_overlay
from sequencematch.config.names import RULES
from sequencematch.errors import UserError

LONG = "a" * 300
TABLE = {"title": "T", "task": "mul", "methods": ["mle"]}
METHOD = {"loss": "mle"}


def a_map(**changes):
    base = {"title": "M", "task": "mul", "eta": 0.2, "methods": {"mle": "mle", "sm": "sm"}}
    return base | {"axes": {"a": {"title": "A", "cells": [{"at": "x"}]}}} | changes


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"etas": [0.2, 0.20000001]}, "etas is 0.20000001, but its folder would be named eta=0.2: write it with up to"),
        ({"etas": [0.30000000000000004]}, "etas is 0.30000000000000004, but its folder would be named eta=0.3"),
        ({"etas": [0.12345678]}, "etas is 0.12345678, but its folder would be named eta=0.123457"),
        ({"map": a_map(eta=0.12345678)}, "map.eta is 0.12345678, but its folder would be named eta=0.123457"),
        (
            {"map": a_map(axes={"a": {"title": "A", "cells": [{"at": "x", "eta": 0.1234567}]}})},
            "map.axes.a.cells is 0.1234567, but its folder would be named eta=0.123457",
        ),
        ({"scale": "reference"}, "scale is 'reference', a name with another meaning: rename the scale"),
        ({"scale": "all"}, "scale is 'all', a name"),
        ({"scale": "finetune"}, "scale is 'finetune', a name"),
        ({"scale": LONG}, "scale is a name of 300 characters, but may have 100"),
        ({"tables": {"report": TABLE}}, "tables.report: a rule of the workflow has this name; rename the table"),
        ({"tables": {"score": TABLE}}, "tables.score: a rule of the workflow has this name; rename the table"),
        ({"tables": {"reference": TABLE}}, "tables.reference: a rule of the workflow has this name"),
        (
            {"overheads": {"all": {"title": "T", "measured": {}}}},
            "overheads.all: a rule of the workflow has this name; rename the table",
        ),
        ({"tables": {LONG: TABLE}}, "is a name of 300 characters, but may have 100"),
        ({"methods": {LONG: METHOD}}, "is a name of 300 characters, but may have 100"),
        ({"seeds": [10**200]}, "seeds holds a number of 201 digits"),
        (
            {"methods": {"MLE": METHOD}},
            "methods.MLE: it differs from 'mle' only in case, and some file systems ignore case",
        ),
        ({"tables": {"Table6": TABLE}}, "tables.Table6: it differs from 'table6' only in case"),
        ({"tables": {"table6": {"title": "half \ud800"}}}, "tables.table6.title is 'half \\ud800', which holds a"),
    ],
    ids=str,
)
def test_names_that_cannot_be_folders_or_rules_are_refused(overlay, sentence):
    assert sentence in refusal(overlay)


def test_the_rules_of_the_workflow_are_reserved():
    files = [ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    assert {name for file in files for name in re.findall(r"^rule (\w+):", file.read_text(), re.M)} == set(RULES)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("scale: other\n", "mine.yaml: scale is 'other', but must be 'mine', like the file"),
        ("seeds: [1]\n", "mine.yaml: scale is missing, but must be 'mine', like the file"),
    ],
)
def test_a_scale_has_the_name_of_its_file(tmp_path, content, sentence):
    """Otherwise its results would go to another scale's folder: the default one, if it names none."""
    (tmp_path / "mine.yaml").write_text(content)
    with pytest.raises(UserError) as caught:
        scale_overlay(tmp_path, "mine")
    assert sentence in str(caught.value)
    (tmp_path / "more.yaml").write_text("scale: more\nextends: mine\n")
    with pytest.raises(UserError, match="mine.yaml: scale is"):
        scale_overlay(tmp_path, "more")


def test_the_default_scale_has_no_file_and_no_other_name(tmp_path):
    (tmp_path / "default.yaml").write_text("scale: default\n")
    with pytest.raises(UserError, match="default.yaml: 'default' is the scale of config.yaml itself"):
        scale_overlay(tmp_path, "default")
    with pytest.raises(UserError, match="scale '' is unknown"):
        scale_overlay(SCALES, "")
