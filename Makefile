# Everything is set up by the targets themselves: `make demo` and `make test` work in a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
READY := $(VENV)/.ready
DEMO := examples/desert-rodents

.PHONY: help setup demo test test-runtimes runtimes lint check images kind clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY) ## Make the virtual environment

$(READY): pyproject.toml constraints.txt
	@bash .ci/setup "$(PYTHON)" "$(VENV)"
	@touch $@

demo: $(READY) ## Run the whole loop on 18 years of real data and write a report
	@$(BIN)/trimtab replay $(DEMO)/loop.yaml --home $(DEMO)/.trimtab --fresh --from 1985-01 --until 2003-01 --mark "1995-09=Chaetodipus baileyi turns up"

$(VENV)/.servers: .ci/test-servers $(READY)
	@.ci/test-servers
	@touch $@

$(VENV)/helm/4/helm: .ci/kubernetes-tools | $(READY)
	@.ci/kubernetes-tools $(BIN)/python $(VENV)/helm

runtimes: $(READY)
	@.ci/test-runtimes $(BIN)/python .venv-runtimes

test-runtimes: $(READY) runtimes ## Run the tests of the serving runtimes' real processes
	@$(BIN)/pytest -n 2 --dist loadfile tests/runtimes

test: $(READY) $(VENV)/.servers $(VENV)/helm/4/helm runtimes ## Run every test
	@kubectl=$(abspath $(VENV))/helm/4/kubectl; [ -x $$kubectl ] && export TRIMTAB_KUBECTL=$${TRIMTAB_KUBECTL:-$$kubectl}; $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(READY) ## ruff, mypy, import-linter, fresh pipelines and reference pages
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@.ci/house
	@$(BIN)/mypy
	@PYTHONPATH=.house $(BIN)/lint-imports --no-cache
	@$(BIN)/trimtab compile --check
	@$(BIN)/python -m trimtab.spec.generate --check

check: lint test ## What CI does

images: ## Build the container images with docker, podman or buildah
	@.ci/images

kind: ## Make a kind cluster with trimtab in it (PROFILE=kubeflow: with KFP and KServe)
	@manifests/kind/create

clean: ## Remove the environment and every state folder
	rm -rf $(VENV) .venv-runtimes $(DEMO)/.trimtab build trimtab.egg-info
