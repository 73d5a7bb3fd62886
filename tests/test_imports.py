"""The layers of the library: what pyproject.toml forbids is found, and a folder's own file imports nothing."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.workflow import ROOT

LIBRARY = ROOT / "src/sequencematch"


FORBIDDEN = {
    ("data.noise", "from sequencematch.model.policy import Policy"): "sequencematch.model.policy",
    ("store.hub", "def f():\n    from sequencematch.settings.data import Text"): "sequencematch.settings.data",
    ("results.estimates", "import torch"): "torch",
    ("results.figures", "from sequencematch.core import rewards"): "sequencematch.core",
}
CIRCLE = "results/estimates.py", "from sequencematch.results.runs import Run"


def test_imports_that_the_layers_forbid_are_found(tmp_path):
    library = tmp_path / "src/sequencematch"
    shutil.copytree(LIBRARY, library, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (library / "lonely").mkdir()
    (library / "lonely/__init__.py").touch()
    for path, line in (CIRCLE, *((f"{module.replace('.', '/')}.py", line) for module, line in FORBIDDEN)):
        with (library / path).open("a") as file:
            file.write(f"\n{line}\n")
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "COLUMNS": "200"}
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True).stdout
    for (module, _), imported in FORBIDDEN.items():
        assert f"sequencematch.{module} -> {imported}" in told, told
    assert "sequencematch.lonely" in told and "No cycles are allowed in sequencematch.results." in told, told
    for contract in ("Imports point one way", "without torch", "No circles"):
        assert any(contract in row and "BROKEN" in row for row in told.splitlines()), told


@pytest.mark.parametrize("file", sorted(LIBRARY.glob("*/__init__.py")), ids=lambda file: file.parent.name)
def test_a_folder_s_own_file_holds_a_docstring_alone(file):
    """It is part of the code behind every result of its folder, so a line in it would make them all again."""
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1
