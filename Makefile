# make setup: everything a clean checkout needs, into .venv; the program is then .venv/bin/zdm-proxy

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# test reports, read by .ci/run
REPORTS := build/junit

.DEFAULT_GOAL := help
.PHONY: help setup demo test compiled test-compiled simulate mutants check check-lint check-format check-types check-layers check-rules dashboards reference bench bench-goals performance conformance conformance-full conformance-drivers clean

help:
	@echo "make setup             build .venv and install the program: $(BIN)/zdm-proxy"
	@echo "make demo              two clusters and the proxy in one terminal (KEEP=1 stays up, BREAK=1 damages a row, to show that it is found)"
	@echo "make test              unit and process tests (no cluster needed)"
	@echo "make compiled          the program as it is installed, its inner rings compiled: $(COMPILED)/bin/zdm-proxy"
	@echo "make test-compiled     the tests of what is compiled, against that"
	@echo "make simulate          more of the simulation: SEEDS=N of them, FROM=S on"
	@echo "make mutants           faults planted in the code, each of which the tests must find"
	@echo "make check             ruff, mypy, import rings"
	@echo "make check-rules       alert rules and dashboards, by promtool (Debian's package prometheus)"
	@echo "make bench             measurements; bench-goals: what the project has set itself; performance: put both into docs/"
	@echo "make conformance       a slice of the suite against real clusters; conformance-full: all of it"
	@echo "make conformance-drivers   other languages' drivers, each as a program (DRIVERS=go,node CLUSTERS=ccm)"
	@echo "make clean             remove what was built"

setup: $(STAMP)

$(STAMP): pyproject.toml setup.py
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[test,conformance,dev]'
	touch $@

demo: setup
	$(BIN)/python demo/run.py $(if $(KEEP),--keep) $(if $(BREAK),--break)

# two at a time, each file in one piece, for what a file has started serves all of it; -n0 to see one fail alone
PARALLEL ?= -n2 --dist=loadfile

# a fixed seed: a run that fails here fails anywhere
test: setup
	@mkdir -p $(REPORTS)
	$(BIN)/python -m pytest tests -q $(PARALLEL) --hypothesis-seed=0 --junitxml=$(REPORTS)/test.xml

# the program as users install it, in an environment of its own that borrows what .venv has
COMPILED := build/compiled
compiled: $(COMPILED)/.installed

$(COMPILED)/.installed: $(STAMP) $(shell find zdm -name '*.py')
	rm -rf $(COMPILED)
	$(BIN)/python -m venv --without-pip $(COMPILED)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$$($(COMPILED)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
	ZDM_COMPILE=yes $(BIN)/python -m pip --quiet --python $(COMPILED)/bin/python install --no-deps --no-build-isolation .
	touch $@

# away from the source, which Python would find first; the program as a whole is what `conformance` tests
test-compiled: compiled
	@mkdir -p $(REPORTS)
	rm -rf $(COMPILED)/tree && mkdir $(COMPILED)/tree && cp -R tests pyproject.toml $(COMPILED)/tree
	cd $(COMPILED)/tree && ../bin/python -m pytest tests/protocol tests/cql tests/core tests/net tests/simulation tests/worker_process \
		-q $(PARALLEL) --hypothesis-seed=0 --junitxml=../../../$(REPORTS)/test-compiled.xml

# a proxy, two clusters and some clients in one thread; each seed is another story
SEEDS ?= 1000
FROM ?= 1
simulate: setup
	$(BIN)/python -m tests.simulation $(SEEDS) $(FROM)

mutants: setup
	$(BIN)/python -m tests.mutants

check: check-lint check-format check-types check-layers

check-lint: setup
	$(BIN)/ruff check

check-format: setup
	$(BIN)/ruff format --check

check-types: setup
	$(BIN)/mypy --strict zdm tests

check-layers: setup
	$(BIN)/python -m pytest -q tests/test_layers.py

# alert rules, their stories, the example of scraping, and what the dashboards ask
check-rules: setup
	@command -v promtool >/dev/null || { echo "promtool is missing: it is in Debian's package prometheus" >&2; exit 1; }
	promtool check config deploy/prometheus/prometheus.yml
	promtool test rules deploy/prometheus/alerts_test.yml
	@mkdir -p build
	$(BIN)/python deploy/grafana/dashboards.py --rules build/panels.yml
	promtool check rules build/panels.yml

dashboards: setup
	$(BIN)/python deploy/grafana/dashboards.py

# pages of docs/ that are made from the code
reference: setup
	$(BIN)/python -c 'from zdm.config import reference_markdown; print(reference_markdown(), end="")' >docs/configuration.md

# compiled, beside the same program interpreted
bench: compiled
	$(COMPILED)/bin/python bench/run.py --beside $(BIN)/zdm-proxy

bench-goals: compiled
	$(COMPILED)/bin/python bench/run.py --goals

# the figures of docs/performance.md, from the newest results
performance: setup
	$(BIN)/python bench/page.py

# with the program as it is installed, unless another is named
conformance conformance-full conformance-drivers: export PROXY_COMMAND ?= $(CURDIR)/$(COMPILED)/bin/zdm-proxy
conformance: compiled
	PATH="$(CURDIR)/$(BIN):$$PATH" JUNIT_DIR=$(REPORTS) conformance/run.sh ci

conformance-full: compiled
	PATH="$(CURDIR)/$(BIN):$$PATH" JUNIT_DIR=$(REPORTS) conformance/run.sh full

# each driver of DRIVERS needs its toolchain
DRIVERS ?= python,go,node,cqlsh,java,rust
CLUSTERS ?= sandbox
conformance-drivers: compiled
	PATH="$(CURDIR)/$(BIN):$$PATH" JUNIT_DIR=$(REPORTS) conformance/run.sh one drivers --drivers $(DRIVERS) --clusters $(CLUSTERS)

clean:
	rm -rf $(VENV) build dist *.egg-info .tox .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
