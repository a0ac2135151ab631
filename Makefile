# `make` prints the targets. Everything runs in .venv, which is set up on first use.
PYTHON ?= python3
VENV   ?= .venv
TRIALS ?=
SEED   ?= 0
ARGS   ?=
PEER   ?=
RECIPE ?=
A      ?=
B      ?=

BIN   := $(VENV)/bin
TRAIN := $(BIN)/python train.py
BASE  := $(VENV)/.installed
DEV   := $(VENV)/.installed-dev
PAGES := README.md configs/README.md runs/records/README.md runs/records/performance.md runs/records/studies/README.md
KERNELS := $(wildcard airbench/kernels/*.cpp airbench/kernels/*.h airbench/kernels/*.inc)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart speedrun ablate compare bench gpu-check test test-slow lint format records schema clean

help: ## print the targets
	@echo "make TARGET   (variables: TRIALS=n SEED=$(SEED) PYTHON=$(PYTHON) ARGS=key=value)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(BASE) ## set up .venv for training

quickstart: $(BASE) ## Muon against SGD on built-in images: no download, minutes on a CPU
	$(TRAIN) configs/quickstart.yaml configs/quickstart_sgd.yaml --trials $(or $(TRIALS),2) --seed $(SEED) --explain $(ARGS)

speedrun: $(BASE) ## timed trial of our best recipe on CIFAR-10; TRIALS=5 for five trials
	$(TRAIN) configs/speedrun.yaml --trials $(or $(TRIALS),1) --seed $(SEED) $(ARGS)

# Variables of the command line whose name has a dot are settings of a recipe: make ablate train.epochs=4,8
DOTTED   := $(foreach name,$(.VARIABLES),$(if $(findstring .,$(name)),$(name)))
SETTINGS := $(sort $(foreach name,$(DOTTED),$(if $(findstring command,$(origin $(name))),$(name))))

ablate: $(BASE) ## train a recipe at several values of a setting, in turn: RECIPE=airbench94_muon train.epochs=4,8
	$(TRAIN) $(RECIPE) $(foreach key,$(SETTINGS),--vary '$(key)=$($(key))') --trials $(or $(TRIALS),3) --seed $(SEED) $(ARGS)

compare: $(BASE) ## compare two recipes, trained in turn, or two run folders: A=airbench94_muon B=airbench94
	$(BIN)/airbench compare $(A) $(B) $(if $(TRIALS),--trials $(TRIALS)) $(if $(filter-out 0,$(SEED)),--seed $(SEED)) $(ARGS)

# Before anything is installed:
ifneq ($(filter ablate,$(MAKECMDGOALS)),)
  ifneq ($(words $(RECIPE)) $(words $(firstword $(SETTINGS))),1 1)
    $(error make ablate needs a recipe and a setting with its values, as in: make ablate RECIPE=airbench94_muon optimizers.filters.orthogonalize.steps=1,2,3)
  endif
endif
ifneq ($(filter compare,$(MAKECMDGOALS)),)
  ifneq ($(words $(A)) $(words $(B)),1 1)
    $(error make compare needs two recipes or two run folders, as in: make compare A=airbench94_muon B=airbench94)
  endif
endif

bench: $(BASE) ## benchmark fast implementations against slow ones, in minutes
	$(BIN)/airbench bench $(ARGS)

gpu-check: $(DEV) ## on a CUDA machine: tests, benchmark, profile, timed trials; PEER=script.py to compare with yours
	$(BIN)/airbench gpu-check $(if $(PEER),--peer $(PEER)) $(if $(TRIALS),--trials $(TRIALS)) $(ARGS)

test: $(DEV) ## run the test suite, a process per core: no network, no GPU, minutes
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

test-slow: $(DEV) ## run the tests that train on real CIFAR-10 (AIRBENCH_DATA names a copy), and new random examples
	$(BIN)/python -m pytest -m slow $(ARGS)
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fresh $(ARGS)

lint: $(DEV) ## run ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## format and fix the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

records: $(BASE) ## fill the tables and figures of the pages from the kept runs
	$(BIN)/airbench fill $(PAGES)

schema: $(BASE) ## regenerate configs/recipe.schema.json
	$(BIN)/python -m airbench.recipe.jsonschema > configs/recipe.schema.json.new
	mv configs/recipe.schema.json.new configs/recipe.schema.json

clean: ## remove .venv and caches; runs and data stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info airbench/kernels/*.so

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "airbench needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=python3.12 …"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(BASE): pyproject.toml $(KERNELS) | $(VENV)/bin/python
	@echo "installing airbench and PyTorch into $(VENV) (once; PyTorch is large)"
	$(BIN)/python -m pip install --disable-pip-version-check -q -e .
	@touch $@

$(DEV): pyproject.toml $(KERNELS) | $(BASE)
	@echo "installing the development tools into $(VENV) (once)"
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[dev]'
	@touch $@
