# make demo      a CPU-heavy job on the built-in broker
# make test      everything on one Python; unit, simulator and process tests on the others found
# make check     format, lint, types, import contracts, unit tests, 500 simulator seeds: about a minute
# make coverage  branches of the core and the codec that no test takes: there must be none
# make bench     the figures of README
#
# All that is needed is make and a Python 3.11 or later; each target makes its own
# virtual environment, and installs again only when setup.cfg has changed.

# The versions `make test` looks for beside the one of .venv.
VERSIONS = 3.11 3.12 3.13
# What needs neither Apache Kafka nor Go runs on every version, and one file a core: most
# tests wait for processes, and those of a file share what is dear to make.
WITHOUT_KAFKA = -n auto --dist loadfile -m 'not kafka and not interop'
PACKAGING = setup.cfg pyproject.toml tools/find-python

.PHONY: demo test test-others check coverage bench clean

demo: .venv/.installed
	.venv/bin/kqworker demo

test: .venv/.installed-for-tests
	KQWORKER_SIM_SEEDS=2000 .venv/bin/python -m pytest $(WITHOUT_KAFKA)
	.venv/bin/python -m pytest -m 'kafka or interop'
	@$(MAKE) --no-print-directory test-others

test-others: .venv/.installed-for-tests
	@main=$$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	for version in $(VERSIONS); do \
	    if [ $$version = $$main ]; then continue; fi; \
	    if tools/find-python $$version >/dev/null; then \
	        $(MAKE) --no-print-directory test-$$version || exit 1; \
	    else \
	        echo "Python $$version was not found: nothing was run on it."; \
	    fi; \
	done

test-%: .venv-%/.installed-for-tests
	KQWORKER_SIM_SEEDS=500 .venv-$*/bin/python -m pytest $(WITHOUT_KAFKA) --ignore=tests/e2e

# What is fast and needs no Kafka, for every change.
UNIT = tests/core tests/wire tests/sim tests/app tests/settings tests/docs tests/typing tests/kq

check: .venv/.installed-for-tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	KQWORKER_SIM_SEEDS=500 .venv/bin/python -m pytest -q -n auto --dist loadfile $(wildcard $(UNIT))

coverage: .venv/.installed-for-tests
	KQWORKER_SIM_SEEDS=200 .venv/bin/coverage run -m pytest -q $(wildcard tests/core tests/wire tests/sim)
	.venv/bin/coverage report --include='kqworker/core/*,kqworker/wire.py' --fail-under=100

bench: .venv/.installed-for-tests
	.venv/bin/python -m benchmarks

clean:
	rm -rf .venv .venv-* build dist *.egg-info .tox
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# Kept although make sees them as intermediate files of test-%.
.SECONDARY:

# An environment whose Python has gone, or is too old, is made anew.
NEW_ENOUGH = -c 'import sys; sys.exit(sys.version_info < (3, 11))'

.venv/.python: tools/find-python
	@.venv/bin/python $(NEW_ENOUGH) 2>/dev/null || { \
	    python=$$(tools/find-python) && echo "making .venv with $$python" && \
	    "$$python" -m venv --clear .venv; }
	@touch $@

.venv/.installed: .venv/.python $(PACKAGING)
	.venv/bin/python -m pip install --quiet --editable .
	@touch $@

.venv/.installed-for-tests: .venv/.python $(PACKAGING)
	.venv/bin/python -m pip install --quiet --editable '.[test,check]'
	@touch $@ .venv/.installed

.venv-%/.installed-for-tests: $(PACKAGING)
	@python=$$(tools/find-python $*) && echo "making .venv-$* with $$python" && \
	    "$$python" -m venv --clear .venv-$*
	.venv-$*/bin/python -m pip install --quiet --editable '.[test]'
	@touch $@
