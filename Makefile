# Everything a newcomer needs; `make` alone lists the targets.
PYTHON ?= python3
UV := .tools/bin/uv
RUN := .venv/bin/
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help demo test check lint protos vectors bench load outages fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv goes into a folder of its own, so that a system Python that refuses pip, or lacks venv, will do.
$(UV):
	@echo "installing uv into .tools"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools 'uv>=0.9'

.venv/.installed: $(UV) pyproject.toml uv.lock
	@echo "installing the locked dependencies into .venv"
	@$(UV) sync --locked --quiet --python $(PYTHON)
	@touch $@

demo: .venv/.installed ## issue, draw, scan and break things, on real processes (half a minute)
	@$(RUN)python -m loadtest demo

test: .venv/.installed ## run all tests
	@$(RUN)python -m pytest -n auto --dist loadscope

check: lint test ## everything that must hold before a commit

lint: .venv/.installed ## formatting, lint, types, layers
	@$(RUN)ruff format --check .
	@$(RUN)ruff check .
	@$(RUN)mypy
	@$(RUN)lint-imports --no-logo

protos: .venv/.installed ## generate the gRPC stubs from protos/
	@$(RUN)python -m tests.generate_protos

vectors: .venv/.installed ## rebuild our own test vectors
	@$(RUN)python -m tests.vectors.generate

bench: .venv/.installed ## how far from the limit: ratios, and a chart of them (three minutes; needs h2load)
	@$(RUN)python -m loadtest bench

load: .venv/.installed ## replay two of the mornings, small, and write reports (a minute)
	@$(RUN)python -m loadtest load

outages: .venv/.installed ## every fault, with gates scanning; rewrites the README's table (ten minutes)
	@$(RUN)python -m loadtest outages --readme

# In an environment of its own: what fuzzes has wheels for few platforms, and nothing else needs it.
.tools/fuzz/.installed: $(UV) pyproject.toml uv.lock
	@echo "installing what fuzzes into .tools/fuzz"
	@UV_PROJECT_ENVIRONMENT=.tools/fuzz $(UV) sync --locked --quiet --group fuzz --python $(PYTHON)
	@touch $@

SECONDS ?= 60
fuzz: .tools/fuzz/.installed ## look for inputs that break what must hold (SECONDS=60 each; Linux on x86-64)
	@.tools/fuzz/bin/python -m tests.fuzz all --seconds $(SECONDS)

clean: ## remove what the targets made
	rm -rf .venv .tools build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
