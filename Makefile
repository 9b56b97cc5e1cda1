# One script for people and for continuous integration: `make` alone prints the words.
# Every word sets up all that it needs, first try, on a fresh clone.

LANGUAGE ?= en
PYTHON   ?= python3
BIN      := .venv/bin
ONE      := OMP_NUM_THREADS=1
QUICK    ?= --quick
BENCHMARKS := same_training same_scores pretraining time_to_loss corpus finetuning minimal_pairs resume robustness

.DEFAULT_GOAL := words
.PHONY: words quickstart test slow check wheel bench docs clean

words:  ## print these words
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What the program itself needs; the tools of the tests come on top of it.
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[quickstart-zh]'
	touch $@

.venv/ready-test: .venv/ready
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test]'
	touch $@

quickstart: .venv/ready  ## pre-train, adapt to four tasks and report, in minutes (LANGUAGE=en, or zh)
	$(BIN)/unmask quickstart --language $(LANGUAGE)

test: .venv/ready-test  ## every test that needs no network and no data sets
	$(ONE) $(BIN)/pytest -n 2 --dist worksteal

slow: .venv/ready-test  ## the tests that read the data sets under DATA
	@test -n "$(DATA)" || { echo 'make slow: DATA is not set; say where the data sets are: make slow DATA=FOLDER' >&2; exit 2; }
	DATA=$(DATA) $(BIN)/pytest -m slow

check: .venv/ready-test  ## format, lint, types, the rules of the house, the contents of the wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(ONE) $(BIN)/pytest -q tests/test_house.py
	$(MAKE) --no-print-directory wheel

wheel: .venv/ready-test  ## build the wheel and compare its contents with the package folder
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
	$(BIN)/python tests/wheel.py dist/*.whl

bench: .venv/ready-test  ## the benchmarks beside other libraries, short forms (the long ones: QUICK=)
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name $(QUICK) || exit 1; done

docs: .venv/ready-test  ## write the generated pages of docs/ anew
	$(BIN)/python docs/generate.py

clean:  ## remove the environment and everything that was built
	rm -rf .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
