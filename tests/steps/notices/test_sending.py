"""A service that is away, refuses or hangs costs no more than its time, and no secret."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.cli import main
from runner.hosts.secrets import FromEnv, FromFile
from steps.notices import sending
from steps.notices.sending import send
from steps.notices.wording import Notice
from tests.sink import PASSWORD, Sink, sink

NOTICE = Notice("title", "body", good=False)


@pytest.fixture
def service() -> Iterator[Sink]:
    with sink() as found:
        yield found


def test_a_notice_arrives_whole_and_says_what_it_is(service: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT", service.url)
    text = "größer – 3 < 5 & *stars*\nsecond line"
    assert [one.why_not for one in send(Notice("über", text, good=True), [FromEnv(env="CHAT")])] == [""]
    (told,) = service.notices
    assert (told["title"], told["message"], told["type"]) == ("über", text, "success")


def test_one_service_that_fails_keeps_no_other_from_being_told(
    service: Sink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(f"{service.url}\n")
    monkeypatch.setenv("AWAY", f"json://user:{PASSWORD}@127.0.0.1:1/")
    monkeypatch.setenv("WRONG", f"nosuch://user:{PASSWORD}@host/")
    refs = [FromEnv(env="AWAY"), FromEnv(env="WRONG"), FromEnv(env="UNSET"), FromFile(file=str(tmp_path / "url"))]
    why = {one.to: one.why_not for one in send(NOTICE, refs)}
    assert why["env AWAY"] == "the service could not be reached"
    assert why["env WRONG"].startswith("Apprise knows no service by that URL")
    assert "UNSET is not set" in why["env UNSET"]
    assert why[f"file {tmp_path}/url"] == "" and len(service.notices) == 1
    assert PASSWORD not in str(why)


def test_a_refusal_is_told_with_its_status(service: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    service.status = 500
    monkeypatch.setenv("CHAT", service.url)
    assert [one.why_not for one in send(NOTICE, [FromEnv(env="CHAT")])] == ["the service refused it with HTTP 500"]


def test_a_service_that_hangs_is_left_behind(service: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    service.hangs = True
    monkeypatch.setenv("CHAT", service.url)
    began = time.monotonic()
    (one,) = send(NOTICE, [FromEnv(env="CHAT")], timeout=2)
    assert one.why_not == "nothing was answered within 2 s"
    assert time.monotonic() - began < 20, "it waited for the service, not for the deadline"


def test_without_apprise_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, service: Sink) -> None:
    monkeypatch.setenv("CHAT", service.url)
    monkeypatch.setattr(sending, "_ARGV", (sys.executable, "-m", "tests.no_apprise"))
    with pytest.raises(Exception, match=r"sendense\[notify\]"):
        send(NOTICE, [FromEnv(env="CHAT")])


def test_the_test_command_tries_each_service_and_names_no_secret(
    service: Sink, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAT", service.url)
    monkeypatch.setenv("WRONG", f"nosuch://user:{PASSWORD}@host/")
    site = tmp_path / "site.yaml"
    site.write_text("version: 1\nnotify: {to: [{env: CHAT}, {env: WRONG}]}\n")
    with pytest.raises(SystemExit) as left:
        main(["notify", "--test", str(site), "--json"])
    out, err = capsys.readouterr()
    assert left.value.code == 1 and PASSWORD not in out + err
    told = json.loads(out)["notices"]
    assert [(one["to"], one["sent"]) for one in told] == [("env CHAT", True), ("env WRONG", False)]
    assert service.titles == ["sendense: test of site.yaml"]


def test_a_site_that_tells_nobody_is_bad_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site.yaml"
    site.write_text("version: 1\n")
    with pytest.raises(SystemExit) as left:
        main(["notify", "--test", str(site)])
    assert left.value.code == 2 and "has no `notify:`" in capsys.readouterr().err
