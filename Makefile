# make             set up what is needed and make the tables of the default scale
# make SCALE=smoke the same at another scale (workflow/scales/)
# make table6      one table or figure: table6, table7, divergences, motivating_example
# make report      results/SCALE/report.html: everything on one page; and snakemake_report.html, Snakemake's own
# make test        set up, check style and types, run all tests
# make lint        check style and types alone
# make reference   keep the tables of SCALE in results/reference/
# make clean-results, make clean-setup   remove results of SCALE; remove the virtual environment
#
# CONFIG changes settings: make CONFIG="seeds=[7,8] 'objective={alpha: 0.1}'"; ARGS goes to Snakemake: make ARGS="--dry-run"

SCALE ?= default
# GPUs that jobs may use at a time.
GPUS ?= 1
PYTHON ?= $(shell command -v python3.11 || command -v python3)

BIN := .venv/bin
SETUP := .venv/installed
RUN = $(BIN)/python workflow/run.py
OWN_REPORT = results/$(SCALE)/snakemake_report.html
TARGETS := all table6 table7 divergences motivating_example

.PHONY: $(TARGETS) report setup test lint reference clean-results clean-setup
.DEFAULT_GOAL := all

$(TARGETS): $(SETUP)
	@$(RUN) $@ --resources gpu=$(GPUS) --config scale=$(SCALE) $(CONFIG) $(ARGS)

# Snakemake's own report cannot be written about what a dry run did not make.
report: $(SETUP)
	@$(RUN) $@ --resources gpu=$(GPUS) $(if $(filter -n --dry-run,$(ARGS)),,--report $(OWN_REPORT) --report-after-run) \
		--config scale=$(SCALE) $(CONFIG) $(ARGS)

setup: $(SETUP)

# requirements.lock holds versions as constraints, so that a CPU build of torch needs none of the CUDA packages.
$(SETUP): pyproject.toml requirements.lock
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or later is needed: install it, or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "setting up .venv (about a minute) ..."
	"$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	@touch $@

test: lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(SETUP)
	$(BIN)/ruff check src tests workflow
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint

reference: $(SETUP)
	@$(BIN)/python workflow/keep_reference.py $(SCALE)

clean-results:
	rm -rf "results/$(SCALE)"

clean-setup:
	rm -rf .venv
