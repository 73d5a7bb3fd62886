"""The JSON schema that editors read: it is the one of today's settings, and agrees with the configuration files."""

import json
import re

import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from support.workflow import ROOT

from sequencematch.config.schema import schema

FILE = ROOT / "workflow/config.schema.json"
FILES = [ROOT / "config.yaml", *sorted((ROOT / "workflow/scales").glob("*.yaml"))]


def mistake(values: dict):
    return best_match(Draft202012Validator(schema()).iter_errors(values))


def test_the_kept_schema_is_that_of_the_settings():
    again = "python -m sequencematch.config.schema > workflow/config.schema.json"
    assert json.loads(FILE.read_text()) == schema(), again


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_agrees_with_the_schema_and_names_no_other(file):
    text = file.read_text()
    for named in re.findall(r"^# yaml-language-server: \$schema=(\S+)$", text, re.M):
        assert (file.parent / named).resolve() == FILE
    assert mistake(yaml.safe_load(text)) is None


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"objective": {"alhpa": 0.1}}, "$.objective"),
        ({"methods": {"sm": {"objective": {"alpha": 0}}}}, "$.methods.sm.objective.alpha"),
        ({"tasks": {"mul": {"data": {"family": "arithmetic", "arms": "2"}}}}, "$.tasks.mul.data.arms"),
        ({"tables": {"table6": {"titel": "x"}}}, "$.tables.table6"),
    ],
)
def test_a_mistake_is_underlined(values, place):
    assert mistake(values).json_path == place
