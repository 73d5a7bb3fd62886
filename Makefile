# make             set up what is needed and make the tables of the default scale
# make SCALE=smoke the same at another scale (workflow/scales/)
# make table6      one table or figure: table3 to table8, divergences, motivating_example
# make overheads   what steps and sampling cost: table3, table4 and the benchmarks; on a machine that does nothing else
# make report      results/SCALE/report.html: everything on one page; and snakemake_report.html, Snakemake's own
# make map         results/map/map: where backspaces help, under which conditions (docs/map.md); SCALE=map_gpu: on a GPU
# make why         what would run and because of which file or setting, and how long it took the last time; runs nothing
# make status      which jobs are running, how far each is, and its newest metrics
# make PROFILE=slurm   the same on a cluster: slurm or generic (profiles/, docs/clusters.md)
# make gpu-check   what a machine with a GPU adds; again, where it was stopped (docs/paper_scale.md)
# make verify      check the results of SCALE against their records: damaged, or of other code or settings?
# make compare     does your run of SCALE agree with the kept one? which estimates and verdicts do not
# make test        set up, check style and types, run the tests (about fifteen minutes on 2 cores)
# make test-all    the same, and those that take minutes each: a real SLURM, runs that are killed again and again
# make test-packages   as root on Debian: SLURM and a browser, for tests that are skipped without them
# make lint        check style and types alone
# make site        the documentation and the API as a site: build/site/
# make reference   keep the tables of SCALE, and what steps and sampling cost there, in results/reference/
# make clean-results, make clean-setup   remove the results of NAME, or else of SCALE; remove the virtual environment
#
# make help        this list
#
# NAME keeps results of changed settings apart: make NAME=try1 CONFIG=... writes results/try1
# TARGET narrows why and status down: make why TARGET=table6
# CONFIG changes settings: make CONFIG="seeds=[7,8] 'objective={alpha: 0.1}'"; ARGS goes to Snakemake: make ARGS="--dry-run"

SCALE ?= default
TARGET ?= all
# Results lie in results/NAME, where a name is given; else in results/SCALE.
NAME ?=
PROFILE ?= default
# GPUs that jobs may use at a time (default: 1).
GPUS ?=
PYTHON ?= $(shell command -v python3.11 || command -v python3)

# These are given by people, and reach shells. The shell reads PYTHON from the environment; the others are checked first.
GIVEN := SCALE TARGET NAME PROFILE GPUS PYTHON CONFIG ARGS
export $(GIVEN)
$(foreach name,$(GIVEN),$(if $(filter command environment,$(origin $(name))),$(if $(findstring $$,$(value $(name))),\
	$(error $(name) is '$(value $(name))', but may not hold a $$, which make and the shell would replace))))

# A scale is a file in workflow/scales/, or `default`. Nothing else is accepted, because SCALE names a folder that is
# written and, by clean-results, deleted.
SCALES := default $(filter-out default reference,$(patsubst workflow/scales/%.yaml,%,$(wildcard workflow/scales/*.yaml)))
ifeq ($(wildcard Snakefile),)
$(error run make in the project's folder, where the Snakefile is)
endif
ifneq ($(words $(SCALE)) $(filter $(SCALE),$(SCALES)),1 $(SCALE))
$(error SCALE is '$(SCALE)', but must be one of $(SCALES))
endif

BIN := .venv/bin
SETUP := .venv/installed
RUN = $(BIN)/python workflow/launcher/run.py
OPTIONS = $(if $(GPUS),--resources gpu=$(GPUS)) $(CHANGES) $(ARGS)
DRY = $(filter -n --dry-run,$(ARGS))
CHANGES = --config scale=$(SCALE) $(if $(NAME),name=$(NAME)) $(CONFIG)
# Files in the order of tests/conftest.py, the longest first.
TEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
OWN_REPORT = results/$(or $(NAME),$(SCALE))/snakemake_report.html
TARGETS := all table5 deletion_head table6 table7 table8 divergences motivating_example overheads table3 table4

OTHERS := map report gpu-check why status setup verify compare test test-all test-packages lint site reference clean-results clean-setup help

.PHONY: $(TARGETS) $(OTHERS) check-arguments
.DEFAULT_GOAL := all

# What was given is checked before anything is set up or removed.
check-arguments:
	@"$$PYTHON" workflow/launcher/check_make_arguments.py

.DEFAULT:
	@"$$PYTHON" workflow/launcher/check_make_arguments.py '$(subst ','\'',$@)' $(TARGETS) $(OTHERS)

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

$(TARGETS): check-arguments $(SETUP)
	@$(RUN) $@ --profile profiles/$(PROFILE) $(OPTIONS)

# Another scale than its own can be named on the command line: make map SCALE=map_gpu.
map: SCALE = map
map: check-arguments $(SETUP)
	@$(RUN) $@ --profile profiles/$(PROFILE) $(OPTIONS)

why: check-arguments $(SETUP)
	@$(BIN)/python workflow/launcher/why.py $(TARGET) $(OPTIONS)

status: check-arguments $(SETUP)
	@$(BIN)/python workflow/launcher/status.py $(TARGET) $(OPTIONS)

# Snakemake's own report cannot be written about what a dry run did not make.
report: check-arguments $(SETUP)
	@$(RUN) $@ --profile profiles/$(PROFILE) \
		$(if $(DRY),,--report $(OWN_REPORT) --report-after-run --report-metadata workflow/captions/metadata.yaml) $(OPTIONS)

setup: $(SETUP)

# requirements.lock holds versions as constraints, so that a CPU build of torch needs none of the CUDA packages.
$(SETUP): pyproject.toml requirements.lock
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or later is needed: install it, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setting up .venv (about a minute) ..."
	"$$PYTHON" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	@touch $@

gpu-check: check-arguments $(SETUP)
	$(if $(DRY),,$(BIN)/python -m pytest -q -m cuda tests/model)
	@$(RUN) overheads --profile profiles/$(PROFILE) --config scale=paper $(ARGS)
	@$(RUN) table6 table7 divergences --profile profiles/$(PROFILE) --config scale=gpu $(ARGS)

verify: check-arguments $(SETUP)
	@$(BIN)/python workflow/launcher/verify.py $(CHANGES)

compare: check-arguments $(SETUP)
	@$(BIN)/python workflow/compare_results.py results/$(or $(NAME),$(SCALE)) results/reference/$(SCALE)

test: lint
	$(TEST) -m "not long"

test-all: lint
	$(TEST) --durations 15

test-packages:
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends slurm-wlm munge chromium

lint: $(SETUP)
	$(BIN)/ruff check src tests workflow examples
	$(BIN)/ruff format --check src tests workflow examples
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/snakemake --lint

site: $(SETUP)
	$(BIN)/python -m mkdocs build --strict

reference: check-arguments $(SETUP)
	@$(BIN)/python workflow/keep_reference.py $(SCALE)

clean-results: check-arguments
	@"$$PYTHON" workflow/launcher/clean_results.py $(or $(NAME),$(SCALE))

clean-setup:
	rm -rf .venv
