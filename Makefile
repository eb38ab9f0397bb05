# Two commands on a machine with Python 3.10+, make and git:
#   make demo   the environment, then both digit networks on six targets, with a report
#   make test   the environment, then every test; make test-fast: those of seconds
# PYTHON names another interpreter: make demo PYTHON=python3.12; WORKERS, how many tests run at a
# time (each takes up to 3 GB): make test WORKERS=1

PYTHON ?= python3
WORKERS ?= 2
# Where it forbids bytecode, as in images of containers, each process would compile PyTorch anew.
export PYTHONDONTWRITEBYTECODE =
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
STAMP := $(VENV)/.edgeark-installed

.PHONY: demo test test-fast lint format docs site requirements benchmarks clean

demo: $(STAMP)
	$(BIN)/edgeark demo

# Tests are small and run side by side: a thread each, and memory that is freed is kept, since to
# give it back to the system and to ask for it again takes a third of the time of a large map.
test test-fast: export OMP_NUM_THREADS = 1
test test-fast: export MALLOC_TRIM_THRESHOLD_ = 1073741824
test test-fast: export MALLOC_MMAP_THRESHOLD_ = 1073741824

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# What needs no toolchain and no data set, within three minutes.
test-fast: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) -m 'not toolchain and not data and not slow'

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The environment: uv inside .venv, then the pinned and hashed packages, then edgeark itself.
$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo 'edgeark needs Python 3.10 or later; name one with PYTHON=...' >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(UV) || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.txt
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

# The documents that are generated from the code; tests fail when they are stale.
docs: $(STAMP)
	$(BIN)/python -c 'from edgeark.export.results.manifest import manifest_schema as schema; \
	  print(schema(), end="")' > docs/manifest.schema.json
	$(BIN)/python -c 'from edgeark.zoo.registry import index; print(index(), end="")' > zoo/index.json
	$(BIN)/python -c 'from edgeark.export.targets.names import chips_index as index; \
	  print(index(), end="")' > export/targets/chips.json
	$(BIN)/python -m typer edgeark.cli utils docs --name edgeark --output docs/cli.md

# The documentation as a site in build/site, from an environment of its own; a warning is an error.
site: $(STAMP)
	test -x build/docs/bin/python || $(UV) venv --quiet build/docs
	$(UV) pip install --quiet --python build/docs/bin/python --require-hashes -r docs/site/requirements.txt
	mkdir -p build/package/edgeark
	for part in __init__.py errors.py core export zoo; do ln -sfn ../../../$$part build/package/edgeark/$$part; done
	NO_MKDOCS_2_WARNING=1 build/docs/bin/mkdocs build --strict --quiet

# Recompile every pinned list after a change of pyproject.toml or of a requirements.in.
requirements: $(STAMP)
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
	  --no-header --no-emit-index-url --extra dev -o requirements.txt pyproject.toml
	for list in export/backends/*/requirements*.in docs/site/requirements.in tests/cluster/requirements.in; do (cd $$(dirname $$list) && \
	  $(CURDIR)/$(UV) pip compile --quiet --universal --generate-hashes --no-annotate --no-header \
	  --no-emit-index-url --python-version 3.10 $$(test -f overrides.txt && echo --override overrides.txt) \
	  -o $$(basename $$list .in).txt $$(basename $$list)); done
	for list in export/backends/*/package.json; do (cd $$(dirname $$list) && rm -f package-lock.json && \
	  npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund); done

# Hours; a look at each: make benchmarks QUICK=1; some: make benchmarks ONLY="startup growth"
benchmarks: $(STAMP)
	$(BIN)/python benchmarks/all.py $(ONLY) $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .hypothesis
