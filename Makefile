# make demo          a CPU-heavy job on the built-in broker
# make test          everything on one Python; on the others found what depends on the version
# make long          at full size what make test runs a tenth of: seeds, kills, stops; hours
# make check         format, lint, types, import contracts, unit tests, 500 simulator seeds: about a minute
# make coverage      branches of the core and the codec that no test takes: there must be none
# make bench         the figures of README
# make requirements  pins the newest releases again, and the lowest bounds of setup.cfg: after each change of them
# make test-latest   what needs no Kafka, with the newest release of every package
# make test-oldest   what needs no Kafka, with the lowest versions that setup.cfg allows, on Python 3.11
#
# All that is needed is make and a Python 3.11 or later; each target makes its own virtual
# environment, and installs again only when setup.cfg or its file of requirements has changed.
# `demo` installs as a user does. Tests and checks install what requirements/ pins by version
# and hash, so that they pass next month as they pass today.

# The versions `make test` looks for beside the one of .venv.
VERSIONS = 3.11 3.12 3.13
# What needs neither Apache Kafka nor Go runs one file a core: most tests wait for processes,
# and those of a file share what is dear to make.
WITHOUT_KAFKA = -n auto --dist loadfile -m 'not kafka and not interop'
# With them two run side by side: most of these tests wait, too. Each has half of the list, as it
# stands, and who is through takes of the other's. A test that allows a run few seconds runs alone.
IN_PAIRS = -n 2 --dist worksteal -m '(kafka or interop) and not alone'
ALONE = -m '(kafka or interop) and alone'
# The core, its simulator and the docs are the same on every version: they run on one.
BY_VERSION = tests/app tests/cli tests/contract tests/kafka_unit tests/kq tests/loading \
    tests/runtime tests/settings tests/watch tests/wire tests/test_leaks.py
PACKAGING = setup.cfg pyproject.toml tools/find-python
# The oldest that setup.cfg allows, for which requirements/ is resolved and `make test-oldest` runs.
OLDEST = 3.11

# A damaged environment leads its python to the one that it was made from: nothing is installed there.
export PIP_REQUIRE_VIRTUALENV = 1
# Where this is set, as in many images, each of the thousands of processes that tests start would
# compile all modules again.
export PYTHONDONTWRITEBYTECODE =

.PHONY: demo test long test-others test-latest test-oldest check coverage bench requirements clean

demo: .venv/.installed
	.venv/bin/kqworker demo

test: .venv/.installed-for-tests
	KQWORKER_SIM_SEEDS=2000 .venv/bin/python -m pytest $(WITHOUT_KAFKA)
	.venv/bin/python -m pytest $(IN_PAIRS)
	.venv/bin/python -m pytest $(ALONE)
	@$(MAKE) --no-print-directory test-others

# One at a time, without a limit on the time that a test may take.
long: .venv/.installed-for-tests
	KQWORKER_SIM_SEEDS=20000 .venv/bin/python -m pytest -n auto --dist loadfile --timeout 0 tests/sim
	KQWORKER_LONG=1 .venv/bin/python -m pytest --timeout 0 -m 'kafka or interop'

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
	.venv-$*/bin/python -m pytest $(WITHOUT_KAFKA) $(BY_VERSION)

# Never up to date: what was the newest yesterday need not be so today.
test-latest: .venv-latest/.python
	.venv-latest/bin/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable '.[test]'
	KQWORKER_SIM_SEEDS=500 .venv-latest/bin/python -m pytest $(WITHOUT_KAFKA)

test-oldest: .venv-oldest/.installed-for-tests
	KQWORKER_SIM_SEEDS=500 .venv-oldest/bin/python -m pytest $(WITHOUT_KAFKA)

# What is fast and needs no Kafka, for every change.
UNIT = tests/core tests/wire tests/sim tests/app tests/loading tests/settings tests/docs tests/typing tests/kq \
    tests/test_readiness.py tests/test_verdict.py

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

# For every system and every Python from the oldest on. What builds the package is pinned with
# the rest; the two of the newest releases agree with each other.
BUILD = python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'
COMPILE = .venv-requirements/bin/uv pip compile --quiet --universal --python-version $(OLDEST) --generate-hashes \
    --upgrade --custom-compile-command 'make requirements' setup.cfg -

requirements: .venv-requirements/.python
	.venv-requirements/bin/python -m pip install --quiet --upgrade uv
	.venv-requirements/bin/$(BUILD) | $(COMPILE) --extra test --extra check --output-file requirements/check.txt
	.venv-requirements/bin/$(BUILD) | $(COMPILE) --extra test --constraints requirements/check.txt --output-file requirements/test.txt
	.venv-requirements/bin/$(BUILD) | $(COMPILE) --extra test --resolution lowest-direct --output-file requirements/oldest.txt

clean:
	rm -rf .venv .venv-* build dist *.egg-info .tox
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# Kept although make sees them as intermediate files of test-%.
.SECONDARY:

# An environment whose Python has gone, is too old, or is none of its own, is made anew.
NEW_ENOUGH = -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)'

.venv/.python .venv-latest/.python .venv-requirements/.python: tools/find-python
	@$(@D)/bin/python $(NEW_ENOUGH) 2>/dev/null || { \
	    python=$$(tools/find-python) && echo "making $(@D) with $$python" && \
	    "$$python" -m venv --clear $(@D); }
	@touch $@

.venv/.installed: .venv/.python $(PACKAGING)
	.venv/bin/python -m pip install --quiet --editable .
	@touch $@

# Installs a file of requirements/, then the checkout: nothing that has no hash is fetched.
define install
$(@D)/bin/python -m pip install --quiet --require-hashes --requirement requirements/$(1).txt
$(@D)/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
endef

.venv/.installed-for-tests: .venv/.python $(PACKAGING) requirements/check.txt
	$(call install,check)
	@touch $@ .venv/.installed

.venv-%/.installed-for-tests: $(PACKAGING) requirements/test.txt
	@python=$$(tools/find-python $*) && echo "making $(@D) with $$python" && \
	    "$$python" -m venv --clear $(@D)
	$(call install,test)
	@touch $@

.venv-oldest/.installed-for-tests: $(PACKAGING) requirements/oldest.txt
	@python=$$(tools/find-python $(OLDEST)) || \
	    { echo "test-oldest needs Python $(OLDEST), and none was found" >&2; exit 1; }; \
	    echo "making $(@D) with $$python" && "$$python" -m venv --clear $(@D)
	$(call install,oldest)
	@touch $@
