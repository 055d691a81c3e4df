# Every target sets itself up on a fresh machine and is quick the second time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_WAIT_POLICY ?= PASSIVE
# Models this small gain nothing from a second thread, and processes side by side lose much.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false
export HF_HUB_OFFLINE ?= 1

REAL_PARTS := reasoning rl transfer rubrics preferences

.PHONY: demo model check test lint bench bench-gpu soak sandbox-judge reproduce rubrics-page real real-full \
	real-parts $(REAL_PARTS:%=real-%) critiques-page docs clean

$(STAMP): pyproject.toml constraints.txt
	@echo "installing into $(VENV): a minute or two, once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --constraint constraints.txt torch
	$(BIN)/python -m pip install -qq --constraint constraints.txt --editable '.[dev]'
	touch $@

# A real language model in the user's cache, for tests: half a minute, once; then it is only compared. The demo needs none.
model: $(STAMP)
	$(BIN)/reasrm models fetch smollm2

demo: $(STAMP)
	$(BIN)/reasrm demo --output runs/demo

# While typing, under a minute: style, and every test that is neither marked `slow` nor runs whole commands (tests/cli).
check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest -n 2 -q --ignore tests/cli -m 'not slow and not soak' --slow-from 1

# Before a change lands: every test but the soak; `make lint` beside it.
test: model
	$(BIN)/python -m pytest -n 2 -q

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m benchmarks

# Every path that has never run on a GPU, ten minutes at most; the last line is JSON. On a CPU: tiny shapes.
bench-gpu: $(STAMP)
	$(BIN)/python -m benchmarks.gpu

# Before a release: the same faults at large counts.
soak: model
	$(BIN)/python -m pytest -q -m soak --timeout 3600

# The judge that ships with the package: the same bits on the same kind of CPU.
sandbox-judge: $(STAMP)
	$(BIN)/reasrm sandbox judge --config configs/sandbox/judge.yaml \
		--work runs/sandbox-judge --output reasrm/sandbox_judge

# The papers' claims in kind, five seeds: about two and a half hours on two cores. Stopped runs continue.
reproduce: $(STAMP)
	$(BIN)/python -m experiments.reproduce --output runs/reproduce --page docs/reproduction.md

# Rubrics by contrast, five seeds: about two and a half hours on one core. Stopped runs continue.
rubrics-page: $(STAMP)
	$(BIN)/python -m experiments.rubrics --output runs/rubrics --page docs/results/rubrics.md

# A real language model through every stage and judged after each; the small size takes about an hour where the
# CPU multiplies bfloat16 natively, else an hour and a half on two idle cores; the large one about seven hours. This model gains from a second thread. Stopped runs continue.
real real-full: export OMP_NUM_THREADS := $(shell getconf _NPROCESSORS_ONLN)
real: model
	$(BIN)/python -m experiments.real_model --output runs/real --page docs/results/real-model.md

real-full: model
	$(BIN)/python -m experiments.real_model --size full --output runs/real-full --page docs/results/real-model.md

# Four experiments on the real model: about five hours on two idle cores, a part or seed at a time with
# `make real-rubrics` or `make real-reasoning FLAGS="--seeds 1"`. Stopped runs continue.
real-parts $(REAL_PARTS:%=real-%): export OMP_NUM_THREADS := $(shell getconf _NPROCESSORS_ONLN)
real-parts: model
	$(BIN)/python -m experiments.real --output runs/real-parts --data $(DATA) --pages docs/results $(FLAGS)

$(REAL_PARTS:%=real-%): real-%: model
	$(BIN)/python -m experiments.real --only $* --output runs/real-parts --data $(DATA) --pages docs/results $(FLAGS)

# What the rules read in real judges' recorded critiques: a few minutes. DATA is the folder of the recorded files.
DATA ?= ../shared/data
critiques-page: $(STAMP)
	$(BIN)/python -m experiments.real_critiques --data $(DATA) --page docs/critiques-on-real-judges.md

# The pages and the API as a site in site/; an environment of its own, for the site reads the package and imports none of it.
DOCS := .venv-docs
$(DOCS)/.installed: constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install -qq --constraint constraints.txt mkdocs-material 'mkdocstrings[python]' ruff
	touch $@

docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=true $(DOCS)/bin/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(DOCS) site runs build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
