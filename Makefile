# Every verb installs what it needs; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
# How many files of lab tests run side by side: labs mostly wait.
LABS := 2
# What failed is run once more by itself: a bound in real time may be missed beside other labs. What
# is wrong fails again; what passes now was too slow then, and stands in the first summary.
ALONE = echo 'once more, one by one:' && $(PYTHON) -m pytest -q --last-failed --last-failed-no-failures none integration
# Guests run side by side: each remembers its own failures.
GUEST = --executor guest --guest $(1) -o cache_dir=.pytest_cache/$(1)
CODE := nat sidecar integration tests bench
# Where `docker compose` and buildx are found; they are fetched there where Docker lacks them.
export DOCKER_CONFIG := $(shell bash integration/docker.sh config)
export PATH := $(CURDIR)/$(VENV)/bin:$(CURDIR)/.tools/bin:$(PATH):/usr/sbin:/sbin

.PHONY: help
help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: provision
provision: ## install the programs that the labs run (as root)
	@bash integration/provision.sh

$(READY): pyproject.toml
	@bash integration/provision.sh
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.PHONY: setup
setup: $(READY) provision ## virtual environment and programs

.PHONY: fmt
fmt: $(READY) ## format the code
	ruff format $(CODE)
	ruff check --fix $(CODE)

.PHONY: lint
lint: $(READY) ## formatting, lints, and the architecture's import contracts
	ruff format --check $(CODE)
	ruff check $(CODE)
	lint-imports

.PHONY: types
types: $(READY) ## mypy --strict on code and tests
	mypy

.PHONY: unit
unit: $(READY) ## tests without root or network, in virtual time
	$(PYTHON) -m pytest -q -n auto tests

.PHONY: fuzz
fuzz: $(READY) ## a million random and mutated inputs through all that decodes
	$(PYTHON) -m tests.fuzz $(ARGS)

.PHONY: integration
integration: setup ## black-box tests on the namespaces lab (as root)
	$(PYTHON) -m integration grid || { echo 'once more, fewer at once:' && $(PYTHON) -m integration grid --jobs 2; }
	$(PYTHON) -m pytest -q -n $(LABS) --dist loadfile integration || { $(ALONE); }

.PHONY: guest
guest: $(READY) ## the smoke set on a stock Debian kernel in an emulator (as root)
	@bash integration/provision.sh qemu
	@$(PYTHON) -m compileall -q nat sidecar integration tests
	$(PYTHON) -m pytest -q integration $(call GUEST,qemu) || \
		{ $(ALONE) $(call GUEST,qemu); }

.PHONY: kernel
kernel: $(READY) ## build the User-Mode Linux kernel that test-kernel runs, once
	@bash integration/provision.sh uml
	@$(PYTHON) -m integration.guest provide uml

.PHONY: test-kernel
test-kernel: kernel ## everything about the kernel's WireGuard, in virtual time (as root)
	@$(PYTHON) -m compileall -q nat sidecar integration tests
	$(PYTHON) -m pytest -q -m 'not long' integration $(call GUEST,uml) || \
		{ $(ALONE) $(call GUEST,uml); }

.PHONY: test-kernel-long
test-kernel-long: kernel ## idle hours, long cuts and lapsed leases of agents, in virtual time (as root)
	@$(PYTHON) -m compileall -q nat sidecar integration tests
	$(PYTHON) -m pytest -rP -m long integration $(call GUEST,uml)

# The kernel is built beside what does not depend on time; of an error the builder says why. A guest
# has one processor, so both kinds run side by side.
.PHONY: test
test: setup ## everything; what CI runs
	@bash integration/provision.sh uml
	@bash integration/provision.sh qemu
	@nice -n 15 $(PYTHON) -m integration.guest provide uml & builder=$$!; \
	$(MAKE) --no-print-directory lint types unit || { kill $$builder; exit 1; }; \
	wait $$builder
	@$(MAKE) --no-print-directory integration docker
	@$(PYTHON) -m compileall -q nat sidecar integration tests
	@$(MAKE) --no-print-directory --jobs 2 --output-sync guest test-kernel

.PHONY: demo
demo: setup ## a team behind NATs on this machine, with embedded defaults (as root)
	@$(PYTHON) -m integration.demo

.PHONY: demo-down
demo-down: $(READY) ## remove everything that the demo made
	@$(PYTHON) -m integration --lab demo down

.PHONY: grid
grid: setup ## every pair of kinds of NAT, as a table (as root): make grid ARGS='--cell MQ:SY'
	@$(PYTHON) -m integration grid $(ARGS)

.PHONY: lab
lab: setup ## run a topology: make lab FILE=compose/pair.yaml
	@$(PYTHON) -m integration up $(FILE) $(ARGS)

.PHONY: image
image: ## build the container images; starts a Docker engine where none answers
	@bash integration/docker.sh images
	@docker images --filter reference='kbwg*'

.PHONY: docker
docker: setup ## black-box tests on a Docker engine, which is started where none runs (as root)
	$(PYTHON) -m pytest -q integration --executor docker || { $(ALONE) --executor docker; }

.PHONY: lock
lock: $(READY) ## pin the image's Python packages anew: requirements.lock
	$(PYTHON) -m pip install --quiet --disable-pip-version-check uv
	uv pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate \
		--python-version 3.13 --python-platform linux pyproject.toml --output-file requirements.lock

.PHONY: clean
clean: ## remove what the verbs made in this directory
	rm -rf $(VENV) .tools build artifacts *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
