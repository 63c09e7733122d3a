# SPDX-FileCopyrightText: 2026 The kubernaut.integration authors
# SPDX-License-Identifier: GPL-3.0-or-later

# Where this Makefile is, whatever directory make is called from and whatever its path contains.
ROOT := $(shell list='$(MAKEFILE_LIST)'; cd "$$(dirname "$${list# }")" && pwd -P)

# The interpreter that .venv is built on: Python 3.11 or newer.
PYTHON ?= python3
export PYTHON

# Further arguments of the command behind a target: make integration ARGS='-e stack_team=gateway'
ARGS ?=

# Stacks come from this checkout, not from another ansible.cfg that the environment may name.
export ANSIBLE_CONFIG := $(ROOT)/ansible.cfg

setup := cd '$(ROOT)' && tests/setup-venv
venv := PATH='$(ROOT)/.venv/bin':"$$PATH"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help integration verify reset teardown check test conformance soak bench format clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' '$(ROOT)/Makefile'

integration: ## Start a stack and prove that it works (ARGS go to ansible-playbook)
	@$(setup) run && $(venv) ansible-playbook playbooks/integration.yml $(ARGS)

verify: ## Prove a running stack again, changing nothing
	@$(setup) run && $(venv) ansible-playbook playbooks/verify.yml $(ARGS)

reset: ## Make a running stack look new: database as migrated, queues empty
	@$(setup) run && $(venv) ansible-playbook playbooks/reset.yml $(ARGS)

teardown: ## Remove a stack and prove that nothing is left
	@$(setup) run && $(venv) ansible-playbook playbooks/teardown.yml $(ARGS)

check: ## Lint, types and unit tests; under a minute
	@$(setup) test && .venv/bin/python3 tests/run ruff layout mypy units yamllint

test: ## Everything but what is slow, once; at most 20 minutes (ARGS: names of stages, to run only those)
	@$(setup) test && .venv/bin/python3 tests/run $(ARGS)

# Options of the suite that have a variable of their own; tokens and passwords are read from the environment.
conformance_options = $(foreach pair,url:URL contract:CONTRACT postgres:POSTGRES redis:REDIS health-url:HEALTH_URL \
	metrics-url:METRICS_URL stack:STACK,$(call conformance_option,$(subst :, ,$(pair))))
conformance_option = $(if $($(word 2,$(1))),--$(word 1,$(1))='$($(word 2,$(1)))')

conformance: ## Compare a DataStorage with its contract: the running stack's, or URL=... POSTGRES=... REDIS=...
	@$(setup) test && .venv/bin/python3 -m pytest -q tests/conformance $(conformance_options) $(ARGS)

soak: ## Stacks up and down many times over, kills, and the slow tests
	@$(setup) test && $(venv) .venv/bin/python3 tests/soak/run $(ARGS)

bench: ## Measure how long starting takes
	@$(setup) test && $(venv) .venv/bin/python3 tests/bench/run $(ARGS)

format: ## Format the Python code
	@$(setup) test && .venv/bin/ruff check --fix --exit-zero && .venv/bin/ruff format

clean: ## Remove the environment, caches and build results; stacks are left alone
	@cd '$(ROOT)' && rm -rf .venv .cache .ansible build .mypy_cache .ruff_cache .pytest_cache .hypothesis ./*.tar.gz
	@cd '$(ROOT)' && find . -name __pycache__ -type d -prune -exec rm -rf {} +
