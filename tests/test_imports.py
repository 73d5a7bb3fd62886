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


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(LIBRARY, folder / "src/sequencematch", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("data/noise.py", "from sequencematch.model.policy import Policy", "Imports point one way"),
        ("store/hub.py", "def f():\n    from sequencematch.settings.data import Text", "Imports point one way"),
        ("odd/lonely.py", "LINE = 1", "Imports point one way"),
        ("results/estimates.py", "import torch", "without torch"),
        ("results/figures.py", "from sequencematch.core import rewards", "without torch"),
        ("results/estimates.py", "from sequencematch.results.runs import Run", "No circles"),
    ],
)
def test_an_import_that_the_layers_forbid_is_found(copy, module, line, contract):
    file = copy / "src/sequencematch" / module
    before = file.read_text() if file.exists() else None
    try:
        if before is None:
            file.parent.mkdir()
            (file.parent / "__init__.py").write_text("")
        file.write_text(f"{before or ''}\n{line}\n")
        done = lint_imports(copy)
    finally:
        if before is None:
            shutil.rmtree(file.parent)
        else:
            file.write_text(before)
    assert done.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout


@pytest.mark.parametrize("file", sorted(LIBRARY.glob("*/__init__.py")), ids=lambda file: file.parent.name)
def test_a_folder_s_own_file_holds_a_docstring_alone(file):
    """It is part of the code behind every result of its folder, so a line in it would make them all again."""
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1
