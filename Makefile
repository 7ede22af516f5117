# `make demo` and `make test` work on a fresh clone with Python 3.10+ and a package registry. Paths here are relative,
# so that a checkout whose path has a space in it works too.
PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet

.PHONY: demo test ui lint bench clean

demo: .venv/.installed  ## run the whole lane on the tiny profile and the embedded corpus
	@$(PY) -m laneb_assets.cli run --profile tiny

test: .venv/.installed-test  ## run the whole test suite
	@$(PY) -m pytest -n 4 --dist loadfile --no-loadscope-reorder

ui: .venv/.installed  ## Dagster on http://127.0.0.1:3000
	@$(PY) -m laneb_assets.cli ui

lint: .venv/.installed-test
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy

bench: .venv/.installed-test  ## each speed claim against a stated alternative, in one run
	@for script in benchmarks/*.py; do case $$script in benchmarks/reference_*) ;; *) echo "== $$script"; $(PY) $$script || exit 1;; esac; done

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Lane B needs Python 3.10 or newer, not " + sys.version.split()[0] + "; say make PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: pyproject.toml .venv/.created
	@echo "installing Lane B into .venv (a few minutes, once)"
	@$(PIP) -e .
	@touch $@

.venv/.installed-test: pyproject.toml .venv/.created
	@echo "installing Lane B and its test tools into .venv (a few minutes, once)"
	@$(PIP) -e '.[test]'
	@touch .venv/.installed $@

clean:
	rm -rf .venv data
