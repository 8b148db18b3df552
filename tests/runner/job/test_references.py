"""Steps before anything runs: kinds, fields, values, and where references lead."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.job_language import HEAD, JOB, problems

EACH = 'each: {item: "${{ look.items }}"}'
LOOK = "{id: look, uses: look, with: {store: main, thing: x}}"
MADE = f'{{id: made, uses: make, {EACH}, with: {{item: "${{{{ item }}}}", store: main}}}}'
DOOR = f'{{id: door, uses: open, {EACH}, with: {{made: "${{{{ made }}}}"}}}}'
GONE = f'{{id: gone, uses: go, {EACH}, with: {{door: "${{{{ door }}}}"}}}}'


def found_in(directory: Path, *steps: str) -> list[str]:
    """Lines count from 9: the head of seven, then ``steps:``."""
    return problems(directory, HEAD + "steps:\n" + "".join(f"- {step}\n" for step in steps))


def make(field: str) -> tuple[str, ...]:
    """A `make` without `each`, for items from a variable, with one more field."""
    return (LOOK, f'{{id: made, uses: make, with: {{item: "${{{{ look.items[0] }}}}", store: main, {field}}}}}')


def test_the_job_of_the_tests_is_right(tmp_path: Path) -> None:
    assert problems(tmp_path, JOB) == []


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        pytest.param("{id: a b, uses: end}", "9:8: an id starts with a letter", id="id-with-space"),
        pytest.param("{id: ../a, uses: end}", "9:8: an id starts with a letter", id="id-with-path"),
        pytest.param("{id: run, uses: end}", "9:8: 'run' cannot be the id of a step", id="reserved-id"),
        pytest.param("{id: 7, uses: end}", "step number 1: id should be text, and this is a number: put", id="number"),
        pytest.param("{uses: end}", "9:3: step number 1: id is missing", id="no-id"),
        pytest.param("{id: a}", "9:3: step a: uses is missing", id="no-uses"),
        pytest.param("{id: a, uses: ned}", "9:17: there is no step 'ned'; did you mean 'end'?", id="unknown-kind"),
        pytest.param("{id: a, uses: zzz}", "there is no step 'zzz'; `sendense steps` lists them", id="no-such-kind"),
        pytest.param("{id: a, uses: finish}", "9:17: the step 'finish' was renamed to 'end': write uses: end", id="renamed"),
        pytest.param("{id: a, uses: end, need: [b]}", "9:22: step a: unknown key 'need'; did you mean 'needs'?", id="key"),
        pytest.param("{id: a, uses: end, needs: b}", "9:29: step a: needs should be a list, not text", id="needs-text"),
        pytest.param("{id: a, uses: end, needs: [b]}", "9:30: there is no step 'b'", id="needs-unknown"),
        pytest.param("{id: a, uses: end, needs: [a]}", "9:30: step a needs itself", id="needs-itself"),
        pytest.param("{id: a, uses: end, when: never}", "when should be 'success' or 'always', not 'never'", id="when"),
        pytest.param("{id: a, uses: end, retries: -1}", "retries should be greater than or equal to 0", id="retries"),
        pytest.param("{id: a, uses: end, retries: '5'}", "retries should be a whole number, not text", id="retries-text"),
        pytest.param("{id: a, uses: end, with: [b]}", "9:28: step a: with should be a mapping, not a list", id="with-list"),
        pytest.param(
            "{id: a, uses: end, with: {colour: red}}",
            "9:29: step a: end no longer has 'colour': everything is grey: remove this line",
            id="removed",
        ),
        pytest.param("{id: a, uses: end, with: {b: 1}}", "9:29: step a: end has no field 'b'", id="no-fields"),
        pytest.param("{id: a, uses: end, each: {b: c}}", '9:32: each takes expressions: {disk: "${{', id="each-text"),
        pytest.param("{id: a, uses: end, each: {b: '${{ vars.thing }}'}}", "9:32: each takes a list, and", id="each-scalar"),
        pytest.param("{id: a, uses: end, each: {b c: '${{ vars.list }}'}}", "'b c' cannot be the name of a var", id="name"),
        pytest.param("{id: a, uses: end, each: {a: '${{ vars.list }}'}}", "'a' has the name of a step", id="shadow"),
        pytest.param("{id: a, uses: end, each: {b: '${{ a + 1 }}'}}", "'${{ a + 1 }}' is not an expression", id="operator"),
    ],
)  # fmt: skip
def test_a_step_of_its_own(tmp_path: Path, step: str, problem: str) -> None:
    found = found_in(tmp_path, step)
    assert any(problem in each for each in found), found


def test_duplicate_ids_are_refused(tmp_path: Path) -> None:
    assert found_in(tmp_path, "{id: a, uses: end}", "{id: a, uses: end}") == [
        "10:8: the id 'a' stands twice, first in line 9"
    ]


def test_a_cycle_is_named_node_by_node(tmp_path: Path) -> None:
    found = found_in(
        tmp_path, "{id: a, uses: end, needs: [b]}", "{id: b, uses: end, needs: [c]}", "{id: c, uses: end, needs: [a]}"
    )
    assert found == ["9:3: steps wait for each other: a → c → b → a"]


def test_a_step_that_cannot_be_read_is_not_said_to_be_missing(tmp_path: Path) -> None:
    found = found_in(tmp_path, "{id: a, uses: end, when: never}", "{id: b, uses: end, needs: [a]}")
    assert len(found) == 1
    found = found_in(tmp_path, LOOK.replace("uses: look", "uses: lok"), MADE)
    assert len(found) == 1


class TestValues:
    @pytest.mark.parametrize(
        ("field", "problem"),
        [
            pytest.param("mdoe: fast", "step made: make has no field 'mdoe'; did you mean 'mode'?", id="field"),
            pytest.param("near_host: hub", "", id="python-spelling"),
            pytest.param("mode: fats", "mode should be 'fast' or 'slow', not 'fats'; did you mean 'fast'?", id="literal"),
            pytest.param("wait: 3 parsecs", "wait is wrong: '3 parsecs' is not a duration", id="duration"),
            pytest.param("wait: 4000000d", "wait should be less than or equal to 315360000", id="longer-than-ten-years"),
            pytest.param("wait: null", "wait is wrong: a duration is written as 90s, 30m, 12h or 1d", id="no-duration"),
            pytest.param("wait: true", "wait is wrong: a duration is written as", id="true-duration"),
            pytest.param("threads: 0", "threads should be greater than or equal to 1", id="bound"),
            pytest.param("threads: 1.5", "threads should be a whole number, not a number", id="float-for-int"),
            pytest.param("label: 12", "label should be text, and this is a number: put it in quotes", id="quote"),
            pytest.param("label: true", "label should be text, and this is true or false: put it in quotes", id="quote-bool"),
            pytest.param("label: null", "label should be text, not nothing", id="nothing"),
            pytest.param("names: a", "names should be a list, not text", id="list"),
            pytest.param("names: [a, 3]", "names[1] should be text, and this is a number", id="element"),
            pytest.param("options: {levle: 1}", "unknown key 'levle'; did you mean 'level'?", id="nested-key"),
            pytest.param("options: {level: '${{ look.pair[0] }}', levle: 1}", "unknown key 'levle'; did you mean", id="nested-key-beside-a-reference"),
            pytest.param("options: {level: x, log-file: '${{ look.thing.name }}'}", "options.level should be a whole number", id="beside-a-reference"),
            pytest.param("names: ['${{ look.thing.name }}', 3]", "names[1] should be text, and this is a number", id="element-beside-a-reference"),
            pytest.param("options: {level: '${{ look.pair[0] }}', log-file: x}", None, id="reference-in-a-mapping"),
            pytest.param("near-host: '${{ look.thing.name }}'", None, id="host-by-a-reference"),
            pytest.param("near-host: hbu", "near-host: there is no host named 'hbu'; did you mean 'hub'?", id="host"),
            pytest.param("store: man", "store: there is no entry of stores named 'man'; did you mean 'main'?", id="section"),
            pytest.param("store: '${{ vars.thing }}'", "3:15: step made: store: there is no entry of stores", id="variable"),
            pytest.param("threads: '${{ vars.thing }}'", "3:15: step made: threads should be a whole number", id="by-var"),
            pytest.param("threads: '${{ vars.threads }}'", None, id="typed-variable"),
            pytest.param("label: '${{ vars.threads }}'", "3:29: step made: label should be text, and this is", id="var-type"),
            pytest.param("label: 'x${{ vars.threads }}'", None, id="number-in-text"),
            pytest.param("label: 'x${{ vars.list }}'", "${{ vars.list }} is a list, which cannot stand inside a text", id="list-in-text"),
            pytest.param("label: '${{ vars.lst }}'", "unknown variable 'lst' in ${{ vars.lst }}; did you mean 'list'", id="var"),
            pytest.param("label: '${{ vars.thing.x }}'", "${{ vars.thing.x }}: vars.thing has no field 'x'", id="var-field"),
            pytest.param("label: '${{ vars.list[2] }}'", "vars.list has 2 elements", id="var-index"),
            pytest.param("names: '${{ vars.list }}'", None, id="list-variable"),
            pytest.param("names: ['${{ vars.thing }}', '${{ look.thing.name }}']", None, id="list-of-expressions"),
            pytest.param("names: ['${{ look.thing }}']", "names[0] takes text, and ${{ look.thing }} is Thing", id="in-list"),
            pytest.param("wait: '${{ look.thing.name }}'", None, id="text-for-a-duration"),
            pytest.param("wait: '${{ look.pair[0] }}'", None, id="number-for-a-duration"),
            pytest.param("wait: '${{ look.thing }}'", "wait takes duration, and ${{ look.thing }} is Thing", id="duration-type"),
            pytest.param("label: 'a ${{ b'", "an expression is not closed", id="open-expression"),
            pytest.param("label: '${{ f(x) }}'", "'${{ f(x) }}' is not an expression", id="call"),
        ],
    )  # fmt: skip
    def test_a_field(self, tmp_path: Path, field: str, problem: str | None) -> None:
        steps = make(field)
        if field.startswith("store:"):
            steps = (LOOK, steps[1].replace("store: main, ", ""))
        found = found_in(tmp_path, *steps)
        assert any(problem in each for each in found) if problem else not found, found

    def test_required_fields_are_named(self, tmp_path: Path) -> None:
        assert found_in(tmp_path, "{id: a, uses: look}", "{id: b, uses: go, with: {level: 1}}") == [
            "9:3: step a: store is missing",
            "9:3: step a: thing is missing",
            "10:27: step b: door is missing",
        ]

    def test_a_misspelt_field_is_not_also_missing(self, tmp_path: Path) -> None:
        found = found_in(tmp_path, "{id: a, uses: look, with: {store: main, thng: x}}")
        assert found == ["9:43: step a: look has no field 'thng'; did you mean 'thing'?"]


class TestReferences:
    @pytest.mark.parametrize(
        ("label", "problem"),
        [
            pytest.param("${{ look.thing.name }}", None, id="path"),
            pytest.param("${{ look.items[0].text }}", None, id="index"),
            pytest.param("${{ look.pair[1] }}", None, id="tuple-element"),
            pytest.param("${{ look.thing.tags.any }}", None, id="mapping"),
            pytest.param("${{ look.extra.what.ever[3] }}", None, id="open-value"),
            pytest.param("${{ run.id }}", None, id="run"),
            pytest.param("${{ look.thing }}", "label takes text, and ${{ look.thing }} is Thing", id="model-for-a-text"),
            pytest.param("${{ look.pair }}", "label takes text, and ${{ look.pair }} is list of", id="list-for-a-text"),
            pytest.param("${{ look.pair[0] }}", None, id="a-number-is-told-when-it-is-known"),
            pytest.param("${{ look.thing.note }}", None, id="may-be-nothing"),
            pytest.param("a${{ look.pair[0] }}", None, id="number-in-text"),
            pytest.param("${{ look.thng }}", "look has no field 'thng'; did you mean 'thing'?", id="unknown-field"),
            pytest.param("${{ look.thing.zzz }}", "look.thing has no field 'zzz'; it has name, note, tags", id="fields"),
            pytest.param("${{ look.pair[2] }}", "look.pair has no element [2]", id="past-a-tuple"),
            pytest.param("${{ look.thing[0] }}", "look.thing has no element [0]: it is Thing", id="index-of-a-model"),
            pytest.param("${{ look.items.text }}", "it is list of Item; it is one for each, so take an", id="field-of-a-list"),
            pytest.param("${{ look.thing.name.x }}", "look.thing.name has no field 'x': it is text", id="field-of-text"),
            pytest.param("${{ lok.thing }}", "there is no step or variable 'lok'; did you mean 'look'?", id="unknown-root"),
            pytest.param("${{ made.path }}", "step made refers to itself", id="itself"),
            pytest.param("${{ run.x }}", "of a run there are run.id and run.job", id="run-field"),
            pytest.param("${{ item.text }}", "there is no step or variable 'item'", id="variable-of-another-step"),
        ],
    )  # fmt: skip
    def test_a_text(self, tmp_path: Path, label: str, problem: str | None) -> None:
        found = found_in(tmp_path, *make(f'label: "{label}"'))
        assert any(problem in each for each in found) if problem else not found, found

    def test_siblings_pair_and_others_get_a_list(self, tmp_path: Path) -> None:
        assert found_in(tmp_path, LOOK, MADE, DOOR, GONE, '{id: all, uses: join, with: {all: "${{ gone }}"}}') == []

    def test_a_sibling_is_no_list(self, tmp_path: Path) -> None:
        join = f'{{id: all, uses: join, {EACH}, with: {{all: "${{{{ gone }}}}"}}}}'
        assert found_in(tmp_path, LOOK, MADE, DOOR, GONE, join)[0].endswith(
            "all takes list of Gone, and ${{ gone }} is Gone"
        )

    def test_a_list_is_no_sibling(self, tmp_path: Path) -> None:
        door = '{id: door, uses: open, with: {made: "${{ made }}"}}'
        assert found_in(tmp_path, LOOK, MADE, door) == [
            "11:39: made takes Made, and ${{ made }} is list of Made",
        ]
        assert found_in(tmp_path, LOOK, MADE, door.replace("{ made }", "{ made[0] }")) == []

    def test_another_name_of_the_variable_does_not_pair(self, tmp_path: Path) -> None:
        door = DOOR.replace("{item:", "{other:")
        assert "is list of Made" in found_in(tmp_path, LOOK, MADE, door)[0]

    def test_several_variables_pair_on_their_common_prefix(self, tmp_path: Path) -> None:
        two = 'each: {item: "${{ look.items }}", word: "${{ vars.list }}"}'
        made = MADE.replace(EACH, two)
        assert "is list of Made" in found_in(tmp_path, LOOK, made, DOOR)[0]
        assert found_in(tmp_path, LOOK, made, DOOR.replace(EACH, two)) == []
        assert found_in(tmp_path, LOOK, MADE, DOOR.replace(EACH, two)) == []

    def test_a_later_variable_may_use_an_earlier_one(self, tmp_path: Path) -> None:
        step = '{id: a, uses: end, each: {t: "${{ vars.things }}", x: "${{ t.key }}"}}'
        assert found_in(tmp_path, step) == []
        step = '{id: a, uses: end, each: {x: "${{ t.key }}", t: "${{ vars.things }}"}}'
        assert "there is no step or variable 't'" in found_in(tmp_path, step)[0]

    def test_the_elements_of_a_list_of_models_have_its_fields(self, tmp_path: Path) -> None:
        made = MADE.replace("store: main", 'store: main, label: "${{ item.txt }}"')
        assert found_in(tmp_path, LOOK, made) == [
            "10:109: ${{ item.txt }}: item has no field 'txt'; did you mean 'text'?"
        ]

    def test_each_sees_the_whole_list_of_a_fanned_out_step(self, tmp_path: Path) -> None:
        step = '{id: a, uses: end, each: {m: "${{ made[0].item.text }}"}}'
        assert "each takes a list, and ${{ made[0].item.text }} is text" in found_in(tmp_path, LOOK, MADE, step)[0]


class TestProcesses:
    @pytest.mark.parametrize(
        ("step", "problem"),
        [
            pytest.param(
                f'{{id: x, uses: go, {EACH}, with: {{door: "${{{{ made }}}}"}}}}',
                "${{ made }} is a value (make), and this field takes what a running step gives",
                id="live-from-a-value",
            ),
            pytest.param(
                f'{{id: x, uses: go, {EACH}, with: {{door: "a ${{{{ door }}}}"}}}}',
                "door takes what a running step gives: write its id as an expression",
                id="live-from-text",
            ),
            pytest.param(
                f'{{id: x, uses: go, {EACH}, with: {{door: "${{{{ item }}}}"}}}}',
                "${{ item }} is a value, and this field takes what a running step gives",
                id="live-from-a-variable",
            ),
            pytest.param(
                f'{{id: x, uses: go, {EACH}, with: {{door: "${{{{ lock }}}}"}}}}',
                "door takes Door, and ${{ lock }} is Locked",
                id="another-process",
            ),
            pytest.param(
                '{id: x, uses: go, with: {door: "${{ door }}"}}',
                "door takes Door, and ${{ door }} is list of Door",
                id="joined",
            ),
            pytest.param(
                f'{{id: x, uses: go, {EACH}, with: {{door: "${{{{ door }}}}", spare-door: "${{{{ door }}}}"}}}}',
                None,
                id="an-optional-one",
            ),
            pytest.param(
                '{id: x, uses: look, with: {store: main, thing: "${{ lock.path }}"}}',
                "${{ lock.path }} lives only as long as its process (lock): this field takes values",
                id="value-from-a-process",
            ),
            pytest.param(
                '{id: x, uses: end, each: {d: "${{ door }}"}}',
                "${{ door }} lives only as long as its process (open)",
                id="each-over-processes",
            ),
        ],
    )
    def test_live_fields_and_values_do_not_mix(self, tmp_path: Path, step: str, problem: str | None) -> None:
        lock = '{id: lock, uses: lock, with: {thing: "${{ look.thing }}"}}'
        found = found_in(tmp_path, LOOK, lock, MADE, DOOR, step)
        assert any(problem in each for each in found) if problem else not found, found
