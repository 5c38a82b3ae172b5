# Needs Python 3.11 or later and make; everything else is installed into .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: run test test-slow test-gpu lint setup clean

run: $(READY)  ## the main job on real data, on this machine
	$(BIN)/hpo run experiments/tweets.yaml

test: $(READY)  ## the default tests: no network, no GPU, no cluster
	$(BIN)/python -m pytest

test-slow: $(READY)  ## minutes: twenty random kill -9, a full disk
	$(BIN)/python -m pytest -m slow

test-gpu: $(READY)  ## on a machine with a GPU
	$(BIN)/python -m pytest -m gpu

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

wire: $(READY)  ## compile the messages after a change of katib/wire/*.proto
	$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. \
		--grpc_python_out=. hpo_pipeline/katib/wire/*.proto

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[trial,report,gp,cluster,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV)
