"""The profiles state what results rely on, whatever another profile of the user says."""

import json
import os
import subprocess
import sys

import pytest
from support.workflow import ROOT

PROFILES = sorted(file.parent for file in ROOT.glob("profiles/*/config.yaml"))
NAMES = [
    "rerun_triggers",
    "rerun_incomplete",
    "ignore_incomplete",
    "keep_incomplete",
    "touch",
    "max_checksum_file_size",
]
OTHERWISE = """
rerun-triggers: [mtime]
rerun-incomplete: false
ignore-incomplete: true
keep-incomplete: true
touch: true
max-checksum-file-size: 1
"""
ASK = f"""
import json, sys
from snakemake.cli import parse_args
_, args = parse_args(["all", "--profile", sys.argv[1]])
values = [getattr(args, name) for name in {NAMES}]
print(json.dumps([sorted(map(str, values[0])), *values[1:]]))
"""


@pytest.mark.parametrize("profile", PROFILES, ids=lambda folder: folder.name)
def test_a_profile_of_the_user_switches_off_nothing(profile, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/config.yaml").write_text(OTHERWISE)
    environment = os.environ | {"SNAKEMAKE_PROFILE": str(tmp_path / "mine")}
    command = [sys.executable, "-c", ASK, str(profile)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
    triggers, *others = json.loads(done.stdout)
    assert triggers == ["code", "input", "mtime", "params", "software-env"]
    assert others == [True, False, False, False, 1_000_000_000]
    assert len(PROFILES) >= 3
