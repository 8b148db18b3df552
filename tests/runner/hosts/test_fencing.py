"""A guarded host asks for the locks before each verb that changes something, and changes nothing without them."""

from pathlib import Path

import pytest

from runner.base.errors import LockedError
from runner.hosts.fencing import CHANGING, bare, guarded
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from tests.eventually import eventually
from tests.sshd import ssh_host, sshd

__all__ = ["ssh_host", "sshd"]

CALLS = {
    "run": lambda host, at: host.run(("touch", f"{at}/made")),
    "popen": lambda host, at: host.popen(("touch", f"{at}/made")).stop(),
    "mkdir": lambda host, at: host.mkdir(f"{at}/made", mode=0o700, parents=True),
    "write": lambda host, at: host.write(f"{at}/made", b"x", mode=0o600),
    "write_sparse": lambda host, at: host.write_sparse(f"{at}/made", 8, [(0, b"x")]),
    "append": lambda host, at: host.append(f"{at}/made", b"x"),
    "rename": lambda host, at: host.rename(f"{at}/one", f"{at}/three"),
    "remove": lambda host, at: host.remove(f"{at}/one", f"{at}/two", recursive=True),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "one").touch()
    (tmp_path / "two").touch()
    return tmp_path


def test_each_verb_that_changes_something_has_a_case():
    assert set(CALLS) == CHANGING
    assert all(hasattr(Host, name) for name in CHANGING)


@pytest.mark.parametrize("verb", CALLS)
def test_nothing_changes_without_the_locks_and_all_does_with_them(place: Path, verb: str):
    lost = True

    def hold() -> None:
        if lost:
            raise LockedError("the VM", "another run")

    host = guarded(LocalHost("hub"), hold)
    with pytest.raises(LockedError):
        CALLS[verb](host, place)
    assert sorted(path.name for path in place.iterdir()) == ["one", "two"]
    lost = False
    CALLS[verb](host, place)
    if verb != "popen":  # which may be stopped before it did anything
        assert sorted(path.name for path in place.iterdir()) != ["one", "two"]


def test_looking_needs_no_lock(place: Path):
    host = guarded(LocalHost("hub"), lambda: pytest.fail("it asked"))
    assert host.listdir(str(place)) == ["one", "two"]
    assert isinstance(bare(host), LocalHost)


@pytest.mark.parametrize("turn", [2, 3], ids=["before-the-command", "before-its-content"])
@pytest.mark.parametrize("verb", ["write", "append", "write_sparse"])
def test_a_lock_that_is_lost_while_a_session_begins_is_noticed_then(
    place: Path, ssh_host: Host, verb: str, turn: int
) -> None:
    """As by who was frozen after it had asked, and whose sessions are still there."""
    asked: list[str] = []

    def hold() -> None:
        asked.append(verb)
        if len(asked) >= turn:
            raise LockedError("the VM", "another run")

    with pytest.raises(LockedError):
        CALLS[verb](guarded(ssh_host, hold), place)
    assert len(asked) == turn
    assert eventually(lambda: sorted(path.name for path in place.iterdir()) == ["one", "two"])
    ssh_host.write(f"{place}/made", b"x")  # unguarded, in the same thread
