from __future__ import annotations

import posixpath
import re
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.base.slug import slug as slug_of_name
from steps.repository import layout

RUN = "20261123T170000Z-3f9a0c1e"
UUID = "5013e3a5-9f10-4a5e-8b32-0123456789ab"

any_name = st.text(max_size=300) | st.sampled_from(
    ["..", ".", "/", "../../etc", "a/../b", "-rf", "a\0b", "~", "CON", "%2f"]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("pgtest1", "pgtest1", id="plain"),
        pytest.param("Web Server (old)", "Web-Server-old", id="spaces and brackets"),
        pytest.param("größe-épée", "groe-epee", id="accents fall, other letters go"),
        pytest.param("日本", "vm", id="nothing left"),
        pytest.param("", "vm", id="empty"),
        pytest.param("..", "vm", id="dots"),
        pytest.param("a/b\\c:d,e", "a-b-c-d-e", id="separators"),
        pytest.param("../../etc/passwd", "etc-passwd", id="climbing"),
        pytest.param("-disk1-", "disk1", id="looks like an option"),
        pytest.param(".hidden", "hidden", id="hidden"),
        pytest.param("x" * 80, "x" * 40, id="long"),
        pytest.param("x" * 39 + "-y", "x" * 39, id="cut at a dash"),
        pytest.param("a.b_c-d", "a.b_c-d", id="kept"),
    ],
)
def test_slug(name: str, expected: str) -> None:
    assert slug_of_name(name) == expected


@given(any_name)
def test_a_slug_is_one_harmless_path_component(name: str) -> None:
    slug = slug_of_name(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", slug)
    assert ".." not in slug
    assert slug_of_name(slug) == slug


@given(any_name, st.uuids(), st.integers())
def test_no_name_leaves_the_repository(name: str, instance: uuid.UUID, key: int) -> None:
    directory = layout.vm_directory(name, str(instance))
    for below in (
        directory,
        posixpath.join(directory, layout.partial(RUN), layout.image(key)),
        posixpath.join(directory, layout.point(datetime.now(UTC), RUN), layout.digests(key)),
    ):
        path = posixpath.join("/repository", below)
        assert posixpath.normpath(path) == path
        assert path.startswith("/repository/")
        assert all(len(part) <= 255 for part in path.split("/"))


@given(any_name, st.uuids())
def test_a_vm_directory_tells_its_uuid_and_slug(name: str, instance: uuid.UUID) -> None:
    directory = layout.vm_directory(name, str(instance).upper())
    assert layout.uuid_of_vm_directory(directory) == str(instance)
    assert layout.slug_of(f"/repository/{directory}") == slug_of_name(name)


@pytest.mark.parametrize("instance", ["", "..", "../" + UUID, UUID + "/..", UUID + "\n", "5013e3a5"], ids=repr)
def test_what_is_no_uuid_never_becomes_a_path(instance: str) -> None:
    with pytest.raises(layout.BadNameError, match="not a uuid"):
        layout.vm_directory("pgtest1", instance)


@pytest.mark.parametrize("run", ["", "..", RUN + "/..", RUN.upper(), RUN[:-1], RUN + "\n"], ids=repr)
def test_what_is_no_run_id_never_becomes_a_path(run: str) -> None:
    with pytest.raises(layout.BadNameError, match="not the id of a run"):
        layout.partial(run)
    with pytest.raises(layout.BadNameError, match="not the id of a run"):
        layout.point(datetime.now(UTC), run)


@pytest.mark.parametrize("foreign", ["", ".state", "lost+found", UUID, f"-{UUID}", f"a/{UUID}", f"pgtest1-{UUID}.old"])
def test_other_directories_are_nobodys(foreign: str) -> None:
    assert layout.uuid_of_vm_directory(foreign) is None


def test_a_point_is_named_after_the_snapshots_moment_in_utc() -> None:
    cet = timezone(timedelta(hours=1))
    name = layout.point(datetime(2026, 11, 23, 18, 0, 3, 999999, tzinfo=cet), RUN)
    assert name == "20261123T170003Z-3f9a"
    assert layout.is_point(name)
    assert layout.may_be_of_run(name, RUN)
    assert not layout.may_be_of_run(name, "20261123T170000Z-ffff0c1e")
    assert not layout.is_point(layout.partial(RUN))
