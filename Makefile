# Every task by its name. The tools are those of the environment that `bash setup.sh --dev` makes and names:
#
#   PATH="$(bash setup.sh --dev)/bin:$PATH" make lint
.PHONY: lint types unit all bench docs fuzz

SHELL_FILES = setup.sh progress.sh tests/run.sh .ci/run scripts/jvmbind $(wildcard examples/*.sh examples/*/*.sh packaging/*/*.sh)

lint: # style, import floors, shell, spelling, Markdown
	ruff check .
	ruff format --check .
	lint-imports
	shellcheck --external-sources $(SHELL_FILES)
	codespell
	python tests/support/markdown.py

types: # mypy --strict, tests included; pyright's rules for the public API
	mypy --strict jvmbind tests packaging/pages hatch_build.py examples/embedded-python examples/python
	basedpyright --pythonpath "$$(command -v python)"

unit: # what needs neither root nor a JVM
	python -m pytest -q -n auto tests/unit

all: # as root on Debian 12 or newer: everything
	bash tests/run.sh

bench: # as root, in a network of its own: the figures of docs/benchmarks.md
	python benchmarks/speed.py pairs
	python benchmarks/speed.py first-answer

fuzz: # a million inputs of each kind: listeners, configurations, messages, the broker's, plans; some minutes
	python -I tests/fuzz/fuzz_specs.py 1000000
	python -I tests/fuzz/fuzz_configs.py
	python -I tests/fuzz/fuzz_messages.py
	python -I tests/fuzz/fuzz_broker.py
	python -I tests/fuzz/fuzz_plans.py

docs: # what is made from the source, and one sentence a line
	python tests/support/messages.py
	python tests/support/states.py
	python tests/support/markdown.py --fix
