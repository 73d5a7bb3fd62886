import json
import os
import shlex
import sys
import time
from pathlib import Path

sys.path.insert(0, f"{workflow.basedir}/src")

import snakemake.utils

from sequencematch import script
from sequencematch.config import keep_outputs, preflight, snakemake_internals
from sequencematch.config.checks import check_files
from sequencematch.config.run_messages import made, replaced
from sequencematch.config.jobs import Jobs, launcher, rule_parameter
from sequencematch.config.load import load_config, run_name, scale_overlay
from sequencematch.errors import UserError
from sequencematch.settings.overheads import MEASUREMENTS
from sequencematch.store.hub import CONSENT

# The records that `make why` reads, and handlers of a module that the outer file can call, came with 9.17.
snakemake.utils.min_version("9.17")

if set("{}") & set(workflow.basedir + os.getcwd()):
    sys.exit("error: the path of this folder has braces, which Snakemake takes for wildcards: rename the folder")

# The folder of this file, also where another workflow uses it as a module.
HERE = str(workflow.current_basedir)
if not (os.path.isdir(HERE) and os.path.samefile(HERE, os.getcwd())):
    sys.exit(f"error: run Snakemake in the project's folder, where its Snakefile is: cd {shlex.quote(HERE)}")

STARTED = time.time()
GIVEN = dict(config)  # what --config and --configfile say

# The configuration: config.yaml, the scale's overlay, then what was given. A run with a name has a folder of that name.
try:
    SCALE, NAME = config.pop("scale", "default") or "", config.pop("name", None)
    overlay = scale_overlay(f"{workflow.basedir}/workflow/scales", SCALE)
    own_folder = {} if NAME is None else {"scale": run_name(NAME, f"{workflow.basedir}/workflow/scales")}
    CONFIG = load_config(f"{workflow.basedir}/config.yaml", *overlay, ("command line", config | own_folder))
    check_files(CONFIG)
except UserError as error:
    sys.exit(f"error: {error}")


# Before the first job of a real run: can results be written, and does this machine have what the jobs ask for?
# (A second onstart would replace this one.)
onstart:
    jobs = snakemake_internals.jobs_to_run(workflow)
    try:
        for folder in ("", "logs", "benchmarks", "tables"):
            script.check_writable(Path(RESULTS, folder))
        script.check_temporary()
        if not workflow.touch:
            preflight.check_dates(str(file) for job in jobs for file in job.input)
    except UserError as error:
        sys.exit(f"error: {error}")
    if config and NAME is None:
        print(replaced(jobs, RESULTS), end="", file=sys.stderr)
    snakemake_internals.stop_timers(workflow)
    if workflow.local_exec and not workflow.touch:  # on other machines each job checks this itself
        planned, gpus = snakemake_internals.planned_jobs(workflow), snakemake_internals.allowed_gpus(workflow)
        found = preflight.problems(planned, CONFIG, Path(RESULTS), gpus)
        if found:
            sys.exit("\n".join(f"error: {problem}" for problem in found))
    if not workflow.touch:
        try:
            keep_outputs.keep([file for job in jobs for file in job.output], Path(RESULTS))
        except OSError as error:
            sys.exit(f"error: {script.explanation(error) or error}")


onerror:
    back = keep_outputs.put_back(Path(RESULTS))
    if back:
        print(f"note: kept as they were: {len(back)} results of an earlier run, such as {back[0]}", file=sys.stderr)


onsuccess:
    keep_outputs.forget(Path(RESULTS))
    print(made(Path(RESULTS), STARTED, time.time()))


# The first text of Snakemake's own report.
report: "workflow/captions/workflow.rst"


pathvars:
    results=f"results/{CONFIG.scale}",
    logs=f"results/{CONFIG.scale}/logs",
    benchmarks=f"results/{CONFIG.scale}/benchmarks",


wildcard_constraints:
    task="|".join(CONFIG.tasks),
    method="|".join(CONFIG.methods),
    table="|".join(CONFIG.tables),
    overhead="|".join(CONFIG.overheads) or "(?!)",
    package="|".join(CONFIG.packages) or "(?!)",
    part="|".join(MEASUREMENTS),
    eta=r"[0-9.e-]+",
    seed=r"-?\d+",


include: "workflow/rules/common.smk"
include: "workflow/rules/packages.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/sample.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/page.smk"
include: "workflow/rules/overheads.smk"


if CONFIG.map:

    include: "workflow/rules/map.smk"


rule all:
    default_target: True
    input:
        "<results>/figures/motivating_example.png",
        [file for table in CONFIG.tables for file in JOBS.table_files(table)],


rule motivating_example:
    input:
        "<results>/figures/motivating_example.png",


rule report:
    input:
        "<results>/report.html",


rule map:
    input:
        "<results>/map" if CONFIG.map else [],


for table in CONFIG.tables:

    rule:
        name:
            table
        input:
            JOBS.table_files(table),


# Measured times differ from run to run and need an idle machine, so they are not part of all.
rule overheads:
    input:
        [file for name in CONFIG.overheads for file in JOBS.overhead_files(name)],


for overhead in CONFIG.overheads:

    rule:
        name:
            overhead
        input:
            JOBS.overhead_table_files(overhead),
