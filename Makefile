# `make` prints the targets. Everything runs in .venv, which is set up once.
PYTHON ?= python3
VENV   ?= .venv
TRIALS ?=
SEED   ?= 0
ARGS   ?=

BIN   := $(VENV)/bin
TRAIN := $(BIN)/python train.py
BASE  := $(VENV)/.installed
DEV   := $(VENV)/.installed-dev
CHECK := runs/gpu-check
KERNELS := $(wildcard airbench/kernels/*.cpp airbench/kernels/*.h airbench/kernels/*.inc)

.DEFAULT_GOAL := help
.PHONY: help setup quickstart speedrun bench gpu-check test test-slow lint format schema clean

help: ## print the targets
	@echo "make TARGET   (variables: TRIALS=n SEED=$(SEED) PYTHON=$(PYTHON) ARGS=key=value)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

setup: $(BASE) ## set up .venv with what training needs

quickstart: $(BASE) ## Muon against SGD on built-in images: no download, minutes on a cpu
	$(TRAIN) configs/quickstart.yaml configs/quickstart_sgd.yaml --trials $(or $(TRIALS),2) --seed $(SEED) $(ARGS)

speedrun: $(BASE) ## timed trial of our best recipe on CIFAR-10; TRIALS=5 for five
	$(TRAIN) configs/speedrun.yaml --trials $(or $(TRIALS),1) --seed $(SEED) $(ARGS)

bench: $(BASE) ## fast ways against slow ones on this machine, in minutes
	$(BIN)/airbench bench $(ARGS)

gpu-check: $(DEV) ## on a CUDA machine: correctness, benchmark, profile, timed trials; all into runs/gpu-check
	mkdir -p $(CHECK)
	nvidia-smi -q > $(CHECK)/nvidia-smi.txt
	$(BIN)/python -m pytest -m cuda -v > $(CHECK)/pytest.txt || { cat $(CHECK)/pytest.txt; exit 1; }
	$(BIN)/airbench bench --device cuda --json $(CHECK)/bench.json
	$(BIN)/airbench profile configs/airbench94_muon.yaml --device cuda --json $(CHECK)/profile.json
	$(TRAIN) configs/airbench94_muon.yaml configs/hiverge.yaml configs/speedrun.yaml --device cuda \
		--trials $(or $(TRIALS),10) --seed $(SEED) --out $(CHECK) $(ARGS)
	$(BIN)/airbench report $(CHECK)/*/ --out $(CHECK)/report.html

test: $(DEV) ## the test suite: no network, no GPU, minutes
	$(BIN)/python -m pytest $(ARGS)

test-slow: $(DEV) ## tests that train on real CIFAR-10 (name a copy with AIRBENCH_DATA)
	$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(DEV) ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV) ## let ruff lay out and mend the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: $(BASE) ## write configs/recipe.schema.json anew
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
