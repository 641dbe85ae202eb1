# Roadline: `make demo` runs the main job, `make test` runs all tests. Both create .venv on first use.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test check format bench silicon clean help

help:  ## Show the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## Simulate Alpamayo 1.5 on Jetson AGX Thor at 10 Hz; writes out/alpamayo.*
	$(BIN)/roadline run scenarios/alpamayo-thor-10hz.yaml --trace out/alpamayo.perfetto-trace --plot out/alpamayo.png

test: $(STAMP)  ## Run all tests, the type checker and the linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -rs

check: test  ## The same as test

format: $(STAMP)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## Measure speed; docs/benchmarks.md keeps the numbers
	$(BIN)/python -m benchmarks

silicon: $(STAMP)  ## Print the simulation beside measured silicon
	$(BIN)/roadline validate

clean:  ## Remove what the other targets made
	rm -rf $(VENV) out dist build
