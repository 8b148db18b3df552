"""A port that says more than anybody can read costs a bounded amount."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.base.units import KiB, MiB
from steps.watch.listener import ROOM, Listener
from tests.eventually import eventually, open_descriptors


@contextmanager
def flood(path: Path) -> Iterator[list[int]]:
    """A server that says as much as is taken; the list has how many bytes those were, the last one."""
    said = [0]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)

        def serve() -> None:
            client, _ = server.accept()
            with client:
                while True:
                    try:
                        said[0] += client.send(b"x" * 64 * KiB)
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield said
        thread.join(10)
        assert not thread.is_alive()


def test_a_flood_waits_for_who_looks(tmp_path):
    with flood(tmp_path / "s") as said:
        listener = Listener(str(tmp_path / "s"))
        try:
            taken = 0
            for _ in range(3):
                assert eventually(lambda: listener.full)
                piece = listener.take()
                assert len(piece) == ROOM
                taken += len(piece)
            assert said[0] <= taken + ROOM + MiB, "the guest was not made to wait"
        finally:
            listener.close()


def test_nothing_is_left_open(tmp_path):
    before = open_descriptors()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        listener = Listener(str(tmp_path / "s"))
        client, _ = server.accept()
        with client:
            client.send(b"hello")
            assert eventually(lambda: listener.take() == b"hello")
            listener.close()
            assert client.recv(1) == b"", "the connection is closed"
    assert open_descriptors() == before
    assert listener.ended


def test_what_came_before_the_end_is_heard(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        listener = Listener(str(tmp_path / "s"))
        client, _ = server.accept()
        client.sendall(b"last words")
        client.close()
        assert eventually(lambda: listener.ended)
        assert listener.take() == b"last words"
        listener.close()


def test_a_port_that_is_not_there_has_ended(tmp_path):
    listener = Listener(str(tmp_path / "absent"))
    assert eventually(lambda: listener.ended)
    listener.close()
