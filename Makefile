# Needs Python 3.11 or later and make; everything else is installed into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help run test check format docs generated lock fuzz test-slow test-gpu e2e pipeline manifests images kind lint \
	wire setup clean

.DEFAULT_GOAL := run

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

run: $(READY)  ## the main job on real data, on this machine
	$(BIN)/hpo run experiments/tweets.yaml

test: $(READY)  ## the default tests: no network, no GPU, no cluster
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: lint docs test  ## what a change must pass: linters, docs, tests

format: $(READY)  ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## write the reference and build the docs into site/, strictly and offline
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

fuzz: $(READY)  ## minutes: 20 000 mutated inputs; finds tracebacks, hangs and odd exit codes
	$(BIN)/python -m tests.fuzz --inputs $(or $(INPUTS),20000) --seed $(or $(SEED),0)

test-slow: $(READY)  ## minutes: twenty random kill -9, a full disk
	$(BIN)/python -m pytest -m slow

test-gpu: $(READY)  ## on a machine with a GPU
	$(BIN)/python -m pytest -m gpu

e2e: $(READY)  ## on the cluster that KUBECONFIG names, with Katib and our images
	$(BIN)/python -m pytest -m e2e tests/e2e

pipeline: $(READY)  ## compile the pipeline; with KFP_ENDPOINT set, upload it
	$(BIN)/python -m pipelines.hpo
	@test -z "$$KFP_ENDPOINT" || $(BIN)/python -m hpo_pipeline pipeline upload

manifests: $(READY)  ## render the examples again
	for file in experiments/*.yaml; do \
		$(BIN)/hpo render --without-token $$file > manifests/experiments/$$(basename $$file); done

IMAGES := hpo-trial hpo-suggestion hpo-suggestion-gp hpo-stopping hpo-pipeline
TAG ?= dev

generated: $(READY)  ## write all generated files; fail if one was out of date
	$(BIN)/hpo schema > experiments/schema.json
	$(BIN)/python docs/generate.py
	$(MAKE) pipeline manifests
	git diff --exit-code -- experiments/schema.json docs/reference.md pipelines/hpo.yaml \
		hpo_pipeline/kubeflow/hpo.yaml manifests/experiments

images:  ## build the images with Docker
	docker build -f trial_image/Dockerfile -t hpo-trial:$(TAG) .
	for target in suggestion suggestion-gp stopping; do \
		docker build -f images/katib/Dockerfile --target $$target -t hpo-$$target:$(TAG) . ; done
	docker build -f images/pipeline/Dockerfile -t hpo-pipeline:$(TAG) .

KATIB := github.com/kubeflow/katib/manifests/v1beta1/installs/katib-standalone?ref=v0.19.0

kind: $(READY) images  ## kind, Katib 0.19 and ours; needs Docker, kind and kubectl
	kind get clusters | grep -qx hpo || kind create cluster --config kind-config.yaml
	for image in $(IMAGES); do kind load docker-image --name hpo $$image:$(TAG); done
	kubectl --context kind-hpo apply --server-side -k "$(KATIB)"
	kubectl --context kind-hpo -n kubeflow wait --for=condition=Available --timeout=10m \
		deployment --all
	# Else Katib's controller has to admit its own pod, and once deleted it cannot come back.
	kubectl --context kind-hpo label namespace kubeflow \
		katib.kubeflow.org/metrics-collector-injection-
	kubectl --context kind-hpo apply -k manifests/overlays/kind
	$(BIN)/hpo katib install --context kind-hpo

lint: $(READY)  ## ruff, mypy and the contracts between packages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wire: $(READY)  ## compile the messages after a change of trial/wire/*.proto
	$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. \
		--grpc_python_out=. hpo_pipeline/trial/wire/*.proto

setup: $(READY)  ## install everything into .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt --editable \
		'.[trial,report,gp,services,cluster,pipeline,dev]'
	touch $(READY)

lock:  ## resolve all versions anew in a clean environment, and write constraints.txt
	rm -rf .lock && $(PYTHON) -m venv .lock
	.lock/bin/python -m pip install --quiet --editable \
		'.[trial,report,gp,services,cluster,pipeline,dev]'
	sed -n '/^#/p' constraints.txt > .lock/constraints.txt
	.lock/bin/python -m pip freeze --exclude-editable >> .lock/constraints.txt
	mv .lock/constraints.txt constraints.txt && rm -rf .lock

clean:  ## remove .venv
	rm -rf $(VENV)
