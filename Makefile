.DEFAULT_GOAL := help
.PHONY: help install demo lint test test-fast test-debian12 test-debian13 bench torture interop clean
bin := .venv/bin
unexport PYTHONDONTWRITEBYTECODE  # else each process that a test starts compiles the tests' modules anew

help:                # what can be made here
	@sed -n 's/^\([a-z0-9-]*\):[^#]*# *\(.*\)/  make \1\t\2/p' Makefile | expand -t 24

install:             # Debian packages and .venv; nothing where all is there
	@.ci/install

demo: install        # the main job on real parts, in a temporary directory
	@$(bin)/sendense demo

lint: install        # style, types, shell
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy --strict runner steps
	shellcheck $$(git ls-files '*.sh' .ci/install .ci/interop .ci/run .ci/test-debian .ci/vddk-plugin)

test: lint           # everything that decides whether a change may land
	$(bin)/pytest

test-fast: install   # what can be told in a minute: no whole runs, no kills, nothing marked slow
	$(bin)/pytest -m 'not slow' --ignore tests/e2e --ignore tests/faults

test-debian12: install  # all tests in a Debian 12 that is made for it; as root
	.ci/test-debian bookworm

test-debian13: install  # all tests in a Debian 13 that is made for it; as root
	.ci/test-debian trixie

bench: install       # measurements; decides nothing
	$(bin)/python -m tests.bench

torture: install     # kills a run at every moment, N more times at random of SEED, and what is too dear for `make test`
	TORTURE=$(or $(N),60) SEED=$(or $(SEED),1) $(bin)/pytest -n 1 --timeout 1200 tests/faults \
		$$(git grep -il torture -- 'tests/*/test_*.py' ':!tests/faults')

interop:             # against programs of VMware's Go library; takes Debian's golang-go and golang-github-vmware-govmomi-dev
	@go version >/dev/null 2>&1 || { echo "install golang-go and golang-github-vmware-govmomi-dev first; .ci/interop does" >&2; exit 2; }
	INTEROP=1 $(bin)/pytest -n 1 tests/interop

clean:               # what is not in git
	rm -rf .venv .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
