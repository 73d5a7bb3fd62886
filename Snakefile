import json
import os
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, f"{workflow.basedir}/src")

from sequencematch import cli
from sequencematch.code_digest import SOURCE, code_digest
from sequencematch.config import load_config, scale_overlay
from sequencematch.errors import UserError
from sequencematch.settings import Objective

# The configuration: config.yaml, the scale's overlay, then what --config and --configfile say.
try:
    CONFIG = load_config(
        f"{workflow.basedir}/config.yaml",
        *scale_overlay(f"{workflow.basedir}/workflow/scales", config.pop("scale", None)),
        ("command line", dict(config)),
    )
except UserError as error:
    sys.exit(f"error: {error}")


pathvars:
    results=f"results/{CONFIG.scale}",
    logs=f"results/{CONFIG.scale}/logs",
    benchmarks=f"results/{CONFIG.scale}/benchmarks",


wildcard_constraints:
    task="|".join(CONFIG.tasks),
    method="|".join(CONFIG.methods),
    table="|".join(CONFIG.tables),
    eta=r"[0-9.e-]+",
    seed=r"-?\d+",


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/page.smk"


rule all:
    default_target: True
    input:
        "<results>/figures/motivating_example.png",
        expand("<results>/tables/{table}.{kind}", table=CONFIG.tables, kind=TABLE_KINDS),


rule motivating_example:
    input:
        "<results>/figures/motivating_example.png",


rule report:
    input:
        "<results>/report.html",


for table in CONFIG.tables:

    rule:
        name:
            table
        input:
            expand("<results>/tables/{table}.{kind}", table=table, kind=TABLE_KINDS),
