from __future__ import annotations

from pathlib import Path

import pytest

from runner.base.errors import UsageError
from runner.hosts.local import LocalHost
from steps.repository import lookup, marker
from steps.repository.lookup import AmbiguousPointError, NoSuchPointError

HOST = LocalHost("hub")
WEB = "web-11111111-2222-3333-4444-555555555555"
WEB_2 = "web-2-66666666-2222-3333-4444-555555555555"
POINTS = {
    WEB: ("20261101T170000Z-aaaa", "20261102T170000Z-bbbb"),
    WEB_2: ("20261102T170000Z-cccc", "20261103T170000Z-dddd.partial"),
}


@pytest.fixture
def root(tmp_path: Path) -> str:
    root = tmp_path / "repository"
    marker.init(HOST, str(root))
    for vm, points in POINTS.items():
        for point in points:
            (root / vm / point).mkdir(parents=True)
    (root / ".state" / "20261104T170000Z-eeee").mkdir(parents=True)
    return str(root)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        pytest.param("20261101T170000Z-aaaa", f"{WEB}/20261101T170000Z-aaaa", id="whole"),
        pytest.param("20261101", f"{WEB}/20261101T170000Z-aaaa", id="beginning"),
        pytest.param("web/20261102", f"{WEB}/20261102T170000Z-bbbb", id="slug"),
        pytest.param(f"{WEB_2}/2026", f"{WEB_2}/20261102T170000Z-cccc", id="directory"),
        pytest.param("11111111-2222-3333-4444-555555555555/20261102", f"{WEB}/20261102T170000Z-bbbb", id="uuid"),
        pytest.param("{root}/" + f"{WEB}/20261102T170000Z-bbbb/", f"{WEB}/20261102T170000Z-bbbb", id="path"),
    ],
)
def test_a_point_is_found_by(root: str, name: str, found: str) -> None:
    assert lookup.find(HOST, root, name.format(root=root)).path == f"{root}/{found}"


def test_a_name_that_several_have_names_them(root: str) -> None:
    with pytest.raises(
        AmbiguousPointError, match=r"web/20261102T170000Z-bbbb, web-2/20261102T170000Z-cccc; write more"
    ):
        lookup.find(HOST, root, "20261102")


@pytest.mark.parametrize(
    "name", ["20261103", "20261104", "nobody/2026110", "web/", "/etc", "../2026", "", "*", "web/20261101/.."]
)
def test_what_is_no_point_is_not_found(root: str, name: str) -> None:
    with pytest.raises(NoSuchPointError, match="sendense points") as raised:
        lookup.find(HOST, root, name)
    assert isinstance(raised.value, UsageError)
