# Run, test, measure and package Butie: `make` lists the targets. Needs GNU make and Python 3.11 or
# later.

# The interpreter of .venv. When empty, a .venv stays as it is, and a new one gets the first of
# CANDIDATES that works: 3.13 is a fifth faster than 3.11.
PYTHON ?=
CANDIDATES = python3.13 $(sort $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.13.*/bin/python)) \
	python3.14 python3 python3.12 python3.11
PYTEST_ARGS ?=
LOCK_ARGS ?=
BENCH_ARGS ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test test-long test-browser test-clients test-deploy image faults recovery fuzz bench \
	bench-large scenario lint check lock clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile

# The stamp of an install is made last, and its name depends on the lock and the folder. So an
# interrupted install, a changed lock or a moved clone leads to a new install.
stamp = .venv/installed-$(1)-$(shell (pwd -P; cat requirements/$(1).txt pyproject.toml) | cksum | tr -d ' ')
SANDBOX := $(call stamp,sandbox)
TEST := $(call stamp,test)
DEPLOY := $(call stamp,deploy)
version = $(shell $(1) -c 'import sys; print(sys.version)' 2>/dev/null)
# Also when PYTHON names none: then making a .venv fails with a sentence.
other_python = $(if $(PYTHON),$(if $(call version,$(PYTHON)),$(if $(filter-out \
	$(call version,.venv/bin/python),$(call version,$(PYTHON))),yes),yes))
ifneq ($(if $(wildcard .venv/bin/python),$(other_python),yes),) # .venv is not made, lost its Python, or has another
.PHONY: $(SANDBOX) $(TEST) $(DEPLOY)
endif

run: $(SANDBOX) ## start the sandbox; BUTIE_PORT and the other settings come from the environment
	@exec .venv/bin/butie serve

test: $(TEST) ## run the tests; PYTEST_ARGS="-k budget" runs some
	@.venv/bin/python -m pytest $(PYTEST_ARGS)

test-long: $(TEST) ## run the tests that take minutes
	@.venv/bin/python -m pytest -m long $(PYTEST_ARGS)

test-browser: $(TEST) ## the budget page in headless Chromium; needs chromium, a Chinese font and npm
	@$(pip) install -qq --root-user-action=ignore --require-hashes --no-deps -r requirements/browser.txt
	@cd tests/browser && npm ci --silent --no-audit --no-fund
	@.venv/bin/python -m pytest -n 0 -m browser tests/browser $(PYTEST_ARGS)

faults: $(TEST) ## kill, stop and disconnect everything under load; FAULTS=1000 SEED=7 for a longer one
	@.venv/bin/python -m tests.faults

recovery: $(TEST) ## how fast the service notices that an engine is away, or back
	@.venv/bin/python -m tests.faults.recovery

fuzz: $(TEST) ## tens of thousands of made-up requests to every endpoint; takes some 12 minutes
	@.venv/bin/python -m pytest -n 2 -m "long or not long" tests/api/test_schema.py $(PYTEST_ARGS)

bench: $(TEST) ## compare Butie's speed with its yardsticks; BENCH_ARGS="--only one_worker" for some rows
	@.venv/bin/python -m loadtests.bench $(BENCH_ARGS)

bench-large: $(TEST) ## compare ten million claims in the tables with none; takes 20 minutes, 20 GB
	@.venv/bin/python -m loadtests.bench.large $(BENCH_ARGS)

scenario: $(TEST) ## play one of loadtests/ with Locust: NAME=day, opening, gateway, storm, week or all
	@.venv/bin/python -m loadtests.scenario $(or $(NAME),all) $(SCENARIO_ARGS)

test-clients: $(TEST) ## clients that generators make of the API document; needs npm
	@[ -e .venv/clients/bin/python ] || .venv/bin/python -m venv .venv/clients
	@.venv/clients/bin/python -m pip install -qq --disable-pip-version-check --root-user-action=ignore \
		--require-hashes --no-deps -r requirements/clients.txt
	@cd tests/clients && npm ci --silent --no-audit --no-fund
	@.venv/bin/python -m pytest -n 0 -m clients tests/clients $(PYTEST_ARGS)

test-deploy: $(DEPLOY) ## test deploy/: compose, Kubernetes, backups, and the image (as root)
	@$(crds)
	@.venv/bin/python -m pytest -m "long or not long" tests/deploy $(PYTEST_ARGS)

image: ## build the image with Debian's buildah, and lay it out in .image
	@deploy/image/build-here.sh .image

lint: $(TEST) ## style, types and import contracts
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

check: lint test test-long ## everything that must pass before a change is merged

$(SANDBOX):
	$(call install,sandbox)
	@touch $@

# requirements/test.txt contains all of requirements/sandbox.txt, deploy.txt all of test.txt.
$(TEST):
	$(call install,test)
	@touch $@ $(SANDBOX)

$(DEPLOY):
	$(call install,deploy)
	@touch $@ $(TEST) $(SANDBOX)

# Schemas that only npm has; without npm, the test that reads them is skipped.
crds = if [ -e .venv/crds/done ] || ! command -v npm >/dev/null; then exit; fi; \
	mkdir -p .venv/crds && cp tests/deploy/crds/* .venv/crds/ && \
	for try in 1 2 3; do \
		npm ci --prefix .venv/crds --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && \
		touch .venv/crds/done && break; \
	done

pip = .venv/bin/python -m pip --disable-pip-version-check
# $(1): which of requirements/.
define install
	@$(venv)
	@rm -f .venv/installed-*
	@echo "Installing requirements/$(1).txt into .venv, which is done once ..."
	@.venv/bin/python requirements/install.py $(1)
endef

# Keep a .venv that works, was made for this folder and has the Python that PYTHON names; otherwise
# make one. A program named python3.13 may be a shim that starts nothing, or lack the parts that a
# virtualenv needs, so each candidate shows what it can do.
define venv
	if $(pip) --version >/dev/null 2>&1 && grep -qF "$$(pwd -P)/.venv" .venv/pyvenv.cfg && \
		[ -z "$(other_python)" ]; then exit; fi; \
	newest=; \
	for python in $(or $(PYTHON),$(CANDIDATES)); do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		newest=$$python; \
		$$python -c 'import ctypes, ensurepip, ssl, venv' 2>/dev/null || continue; \
		rm -rf .venv && $$python -m venv .venv && exit; \
	done; \
	if [ "$$newest" ]; then \
		echo "$$newest cannot make a virtualenv; on Debian: apt-get install python3-venv"; \
	else \
		echo "Butie needs Python 3.11 or later, and $(or $(PYTHON),python3) here is:" \
			"$$($(or $(PYTHON),python3) --version 2>&1)"; \
	fi >&2; \
	exit 1
endef

UV := .venv/uv/bin/uv
compile = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --custom-compile-command "make lock" $(LOCK_ARGS)
lock: $(TEST) ## write requirements/ anew from pyproject.toml; LOCK_ARGS=--upgrade for newer versions
	@[ -x $(UV) ] || $(pip) install -qq --root-user-action=ignore --target .venv/uv 'uv>=0.9,<1'
	@$(compile) --group uv -o requirements/uv.txt
	@$(compile) pyproject.toml --extra tracing -o requirements/serve.txt
	@$(compile) --group build -o requirements/build.txt
	@$(compile) pyproject.toml --extra sandbox --group build -c requirements/serve.txt \
		-o requirements/sandbox.txt
	@$(compile) pyproject.toml --extra sandbox --extra tracing --group build --group test \
		-c requirements/serve.txt -c requirements/sandbox.txt -o requirements/test.txt
	@$(compile) --group clients -o requirements/clients.txt
	@$(compile) --group browser -c requirements/test.txt -o requirements/browser.txt
	@$(compile) pyproject.toml --extra sandbox --extra tracing --group build --group test \
		--group deploy -c requirements/test.txt -o requirements/deploy.txt

clean: ## remove .venv and all caches; the sandbox's data in .butie stay
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .schemathesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
