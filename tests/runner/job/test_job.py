"""Job files: what is read, merged and resolved, and that each mistake is one sentence at its place."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from runner.base.errors import JobFileError
from runner.hosts.spec import SshSpec
from runner.job.load import load
from runner.job.model import StateSpec
from runner.job.writer import write_out
from runner.step.registry import Registry
from tests.runner.job_language import HEAD, JOB, REGISTRY, STEPS, Ca, Store, loaded, problems, write


def test_a_job_is_read(tmp_path: Path) -> None:
    job = loaded(tmp_path, JOB)
    assert job.name == "test"
    assert job.hosts == {"local": "local", "hub": SshSpec(ssh="user@hub.example.com")}
    assert job.sections["stores"]["main"] == Store(path="/srv", host="hub")
    assert [step.id for step in job.steps] == ["look", "lock", "made", "door", "gone", "all", "end"]
    made = job.steps[2]
    assert (made.uses, made.each) == ("make", (("item", "${{ look.items }}"),))
    assert made.with_ == {"item": "${{ item }}", "store": "main"}
    assert (made.location.line, made.location.column) == (11, 5)
    end = job.steps[6]
    assert (end.needs, end.when, end.retries) == (("all",), "always", 0)


def test_the_name_is_resolved(tmp_path: Path) -> None:
    assert loaded(tmp_path, JOB.replace("name: test", "name: ${{ vars.thing }}-x")).name == "one-x"


def test_spaces_in_an_expression_make_no_difference_to_pairing(tmp_path: Path) -> None:
    text = JOB.replace('uses: open, each: {item: "${{ look.items }}"}', 'uses: open, each: {item: "${{look.items}}"}')
    assert loaded(tmp_path, text).steps[3].each == (("item", "${{ look.items }}"),)


def test_the_digest_is_of_all_files(tmp_path: Path) -> None:
    write(tmp_path, "vars: {other: 1}", "site.yaml")
    text = "include: site.yaml\n" + JOB
    first = loaded(tmp_path, text).digest
    assert loaded(tmp_path, text).digest == first
    write(tmp_path, "vars: {other: 2}", "site.yaml")
    assert loaded(tmp_path, text).digest != first


def test_each_file_has_a_digest_that_sha256sum_gives_too(tmp_path: Path) -> None:
    write(tmp_path, "vars: {other: 1}", "site.yaml")
    job = loaded(tmp_path, "include: site.yaml\n" + JOB)
    assert len(job.digests) == 2
    for file, digest in job.digests.items():
        assert digest == hashlib.sha256(Path(file).read_bytes()).hexdigest()


class TestYaml:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            pytest.param("no", "no", id="norway"),
            pytest.param("on", "on", id="on"),
            pytest.param("007", "007", id="leading-zeros"),
            pytest.param("12:30", "12:30", id="sexagesimal"),
            pytest.param("2026-11-23", "2026-11-23", id="date"),
            pytest.param("1_000", "1_000", id="underscores"),
            pytest.param("0x10", "0x10", id="hexadecimal"),
            pytest.param(".inf", ".inf", id="infinity"),
            pytest.param("9" * 400, "9" * 400, id="a-number-too-long"),
            pytest.param("1e999", "1e999", id="a-float-too-large"),
            pytest.param("=", "=", id="value-key"),
            pytest.param("true", True, id="true"),
            pytest.param("~", None, id="null"),
            pytest.param("-3", -3, id="integer"),
            pytest.param("1e3", 1000.0, id="float"),
            pytest.param("'12'", "12", id="quoted"),
            pytest.param("[1, {a: null}]", [1, {"a": None}], id="nested"),
        ],
    )
    def test_scalars_are_read_as_yaml_1_2_does(self, tmp_path: Path, text: str, value: object) -> None:
        job = loaded(tmp_path, JOB.replace("vars: {", f"vars: {{x: {text}, "))
        assert job.vars["x"] == value
        assert type(job.vars["x"]) is type(value)

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            pytest.param("", "1:1: the file is empty", id="empty"),
            pytest.param("# nothing\n", "1:1: the file is empty", id="comments-only"),
            pytest.param("- a", "1:1: a job file is a mapping (version: 1, name: …, steps: …), not a list", id="list"),
            pytest.param("hello", "1:1: a job file is a mapping (version: 1, name: …, steps: …), not text", id="text"),
            pytest.param("a: 1\n---\nb: 2", "2:1: a second document starts here", id="two-documents"),
            pytest.param("vars:\n\ta: 1", "2:1: not YAML: a tab cannot indent YAML: use spaces", id="tab"),
            pytest.param("vars: {a: [1}", "1:13: not YAML: did not find expected ',' or ']'", id="wrong-bracket"),
            pytest.param("name: a: b", "1:8: not YAML: unexpected ':' here", id="colon"),
            pytest.param("name: @a", "1:7: not YAML: a text that starts with '@' needs quotes", id="at-sign"),
            pytest.param("vars: {a: ${{ b }}}", 'needs quotes: "${{ … }}"', id="expression-in-flow"),
            pytest.param("name: a\nname: b", "2:1: the key 'name' is given twice, first in line 1", id="duplicate-key"),
            pytest.param("vars: {a: {b: 1, b: 2}}", "1:18: the key 'b' is given twice", id="duplicate-key-below"),
            pytest.param("name: !!python/object:os.system x", "1:7: the tag 'tag:yaml.org,2002:python/", id="tag"),
            pytest.param("name: !x y", "1:7: the tag '!x' is refused", id="own-tag"),
            pytest.param("vars: &a [*a]", "1:11: the alias '*a' is inside the value it stands for", id="in-itself"),
            pytest.param("vars: *a", "1:7: the alias '*a' has no anchor before it", id="no-anchor"),
            pytest.param("? [a]\n: b", "1:3: a key must be text, not a list", id="complex-key"),
            pytest.param("vars: {<<: 3}", "1:12: '<<' takes a mapping or a list of mappings", id="merge-of-a-number"),
            pytest.param('name: "a\\0b"', "1:7: a NUL character cannot be part of a text here", id="nul-escape"),
            pytest.param("name: a\x07", "1:8: the character U+0007 cannot stand in YAML", id="control-character"),
            pytest.param("name: " + "[" * 3000, "nested deeper than 40 levels", id="deep-flow"),
            pytest.param("- " * 3000, "nested deeper than 40 levels", id="deep-block"),
            pytest.param(b"name: \xff\xfe", "1:7: not UTF-8 text: save the file as UTF-8", id="not-utf-8"),
            pytest.param("name: a".encode("utf-16"), "1:1: not UTF-8 text", id="utf-16"),
            pytest.param(b"\x7fELF\x02\x01\x01", "1:1: the character U+007F cannot stand in YAML", id="binary"),
            pytest.param("x: " + "a" * (4 << 20), "larger than 4 MiB", id="too-large"),
        ],
    )
    def test_what_is_no_job_at_all_is_refused_in_a_sentence(
        self, tmp_path: Path, text: str | bytes, problem: str
    ) -> None:
        found = problems(tmp_path, text)
        assert problem in found[0]

    def test_a_billion_laughs_are_counted_before_they_are_expanded(self, tmp_path: Path) -> None:
        lines = ["vars:", "  a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
        (found,) = problems(tmp_path, "\n".join(lines))
        assert "more than 200000 values" in found

    def test_anchors_and_merge_keys_work(self, tmp_path: Path) -> None:
        text = JOB.replace(
            "stores:\n  main: {path: /srv, host: hub}",
            "stores:\n  main: &main {path: /srv, host: hub}\n  second: {<<: *main, path: /other}",
        )
        assert loaded(tmp_path, text).sections["stores"]["second"] == Store(path="/other", host="hub")

    def test_a_byte_order_mark_is_fine(self, tmp_path: Path) -> None:
        assert loaded(tmp_path, b"\xef\xbb\xbf" + JOB.encode()).name == "test"

    @pytest.mark.parametrize(
        ("make", "problem"),
        [
            pytest.param(lambda path: None, "cannot be read: No such file or directory", id="absent"),
            pytest.param(lambda path: path.mkdir(), "cannot be read: ", id="directory"),
            pytest.param(lambda path: os.mkfifo(path), "cannot be read: not a regular file", id="pipe"),
            pytest.param(lambda path: path.symlink_to(path), "cannot be read: ", id="link-to-itself"),
        ],
    )
    def test_a_path_that_is_no_file(self, tmp_path: Path, make: object, problem: str) -> None:
        path = tmp_path / "job.yaml"
        make(path)  # type: ignore[operator]
        with pytest.raises(JobFileError, match=problem):
            load(path, REGISTRY, {})

    def test_a_path_that_no_record_could_tell(self, tmp_path: Path) -> None:
        odd = tmp_path / os.fsdecode(b"Z\xfcrich")
        odd.mkdir()
        with pytest.raises(JobFileError, match="its path is not UTF-8 text"):
            load(write(odd, JOB), REGISTRY, {})


class TestTopLevel:
    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            pytest.param("version: 1", "version: 2", "1:10: this program reads job files of version 1", id="version"),
            pytest.param("version: 1", "version: true", "1:10: this program reads", id="version-true"),
            pytest.param("name: test", "nme: test", "2:1: unknown key 'nme'; did you mean 'name'?", id="unknown-key"),
            pytest.param("stores:", "store:", "6:1: unknown key 'store'; did you mean 'stores'?", id="unknown-section"),
            pytest.param(
                "name: test", "name: 2024", "2:7: name should be text, not a number: put it in quotes", id="name"
            ),
            pytest.param("name: test", "name: ''", "2:7: a name is text of 1 to 200 characters", id="empty-name"),
            pytest.param("name: test", "name: ${{ vars.thin }}", "2:7: unknown variable 'thin'", id="name-variable"),
            pytest.param(
                "name: test", "name: ${{ look.x }}", "only variables (${{ vars.… }}) can stand in", id="name-step"
            ),
            pytest.param("name: test", "name: ${{ vars }}", "2:7: ${{ vars }}: name a variable", id="name-all-vars"),
            pytest.param(
                "name: test", "name: ${{ vars.list.x }}", "2:7: ${{ vars.list.x }}: vars.list has no", id="path"
            ),
            pytest.param(
                "name: test", "name: a ${{ vars.list }}", "which cannot stand inside a text", id="list-in-name"
            ),
            pytest.param("name: test\n", "", "1:1: name is missing", id="no-name"),
            pytest.param("vars: {", "vars: {x y: 1, ", "'x y' cannot be used in ${{ vars.… }}", id="variable-name"),
            pytest.param(
                "{thing: one", "{thing: '${{ vars.x }}'", "3:15: vars.thing has an expression", id="expression"
            ),
            pytest.param(
                "hosts:\n  hub", "hosts:\n - hub", "5:2: hosts should be a mapping of names, not a list", id="list"
            ),
            pytest.param(
                "{ssh: user@hub.example.com}", "{shs: x}", "5:9: hosts.hub: unknown key 'shs'; did", id="host-key"
            ),
            pytest.param(
                "{ssh: user@hub.example.com}", "locl", "5:8: hosts.hub: should be local or {ssh: …}", id="host"
            ),
            pytest.param("{ssh: user@hub.example.com}", "{}", "5:8: hosts.hub: ssh is missing", id="host-without-ssh"),
            pytest.param(
                "{ssh: user@hub.example.com}", "", "5:7: hosts.hub: should be local or {ssh: …}, not n", id="null"
            ),
            pytest.param("hub:", "local:", "5:3: the host 'local' is the machine sendense runs on", id="local"),
            pytest.param("user@hub.example.com", "-oProxyCommand=x", "ssh is wrong: write user@server", id="validator"),
            pytest.param(
                "host: hub", "host: hbu", "7:28: stores.main: host: there is no host named 'hbu'; did", id="ref"
            ),
            pytest.param(
                "host: hub", "host: '${{ vars.thing }}'", "3:15: stores.main: host: there is no host", id="at-var"
            ),
            pytest.param(
                "host: hub", "host: '${{ look.x }}'", "can stand in hosts, state and sections", id="step-in-host"
            ),
            pytest.param(
                "host: hub", "password: hunter2", "password should be {env: …}, {file: …} or {exec: …}", id="secret"
            ),
            pytest.param(
                "host: hub", "password: {exec: []}", "password.exec should have at least 1 item", id="no-command"
            ),
            pytest.param("host: hub", "password: {evn: X}", "{exec: …}; did you mean 'env'?", id="secret-key"),
            pytest.param("host: hub", "tls: {ca: 3}", "tls.ca should be text, and this is a number", id="union-member"),
            pytest.param("steps:", "stepz:", "unknown key 'stepz'; did you mean 'steps'?", id="steps-misspelt"),
            pytest.param(STEPS, "", "1:1: steps are missing: write steps, or a template", id="no-steps"),
            pytest.param(STEPS, "steps: []", "8:8: a job needs at least one step", id="empty-steps"),
            pytest.param(
                STEPS, "steps: {a: b}", "8:8: steps should be a list (- id: …), not a mapping", id="steps-mapping"
            ),
            pytest.param(
                STEPS, "steps: [a]", "8:9: a step should be a mapping (id: …, uses: …), not text", id="step-text"
            ),
            pytest.param(
                "name: test",
                "template: bakup",
                "should be one of backup, copy, drill, prune, restore, restore-vm, rollback, verify; did you mean 'backup'?",
                id="template",
            ),
        ],
    )
    def test_mistakes(self, tmp_path: Path, old: str, new: str, problem: str) -> None:
        assert old in JOB
        found = problems(tmp_path, JOB.replace(old, new, 1))
        assert any(problem in each for each in found), found

    def test_a_part_that_jobs_include_is_told_from_a_job(self, tmp_path: Path) -> None:
        (found,) = problems(tmp_path, JOB.replace("name: test\n", "").replace(STEPS, ""))
        assert "this is a part that jobs include, not a job" in found

    def test_a_mistaken_secret_is_not_repeated(self, tmp_path: Path) -> None:
        text = JOB.replace("host: hub", "password: hunter2", 1)
        assert "hunter2" not in "".join(problems(tmp_path, text))
        text = JOB.replace("host: hub", "password: {exec: hunter2}", 1)
        assert "hunter2" not in "".join(problems(tmp_path, text))

    def test_what_a_sentence_quotes_cannot_rule_a_terminal(self, tmp_path: Path) -> None:
        (found,) = problems(tmp_path, '"a\\e[31m\\nb": 1\n' + JOB)
        assert found.startswith("1:1: unknown key 'a [31m b'")

    def test_all_mistakes_are_told_at_once_in_file_order(self, tmp_path: Path) -> None:
        write(tmp_path, "hosts: {hub: {ssh: 3}}\nstores: {main: {pth: /srv}}", "site.yaml")
        found = problems(
            tmp_path,
            "include: site.yaml\nname: 3\nvars: {a: 1}\nsteps:\n- {id: look, uses: lok}\n- {id: l, uses: end, nedds: [x]}",
        )
        assert [each.split(": ")[0] for each in found] == [
            "2:7", "5:20", "6:22", "site.yaml:1:20", "site.yaml:2:17",
        ]  # fmt: skip

    def test_empty_sections_are_fine(self, tmp_path: Path) -> None:
        text = HEAD + "steps:\n- id: end\n  uses: end\n  with:\n  each:\n  needs:\n"
        assert loaded(tmp_path, text.replace("hosts:\n  hub", "hosts:\n#  hub").replace(", host: hub", "")).steps[0].id


class TestIncludes:
    def test_own_keys_win_entry_by_entry_and_later_includes_over_earlier(self, tmp_path: Path) -> None:
        write(tmp_path, "vars: {a: 1, b: 1, c: 1}\nhosts: {x: local}\nname: one", "one.yaml")
        write(tmp_path, "vars: {b: 2, c: 2}\nname: two", "two.yaml")
        job = loaded(tmp_path, "include: [one.yaml, two.yaml]\nvars: {c: 3}\nsteps: [{id: end, uses: end}]")
        assert job.vars == {"a": 1, "b": 2, "c": 3}
        assert job.name == "two"
        assert "x" in job.hosts

    def test_paths_are_relative_to_the_file_they_stand_in(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shared" / "deep").mkdir(parents=True)
        write(tmp_path / "shared", "include: deep/more.yaml\nhosts: {h: {ssh: x, known-hosts: kh}}", "site.yaml")
        write(tmp_path / "shared" / "deep", "stores: {s: {path: /x, tls: {ca: ../ca.pem}}}", "more.yaml")
        text = (
            "include: shared/site.yaml\nname: a\nvars: {f: own/file}\nstate: {path: state}\n"
            "stores: {o: {path: rel, password: {file: ~/secret}}}\nsteps:\n"
            "- {id: look, uses: look, with: {store: o, thing: x}}\n"
            "- {id: made, uses: make, each: {item: '${{ look.items }}'}, with: {item: '${{ item }}', store: o, "
            "file: '${{ vars.f }}', options: {log-file: log}}}"
        )
        monkeypatch.setenv("HOME", "/home/somebody")
        job = loaded(tmp_path, text)
        host = job.hosts["h"]
        assert isinstance(host, SshSpec)
        assert host.known_hosts == str(tmp_path / "shared" / "kh")
        shared, own = job.sections["stores"]["s"], job.sections["stores"]["o"]
        assert isinstance(shared, Store)
        assert shared.tls == Ca(ca=str(tmp_path / "shared" / "ca.pem"))
        assert own.to_json_value()["password"] == {"file": "/home/somebody/secret"}
        assert own.to_json_value()["path"] == "rel"
        assert job.state == StateSpec(path=str(tmp_path / "state"))
        assert job.steps[1].with_["file"] == str(tmp_path / "own" / "file")
        assert job.steps[1].with_["options"] == {"log-file": str(tmp_path / "log")}

    def test_one_file_included_twice_is_read_once(self, tmp_path: Path) -> None:
        write(tmp_path, STEPS, "steps.yaml")
        write(tmp_path, "include: steps.yaml", "one.yaml")
        job = loaded(tmp_path, "include: [one.yaml, steps.yaml]\n" + HEAD)
        assert len(job.steps) == 7

    @pytest.mark.parametrize(
        ("files", "problem"),
        [
            pytest.param({"job.yaml": "include: 3"}, "1:10: include should be a path or a list of paths", id="number"),
            pytest.param({"job.yaml": "include: [{a: b}]"}, "1:11: include should be a path or a list", id="mapping"),
            pytest.param({"job.yaml": "include: no.yaml"}, "1:10: no.yaml cannot be read: No such file", id="absent"),
            pytest.param({"job.yaml": "include: ${{ vars.x }}"}, "1:10: unknown variable 'x'", id="expression"),
            pytest.param(
                {"job.yaml": "include: job.yaml"}, "1:10: includes go round: job.yaml → job.yaml", id="itself"
            ),
            pytest.param(
                {"job.yaml": "include: a.yaml", "a.yaml": "name: x\ninclude: job.yaml"},
                "a.yaml:2:10: includes go round: job.yaml → a.yaml → job.yaml",
                id="round",
            ),
            pytest.param(
                {"job.yaml": "include: a.yaml\n" + JOB, "a.yaml": "vars: {}\n" + STEPS},
                "9:1: `steps` stands in a.yaml:2 too: a job has them in one place",
                id="steps-in-two",
            ),
            pytest.param(
                {"job.yaml": "include: a.yaml\n" + JOB, "a.yaml": "x: 1"}, "a.yaml:1:1: unknown key", id="key"
            ),
            pytest.param(
                {"job.yaml": "include: a.yaml\n" + JOB, "a.yaml": "vars: ["}, "a.yaml:2:1: not YAML", id="bad"
            ),
        ],
    )
    def test_mistakes(self, tmp_path: Path, files: dict[str, str], problem: str) -> None:
        for name, text in files.items():
            write(tmp_path, text, name)
        found = problems(tmp_path, files["job.yaml"])
        assert any(problem in each for each in found), found

    def test_a_path_may_have_variables_of_its_own_file_and_of_set(self, tmp_path: Path) -> None:
        (tmp_path / "lab").mkdir()
        write(tmp_path / "lab", "hosts: {x: local}", "site.yaml")
        text = "vars: {dir: nowhere}\ninclude: ${{ vars.dir }}/site.yaml\nname: a\nsteps: [{id: end, uses: end}]"
        assert "x" in loaded(tmp_path, text, {"dir": "lab"}).hosts
        (found,) = problems(tmp_path, text)
        assert found == "2:10: nowhere/site.yaml cannot be read: No such file or directory"

        (found,) = problems(tmp_path, text.replace("dir: nowhere", "dir: null").replace("}}/site.yaml", "}}"))
        assert found == "2:10: ${{ vars.dir }} is not the path of a file to include: set it to text"

    def test_a_long_chain_is_refused(self, tmp_path: Path) -> None:
        for number in range(30):
            write(tmp_path, f"include: f{number + 1}.yaml", f"f{number}.yaml")
        (found,) = problems(tmp_path, "include: f0.yaml\n" + JOB)
        assert "more than 20 files include each other" in found


class TestState:
    @pytest.mark.parametrize(
        ("state", "problem"),
        [
            pytest.param(
                "{host: hbu, path: /x}", "state: host: there is no host named 'hbu'; did you mean 'hub'?", id="host"
            ),
            pytest.param("{host: hub, path: x}", "state: path is on the host hub: make it absolute", id="relative"),
            pytest.param("/x", "state: should be {path: …} or {in: …}, not text", id="text"),
            pytest.param("{host: hub}", "state: path is missing", id="no-path"),
            pytest.param(
                "{in: stores.mian}", "there is no 'stores.mian'; did you mean 'stores.main'?", id="in-unknown"
            ),
            pytest.param("{in: stores.main}", "stores.main has no place for records of runs", id="in-no-place"),
            pytest.param("{in: stores.main, path: /x}", "state: ", id="both"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, state: str, problem: str) -> None:
        (found,) = problems(tmp_path, f"state: {state}\n" + JOB)
        assert problem in found


class TestSet:
    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            pytest.param("threads", "8", 8, id="number"),
            pytest.param("threads", "true", True, id="another-type"),
            pytest.param("thing", "2024", "2024", id="text-stays-text"),
            pytest.param("thing", "a: [b", "a: [b", id="any-text"),
            pytest.param("threads", '"8"', "8", id="quoted"),
            pytest.param("threads", "it's", "it's", id="a-quote-inside"),
            pytest.param("list", "", None, id="empty"),
        ],
    )
    def test_a_variable_is_set(self, tmp_path: Path, name: str, text: str, value: object) -> None:
        steps = "steps: [{id: end, uses: end}]"
        assert loaded(tmp_path, HEAD + steps, {name: text}).vars[name] == value

    @pytest.mark.parametrize(
        ("overrides", "problem"),
        [
            pytest.param({"thread": "1"}, "--set thread: the job has no variable 'thread'; did you mean", id="unknown"),
            pytest.param({"thing": "${{ run.id }}"}, "--set thing: an expression cannot be the value", id="expression"),
            pytest.param({"thing": "\udcff"}, "--set thing: not UTF-8 text", id="not-utf-8"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, overrides: dict[str, str], problem: str) -> None:
        (found,) = problems(tmp_path, JOB, overrides)
        assert problem in found

    def test_a_value_that_does_not_fit_is_told_where_it_was_set(self, tmp_path: Path) -> None:
        text = JOB.replace(
            "store: main}}\n  - {id: door", 'store: main, threads: "${{ vars.threads }}"}}\n  - {id: door'
        )
        assert problems(tmp_path, text) == []
        (found,) = problems(tmp_path, text, {"threads": "many"})
        assert found == "--set threads: step made: threads should be a whole number, not text"


class TestTemplate:
    SITE = (
        "hosts: {hub: {ssh: b@hub}}\n"
        "vcenters: {prod: {server: v, username: u, password: {env: P}, tls: {ca: ca.pem}}}\n"
        "repositories: {main: {host: hub, path: /backup}}\n"
    )
    TEN = "version: 1\ninclude: site.yaml\ntemplate: backup\nvars:\n  vm: 'pg: \"1\"'\n  vcenter: prod\n  repository: main\n"

    def lines(self, tmp_path: Path, text: str, overrides: dict[str, str] | None = None) -> list[str]:
        write(tmp_path, self.SITE, "site.yaml")
        path = write(tmp_path, text)
        try:
            load(path, Registry.installed(), overrides or {})
        except JobFileError as error:
            return [str(problem).replace(f"{tmp_path}/", "") for problem in error.problems]
        return []

    def test_a_ten_line_job_is_the_standard_backup(self, tmp_path: Path) -> None:
        write(tmp_path, self.SITE, "site.yaml")
        job = load(write(tmp_path, self.TEN), Registry.installed(), {"connections": "2"})
        assert job.name == 'pg: "1"-backup'
        assert job.vars["vm"] == 'pg: "1"'
        assert job.vars["connections"] == 2
        assert [step.id for step in job.steps][:5] == ["discover", "reserve", "snapshot", "parent", "image"]

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            pytest.param("  vm:", "  #", "job.yaml:3:11: the template 'backup' needs the variable vm: set", id="missing"),
            pytest.param("  vcenter: prod\n  rep", "  #", "needs the variables vcenter, repository", id="two-missing"),
            pytest.param(
                "'pg: \"1\"'",
                '"web\\e[31m"',
                "job.yaml:5:7: vars.vm stands in the job's name, which is text of 1 to 200 characters, without line breaks",
                id="control-character",
            ),
            pytest.param("'pg: \"1\"'", "v" * 201, "job.yaml:5:7: vars.vm stands in the job's name", id="too-long"),
            pytest.param("vcenter: prod", "vcenter: prdo", "job.yaml:6:12: step discover: vcenter: there is no entry of "
                         "vcenters named 'prdo'; did you mean 'prod'?", id="name"),
            pytest.param("main\n", "main\n  hld: 1h\n", "job.yaml:8:3: the template 'backup' has no variable 'hld'; did "
                         "you mean 'hold'?", id="misspelt"),
            pytest.param("main\n", "main\n  hold: 1 parsec\n", "job.yaml:8:9: vars.hold is wrong", id="value"),
            pytest.param("main\n", "main\nsteps: [{id: a, uses: cleanup}]\n", "job.yaml:8:1: `steps` stands in template "
                         "backup:", id="steps-too"),
        ],
    )  # fmt: skip
    def test_mistakes_are_told_where_they_are_mended(self, tmp_path: Path, old: str, new: str, problem: str) -> None:
        assert old in self.TEN
        found = self.lines(tmp_path, self.TEN.replace(old, new))
        assert any(problem in each for each in found), found

    def test_misspelt_variables_are_named_though_others_are_missing(self, tmp_path: Path) -> None:
        missing, *misspelt = self.lines(tmp_path, self.TEN.replace("vcenter: prod", "vcentre: prod\n  transprt: https"))
        assert missing == "job.yaml:3:11: the template 'backup' needs the variable vcenter: set in vars"
        assert misspelt == [
            "job.yaml:6:3: the template 'backup' has no variable 'vcentre'; did you mean 'vcenter'?",
            "job.yaml:7:3: the template 'backup' has no variable 'transprt'; did you mean 'transport'?",
        ]

    def test_a_value_that_several_steps_use_is_one_mistake(self, tmp_path: Path) -> None:
        (found,) = [line for line in self.lines(tmp_path, self.TEN.replace(": main", ": mian")) if "job.yaml" in line]
        assert found == (
            "job.yaml:7:15: steps discover, reserve, parent and image: repository: there is no entry of repositories named 'mian'; "
            "did you mean 'main'?"
        )

    def test_variables_of_an_include_or_of_the_own_sections_need_not_be_the_templates(self, tmp_path: Path) -> None:
        text = self.TEN.replace("site.yaml", "[site.yaml, more.yaml]") + (
            "  dir: /other\nrepositories: {other: {host: hub, path: '${{ vars.dir }}'}}\n"
        )
        write(tmp_path, "vars: {unused: 1}", "more.yaml")
        assert self.lines(tmp_path, text) == []

    def test_a_mistyped_override_is_refused(self, tmp_path: Path) -> None:
        assert self.lines(tmp_path, self.TEN, {"conections": "1"}) == [
            "--set conections: the job has no variable 'conections'; did you mean 'connections'?"
        ]


def test_a_job_written_out_is_the_same_job(tmp_path: Path) -> None:
    job = loaded(
        tmp_path,
        JOB.replace("vars: {", "vars: {odd: '0o14', e: '1e3', no: no, multi: \"a\\nb: c\", n: null, ").replace(
            "{path: /srv, host: hub}", "{path: /srv, host: hub, password: {env: X}, tls: {ca: ca.pem}}"
        )
        + "state: {host: hub, path: /state}\n",
    )
    (tmp_path / "elsewhere").mkdir()
    again = loaded(tmp_path / "elsewhere", write_out(job))
    assert (again.name, again.vars, again.hosts, again.sections, again.state) == (
        job.name, job.vars, job.hosts, job.sections, job.state,
    )  # fmt: skip
    strip = [(s.id, s.uses, s.with_, s.each, s.needs, s.when, s.retries) for s in job.steps]
    assert [(s.id, s.uses, s.with_, s.each, s.needs, s.when, s.retries) for s in again.steps] == strip


def test_a_job_of_two_thousand_steps_is_checked_in_a_moment(tmp_path: Path) -> None:
    each = 'each: {item: "${{ look.items }}"}'
    lines = ["- {id: look, uses: look, with: {store: main, thing: x}}"]
    for number in range(667):
        lines += [
            f'- {{id: made{number}, uses: make, {each}, with: {{item: "${{{{ item }}}}", store: main, threads: 2}}}}',
            f'- {{id: door{number}, uses: open, {each}, with: {{made: "${{{{ made{number} }}}}"}}}}',
            f'- {{id: gone{number}, uses: go, {each}, with: {{door: "${{{{ door{number} }}}}"}}}}',
        ]
    text = HEAD + "steps:\n" + "\n".join(lines)
    begun = time.process_time()
    assert len(loaded(tmp_path, text).steps) == 2002
    # Half a second of processor time on the machine it was written on.
    assert time.process_time() - begun < 3
