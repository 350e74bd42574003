# make env | demo | quick_verify | test | lint | lock. Needs Python 3.11 or 3.12 and nothing else.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
DATA ?=
OUT ?= runs/demo

.PHONY: env demo quick_verify test lint format lock clean help

help:
	@echo "make env    the environment alone, in $(VENV)"
	@echo "make demo   the whole way on made recordings; DATA=<folder> runs it on your own take-home folder, OUT=<folder> elsewhere"
	@echo "make quick_verify   every figure of the README's results, made again from the predictions behind them"
	@echo "make test   the whole test suite"
	@echo "make lint   ruff and the type checker"
	@echo "make lock   resolve requirements.lock again from setup.cfg, and the locks of the service's image"

env: $(VENV)/.ready

# The first interpreter of a fit version that really starts (a version manager's shim may exist and not run).
$(VENV)/.ready: requirements.lock setup.cfg pyproject.toml
	@set -e; \
	for candidate in $(PYTHON) python3.12 python3.11 python3 python; do \
	  if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; then chosen=$$candidate; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then echo "error: no Python 3.11 or 3.12 found; install one, or name it: make env PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	echo "Making $(VENV) with $$($$chosen --version); the first time downloads several GB." >&2; \
	$$chosen -m venv --clear $(VENV); \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION); \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes -r requirements.lock; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: env
	$(BIN)/python -m benchmarks.demo --out $(OUT) $(if $(DATA),--data $(DATA))

quick_verify: env
	@$(BIN)/python -m benchmarks.quick_verify

# A process per core, each with one torch thread; a process takes over tests from another only when its own are done, since files share trained networks.
test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict configs docker .github

format: env
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: env
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --extra dev --extra benchmark \
	  --custom-compile-command "make lock" --output-file requirements.lock setup.cfg
	for name in onnx torch; do \
	  $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command "make lock" --output-file docker/service/$$name.lock docker/service/$$name.in || exit 1; \
	done

clean:
	rm -rf build runs .pytest_cache .mypy_cache .ruff_cache .hypothesis
