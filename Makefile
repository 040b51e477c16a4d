# make setup | run | test | check | bench: everything happens in .venv; nothing is installed elsewhere.
# PYTHON=python3.12 picks another interpreter, ARGS="…" is passed on (make test ARGS="-k invoke").

.DEFAULT_GOAL := help
.PHONY: help setup run test check format bench soak java lock clean
SHELL := /bin/sh

# The newest of these that is there and can make virtual environments.
PYTHONS := $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3)
BIN := .venv/bin
READY := .venv/ready

help:
	@echo 'make run     start the service on 127.0.0.1:4566 and try a function in it'
	@echo 'make test    run all tests (ARGS="-k name" for some)'
	@echo 'make check   lint, format, types and layers'
	@echo 'make bench   measure the speed (ARGS="--quick" for a first look)'
	@echo 'make soak    a service under everything for ten minutes (ARGS=60 for a minute): does it keep any of it?'
	@echo 'make setup   only make .venv, which the others do on their own'
	@echo 'make format  let ruff correct what it can'
	@echo 'make java    compile the client of the Java runtimes again (needs a JDK, 17 or later)'
	@echo 'make lock    resolve the dependencies again (needs uv)'
	@echo 'make clean   remove .venv and caches; the data in .lamplighter stays'

setup: $(READY)

# pip takes only what has a hash in requirements.lock, setuptools for the last line included; so the last line needs
# no network, and nothing unpinned is ever fetched.
$(READY): requirements.lock pyproject.toml
	@set -eu; able=; old=; \
	for python in $(PYTHONS); do \
	  command -v "$$python" >/dev/null 2>&1 || continue; \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue; \
	  if "$$python" -c 'import ensurepip, venv' 2>/dev/null; then able=$$python; break; fi; \
	  old=$${old:-$$python}; \
	done; \
	if [ -z "$$able" ] && [ -n "$$old" ]; then \
	  echo "$$old cannot make virtual environments; on Debian and Ubuntu, as root: apt install $$old-venv" >&2; exit 1; \
	elif [ -z "$$able" ]; then \
	  echo 'Python 3.11 or later is needed (on Debian 12 or Ubuntu 24.04, as root: apt install python3 python3-venv);' \
	    'or name one: make PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo "Making .venv with $$able …"; "$$able" -m venv --clear .venv; \
	fi
	@echo 'Installing what requirements.lock pins …'
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

run: $(READY)
	@exec $(BIN)/python examples/run.py $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY)
	$(BIN)/python -m bench $(ARGS)

soak: $(READY)
	$(BIN)/python -m bench.soak $(ARGS)

# For Java 11 and later; the date makes the same classes the same file.
java:
	rm -rf build/java && mkdir -p build/java
	javac --release 11 -Xlint:all -Werror -g:source,lines -d build/java $$(find java/source -name '*.java' | sort)
	jar --create --date=2026-01-01T00:00:00Z --file src/lamplighter/runtimes/java/runtime.jar -C build/java .

# The lock holds versions and hashes but no addresses: where packages come from is for each machine to say.
lock:
	@command -v uv >/dev/null || { echo 'make lock needs uv (see its documentation for how to install it).' >&2; exit 1; }
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/*.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
