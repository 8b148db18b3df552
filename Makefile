.PHONY: install demo test lint bench torture clean
bin := .venv/bin

install:
	@.ci/install

demo: install        # the main job on real parts, in a temporary directory
	@$(bin)/sendense demo

lint: install
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy --strict runner steps

test: lint           # everything that decides whether a change may land
	$(bin)/pytest

bench: install     # measurements; decides nothing
	$(bin)/python -m tests.bench

torture: install   # kills a run at every moment, and N more times at random of SEED
	TORTURE=$(or $(N),60) SEED=$(or $(SEED),1) $(bin)/pytest -n 1 --timeout 1200 tests/faults

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
