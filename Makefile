# The only door. Every target sets up what it needs: a virtual environment from requirements.lock, once.
#   make demo    run the main job          make check   format, lint, types, imports, house, contract
#   make test    all tests                 make bench   benchmarks (ONLY=name for one)
#   make soak    faults for DURATION=300 seconds, by SEED=, LOSSES=1; make compatibility EARLIER=revision beside this build
#   make new-adapter NAME=x    begin a channel: docs/how-to/write-an-adapter.md
# PYTHON=/path/to/python names the Python to build on (3.11 or newer; found by itself otherwise).

PYTHON ?=
ONLY ?=
REASON ?=
NAME ?=
# Tests mostly wait for servers: two workers halve the time, and a file's tests stay together. WORKERS=0 runs in turn.
WORKERS ?= 2
ARGUMENTS ?=
DURATION ?= 300
LOSSES ?=
SEED ?=
EARLIER ?=

RUN := .venv/bin/python
export PYTHON REASON

# The first Python that runs at all starts set-up; set-up itself finds one that is new enough, or says what helps.
define set_up
@for python in $${PYTHON:+"$$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c "" 2>/dev/null && exec "$$python" tools/environment.py $(1); \
done; \
echo "penstock: no Python runs here. Install 3.11 or newer: apt install python3 python3-venv, or brew install python" >&2; \
exit 1
endef

.PHONY: help demo test check format bench soak compatibility docs new-adapter proto contract lock upgrade clean setup everything \
	check-format check-lint check-types check-imports check-house check-proto check-contract check-lock check-docs

help:
	@sed -n '2,6p' Makefile

demo: setup
	@.venv/bin/penstock demo $(ARGUMENTS)

test: everything
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile $(ARGUMENTS)

check: check-format check-lint check-types check-imports check-proto check-contract check-lock check-docs check-house
	@echo "check: all good"

check-format: everything
	@$(RUN) -m ruff format --check --quiet . || { echo "check-format: run 'make format'" >&2; exit 1; }

check-lint: everything
	@$(RUN) -m ruff check --quiet .

check-types: everything
	@$(RUN) -m pyright --warnings

check-imports: everything
	@$(RUN) -c "import sys; from importlinter.cli import lint_imports_command; sys.argv[1:] = ['--no-logo']; lint_imports_command()"

check-proto: everything
	@$(RUN) proto/generate.py --check

check-contract: everything
	@$(RUN) proto/contract.py check

check-lock: everything
	@$(RUN) tools/lock.py --check

check-docs: everything
	@$(RUN) docs/generate.py --check

check-house: everything
	@$(RUN) -m pytest -q tests/house

format: everything
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix --quiet .

bench: everything
	@$(RUN) -m bench $(if $(ONLY),"ONLY=$(ONLY)")

# Everything that must be survived, mixed by a seed: docs/operations/soak.md.
soak: everything
	@$(RUN) -m tests.soak $(if $(LOSSES),--losses) $(DURATION) $(SEED)

# An earlier build (the newest tag, or a revision) beside this one, on one bus and one database.
compatibility: everything
	@$(RUN) -m tests.soak.earlier $(EARLIER)

# Writes the reference pages from the code.
docs: everything
	@$(RUN) docs/generate.py

# Begins a channel of that NAME, one word: docs/how-to/write-an-adapter.md.
new-adapter: everything
	@$(RUN) tools/new_adapter.py "$(NAME)"

# Writes src/penstock/messages/v1 from proto/.
proto: everything
	@$(RUN) proto/generate.py

# The only way to accept a changed wire contract; REASON goes into CHANGELOG.md.
contract: everything
	@$(RUN) proto/contract.py accept --reason "$$REASON"

lock: everything
	@$(RUN) tools/lock.py

upgrade: everything
	@$(RUN) tools/lock.py --upgrade

clean:
	rm -rf .venv .venv.lock .pytest_cache .ruff_cache .import_linter_cache .hypothesis bench/out dist
	find src tests bench proto tools -name __pycache__ -type d -prune -exec rm -rf {} +

# What the product itself runs on; `everything` is that, and what tests, checks and benchmarks need.
setup:
	$(call set_up,product)

everything:
	$(call set_up,everything)
