"""Tags over vCenter's REST interface: found, never taken for absent, and its session always ended."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from runner.base.errors import Interrupted
from steps.vsphere import rest, tags
from steps.vsphere.client import Client
from steps.vsphere.errors import LoginRefused, NotTrusted, PermissionMissing, Unreachable, VSphereError
from steps.vsphere.tags import AmbiguousTag, tagged
from tests.vcenter import Lab, Starts, machine, vcenters

start_vcenter = vcenters


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rest, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(rest, "LONGEST_PAUSE", 0.001)


@pytest.fixture
def start(start_vcenter: Starts) -> Starts:
    def started(**more: Any) -> Lab:
        return start_vcenter(
            machine("a", tags=["backup/gold", "site/north"]),
            machine("b", tags=["backup/silver", "tier/gold"]),
            machine("c", folder="prod"),
            **{"tags": ["backup/none", "odd/a/b", "back/up/x"], **more},
        )

    return started


def names(lab: Lab, wanted: str) -> set[str]:
    found = tagged(lab.client, {wanted}).machines[wanted]
    assert not lab.simulator.rest.tokens, "a session was left"
    return {lab.simulator._machine(moref).name for moref in found}


@pytest.mark.parametrize("which", ["both", "api", "rest", "session-only"])
def test_a_vm_is_found_by_its_tag_over_whichever_interface_there_is(start: Starts, which: str) -> None:
    lab = start(rest=which)
    assert names(lab, "backup/gold") == {"a"}
    assert names(lab, "backup/none") == set()
    used = {word.split()[1] for word in lab.simulator.calls if " /" in word and "GET" in word}
    assert ("/rest" in used) == (which in ("rest", "session-only"))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param("BACKUP/Gold", {"a"}, id="of-any-case"),
        pytest.param("silver", {"b"}, id="name-alone"),
        pytest.param("backup/*", {"a", "b"}, id="glob"),
        pytest.param("*/gold", {"a", "b"}, id="glob-of-categories"),
        pytest.param("backup/platinum", set(), id="a-tag-that-nobody-made"),
        pytest.param("nope/gold", set(), id="a-category-that-nobody-made"),
        pytest.param("odd/a/b", set(), id="slash-in-a-tag"),
    ],
)
def test_a_tag_is_meant_by(start: Starts, wanted: str, found: set[str]) -> None:
    assert names(start(), wanted) == found


def test_a_name_that_two_categories_have_is_refused_with_both(start: Starts) -> None:
    lab = start()
    with pytest.raises(AmbiguousTag, match="tag gold is in 2 categories: write backup/gold or tier/gold"):
        tagged(lab.client, {"gold"})
    assert not lab.simulator.rest.tokens


def test_a_tag_of_a_folder_is_not_its_vms(start: Starts) -> None:
    assert names(start(tagged={"DC1/vm/prod": ["backup/gold"]}), "backup/gold") == {"a"}


def test_only_the_category_that_a_rule_names_is_looked_through(start: Starts) -> None:
    lab = start()
    tagged(lab.client, {"backup/gold"})
    categories, of_it = 5, 3
    assert lab.simulator.calls["GET /api"] == 1 + 1 + categories + of_it
    assert lab.simulator.calls["POST /api"] == 1 + 1 + 1  # login, tags of the category, what they are on


def test_names_that_were_seen_are_handed_back_for_close_ones(start: Starts) -> None:
    assert tagged(start().client, {"backup/gld"}).names == ("backup/gold", "backup/none", "backup/silver")


def test_without_a_tag_nothing_is_asked(start: Starts) -> None:
    lab = start()
    assert tagged(lab.client, ()).machines == {}
    assert not [word for word in lab.simulator.calls if "/api" in word]


def test_a_tag_that_a_batch_leaves_out_is_asked_alone(start: Starts) -> None:
    lab = start()
    lab.simulator.fault("rest-partial")
    assert names(lab, "backup/gold") == {"a"}
    assert not lab.simulator.armed


def test_thousands_of_tags_go_in_batches(start: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tags, "BATCH", 2)
    lab = start()
    assert names(lab, "backup/*") == {"a", "b"}
    assert lab.simulator.calls["POST /api"] == 1 + 1 + 2


@pytest.mark.parametrize(("status", "count"), [(429, 3), (503, 2)])
def test_a_request_that_is_put_off_is_made_again(start: Starts, status: int, count: int) -> None:
    lab = start()
    lab.simulator.fault("rest-busy", count=count, status=status)
    assert names(lab, "backup/gold") == {"a"}


def test_a_vcenter_that_puts_off_for_ever_is_told_with_its_words(start: Starts) -> None:
    lab = start()
    lab.simulator.fault("rest-busy", count=1000, status=429)
    with pytest.raises(Unreachable, match=r"high request rate.*6 times: it has too many requests or sessions"):
        tagged(lab.client, {"backup/gold"})
    assert 1000 - lab.simulator.armed["rest-busy"] <= rest.ATTEMPTS + 1


def test_a_user_with_all_sessions_taken_is_told_which_are_too_many(start: Starts) -> None:
    lab = start()
    lab.simulator.rest.limit = 0
    with pytest.raises(Unreachable, match="User session count is limited to 0"):
        tagged(lab.client, {"backup/gold"})


def test_a_refused_login_is_tried_once_and_says_which_right_it_takes(start: Starts) -> None:
    lab = start()
    lab.simulator.fault("rest-login", count=1000)
    with pytest.raises(LoginRefused, match=r"refuses the login of backup@vsphere.local: .*System.Read"):
        tagged(lab.client, {"backup/gold"})
    assert lab.simulator.armed["rest-login"] == 999


def test_an_account_without_the_right_is_told(start: Starts) -> None:
    lab = start()
    lab.simulator.fault("rest-forbidden")
    with pytest.raises(
        PermissionMissing, match=r"may not \(status 403 \(Unable to authorize user\)\): give it System.Read"
    ):
        tagged(lab.client, {"backup/gold"})
    assert not lab.simulator.rest.tokens


def test_a_session_that_ended_is_begun_again(start: Starts) -> None:
    lab = start()
    client = lab.client
    with rest.Rest(client) as session:
        lab.simulator.fault("rest-expire")
        assert len(session.get("category")) == 5
    assert not lab.simulator.rest.tokens


@pytest.mark.parametrize(
    "error", [VSphereError("x"), Interrupted(), RuntimeError()], ids=lambda one: type(one).__name__
)
def test_the_session_ends_whatever_happens_in_it(start: Starts, error: BaseException) -> None:
    lab = start()
    with pytest.raises(type(error)), rest.Rest(lab.client) as session:
        session.get("category")
        assert lab.simulator.rest.tokens
        raise error
    assert not lab.simulator.rest.tokens


def test_a_stop_in_the_middle_of_an_answer_ends_the_session_too(start: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, stop, speaks = start(), threading.Event(), threading.Event()
    ask = rest.ask

    def silent(connection: Any, method: str, target: str, **more: Any) -> Any:
        if target.endswith("/tag"):
            stop.set()
            assert speaks.wait(20)
        return ask(connection, method, target, **more)

    monkeypatch.setattr(rest, "ask", silent)
    with pytest.raises(Interrupted), rest.Rest(lab.client.until(stop)) as session:
        session.get("tag")
    assert not lab.simulator.rest.tokens
    speaks.set()


@pytest.mark.parametrize("pins", [1, 2])
def test_the_certificate_is_verified_as_everywhere(start: Starts, pins: int) -> None:
    """Pinned, also as one of two; one that is not pinned gets no password."""
    lab = start()
    right, wrong = lab.simulator.thumbprint, "ab" * 32
    written: Any = right if pins == 1 else [wrong, right]
    with Client("prod", lab.vcenter(tls={"thumbprint": written})) as client:
        assert len(tagged(client, {"backup/gold"}).machines["backup/gold"]) == 1
        client.vcenter = lab.vcenter(tls={"thumbprint": [wrong, "cd" * 32]})
        before = lab.simulator.calls["POST /api"]
        with pytest.raises(NotTrusted, match="the job pins"):
            tagged(client, {"backup/gold"})
    assert lab.simulator.calls["POST /api"] == before
