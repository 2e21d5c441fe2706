# One command a job, the same locally and in CI. Everything is installed in .venv, nothing outside it.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

# Tests and timing gates run one torch thread per process: results must not depend on the number of cores.
test perf truth results study kill fuzz docs figure: export OMP_NUM_THREADS = 1

.PHONY: demo test lint perf truth results study kill fuzz docs figure
demo: $(VENV)/.core
	rm -rf demo && mkdir demo
	$(BIN)/autoprox discover --evaluations 3000 --run-dir demo/discover --out demo/best.json
	$(BIN)/autoprox export demo/best.json --format expression
	$(BIN)/autoprox search --proxy demo/best.json --max-params 20K --evaluations 300 \
	    --run-dir demo/search --out demo/arch.json

test: lint
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadgroup --max-worker-restart 0

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# About half an hour on 2 cores that do nothing else; PARTS="search growth" measures only these.
perf: $(VENV)/.test
	$(BIN)/python -m tests.performance $(PARTS)

# About 20 minutes on 2 cores; goes on where it was stopped.
truth: $(VENV)/.test
	$(BIN)/python tests/truth.py

# About an hour on 2 cores, with the public benchmarks; goes on where it was stopped.
results: $(VENV)/.test
	$(BIN)/python -m tests.results

# The reference from the tables, and what the commands in README and docs print: about 4 minutes; PAGES="docs/search.md" runs these only.
docs: $(VENV)/.test
	$(BIN)/python -m autoprox.report.reference
	$(BIN)/python -m tests.pages $(PAGES)

# The figure of the README, from a discovery.
figure: $(VENV)/.test
	$(BIN)/python -m tests.figure

# docs/study.md, about an hour on 2 cores, with the public files of ViT-Bench-101; goes on where it was stopped.
study: $(VENV)/.test
	mkdir -p build
	$(BIN)/autoprox study examples/study.toml --out build/study.csv --run-dir build/study \
	    $(if $(wildcard build/study/settings.json),--resume)
	$(BIN)/python -m tests.study_page

# kill -9 at 20 random moments of discover, search and bench build, and of their workers: about 40 minutes on 2 cores.
kill: $(VENV)/.test
	$(BIN)/python tests/kill.py

# Thousands of damaged expressions, files, tables and command lines, other ones each time: about 12 minutes on 2 cores.
fuzz: $(VENV)/.test
	$(BIN)/python -m pytest tests/test_fuzz.py --numprocesses $(WORKERS) --hypothesis-profile=fuzz

# Editable, so that an edited source counts at once; what a regular install holds is checked by tests/test_packaging.py.
$(VENV)/.core: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP) --editable '.[test]'
	touch $@
