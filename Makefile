# Everything runs in a virtual environment of its own, .venv, made on first use.
PYTHON ?= python3
BIN := .venv/bin
SAMPLE := sample
BENCH_DATA ?= $(SAMPLE)-200MB
BENCH_SIZES ?= 200MB,1GB
BENCH_ROUNDS ?= 3
FUZZ_MUTANTS ?= 5000
PYTEST := $(BIN)/python -m pytest -q --durations=25
# Files are handed out whole, and those of the trainers together: tests/conftest.py says why.
PROCESSES ?= -n 2 --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help demo quick test style check fuzz bench bench-feed bench-remote bench-fetch clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 13

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[build]'
	@touch $@

.venv/ready-dev: .venv/ready tests/clients/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps -r tests/clients/requirements.txt
	@touch $@

demo: .venv/ready  ## make the sample sources, build them, show the mixture
	$(BIN)/mixer sample $(SAMPLE)
	$(BIN)/mixer build recipes/sample.yaml -o out/sample
	$(BIN)/mixer verify out/sample

quick: .venv/ready-dev  ## tests of every room, in less than a minute
	$(PYTEST) $(PROCESSES) -m quick

test: .venv/ready-dev  ## all tests but the slow ones, in two processes
	$(PYTEST) $(PROCESSES) -m 'not slow and not cluster and not browser'

style: .venv/ready-dev  ## ruff, mypy and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy mixer
	$(BIN)/codespell

check: style  ## style, types, all tests, and the wheel in new environments
	$(PYTEST) $(PROCESSES) -m 'not slow and not cluster and not browser'
	$(PYTEST) -m 'slow and not cluster and not browser'

fuzz: .venv/ready-dev  ## 5,000 damages of a build through every reader
	$(BIN)/python tests/fuzz_builds.py --mutants $(FUZZ_MUTANTS)

bench-feed: .venv/ready-dev  ## the table of reading speed in docs/speed.md, from new records
	$(BIN)/python benchmarks/feed.py --rounds $(BENCH_ROUNDS)
	$(BIN)/python benchmarks/render.py

bench-remote: .venv/ready-dev  ## building from a bucket with 20 ms latency, against local files
	$(BIN)/python benchmarks/remote.py --data $(BENCH_DATA)-bucket --sizes $(BENCH_SIZES) --rounds $(BENCH_ROUNDS)
	$(BIN)/python benchmarks/render.py

bench-fetch: .venv/ready-dev  ## fetching contents from a bucket on loopback
	$(BIN)/python benchmarks/fetch.py --data $(BENCH_DATA)-blobs --rounds $(BENCH_ROUNDS)
	$(BIN)/python benchmarks/render.py

bench: .venv/ready-dev  ## the speed tables of docs/speed.md and the README, from new records
	$(BIN)/mixer sample $(BENCH_DATA) --size 200MB
	$(BIN)/python benchmarks/run.py --data $(BENCH_DATA) --sizes $(BENCH_SIZES) --rounds $(BENCH_ROUNDS)
	$(BIN)/python benchmarks/render.py

clean:  ## remove the environment and everything that was built
	rm -rf .venv $(SAMPLE) $(SAMPLE)-200MB* out
