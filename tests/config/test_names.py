"""Names that become folders and rules, and numbers in paths: refused before anything runs if they fall together."""

import re

import pytest
from support.configuration import refusal
from support.workflow import ROOT

from sequencematch.config.load import scale_overlay
from sequencematch.config.names import RULES
from sequencematch.errors import UserError

LONG = "a" * 300


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ({"scale": LONG}, "scale is a name of 300 characters, but may have 100"),
        ({"tables": {LONG: {"title": "T", "task": "mul", "methods": ["mle"]}}}, "is a name of 300 characters"),
        ({"methods": {LONG: {"loss": "mle"}}}, "is a name of 300 characters, but may have 100"),
        ({"seeds": [10**200]}, "seeds holds a number of 201 digits"),
        ({"tables": {"table6": {"title": "half \ud800"}}}, "tables.table6.title is 'half \\ud800', which holds a"),
    ],
    ids=["scale", "table", "method", "number", "surrogate"],
)
def test_what_no_folder_can_be_named_is_refused(overlay, sentence):
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
