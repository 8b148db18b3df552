"""Evidence on a guest's ports: only what is said counts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from steps.values.drill import Expectation
from steps.watch.expectations import PATIENCE, Awaited, PortSource, SerialSource, one_line
from steps.watch.serial_log import RECENT, PlainText
from tests.eventually import eventually


@contextmanager
def service(*answers: Callable[[socket.socket], object]) -> Iterator[str]:
    """On each connection, one of these after the other; the last again and again. Its address."""
    left = list(answers)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client, suppress(ConnectionError):
                    (left.pop(0) if len(left) > 1 else left[0])(client)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def says(text: bytes) -> Callable[[socket.socket], object]:
    return lambda client: client.sendall(text)


def stays_silent(client: socket.socket) -> None:
    client.recv(1)


class Clock:
    """Seconds that pass as often as it is asked."""

    def __init__(self, step: float) -> None:
        self.now, self._step = 0.0, step

    def tick(self) -> float:
        self.now += self._step
        return self.now


def looked(source: PortSource, step: float = 0.4) -> str:
    """What it sees in the end."""
    clock, found = Clock(step), []

    def look() -> bool:
        found.append(source.look(clock.tick()))
        return found[-1] is not None

    try:
        assert eventually(look, 30), source.instead
    finally:
        source.close()
    return str(found[-1])


def test_a_port_is_up_once_its_service_says_how_it_begins():
    with service(says(b"SSH-2.0-OpenSSH_9.2p1\r\nmore")) as address:
        assert looked(PortSource(address, "SSH-", "")).rstrip() == "SSH-2.0-OpenSSH_9.2p1"


def test_a_port_that_only_accepts_is_asked_afresh():
    with service(stays_silent, stays_silent, says(b"SSH-2.0-late\r\n")) as address:
        assert looked(PortSource(address, "SSH-", ""), step=PATIENCE).rstrip() == "SSH-2.0-late"


def test_a_port_that_says_something_else_is_asked_again_and_what_it_said_is_told():
    with service(says(b"Exceeded \x1b[1mMaxStartups\r\n")) as address:
        source, clock = PortSource(address, "SSH-", ""), Clock(0.4)
        assert eventually(lambda: source.look(clock.tick()) is None and source.instead)
        assert source.instead == "it said 'Exceeded \\x1b[1mMaxStartups'"
        source.close()


def test_a_service_that_was_busy_is_asked_again():
    with service(says(b"Exceeded MaxStartups\r\n"), says(b"SSH-2.0-free\r\n")) as address:
        assert looked(PortSource(address, "SSH-", "")).rstrip() == "SSH-2.0-free"


def test_a_service_that_does_not_speak_first_is_spoken_to():
    def answer(client: socket.socket) -> None:
        if client.recv(100) == b"GET / HTTP/1.0\r\n\r\n":
            client.sendall(b"HTTP/1.0 200 OK\r\n")

    with service(answer) as address:
        assert looked(PortSource(address, "HTTP/", "GET / HTTP/1.0\r\n\r\n")).rstrip() == "HTTP/1.0 200 OK"


def test_a_banner_without_a_line_end_counts_all_the_same():
    def answer(client: socket.socket) -> None:
        client.sendall(b"SSH-2.0-x")
        client.recv(1)

    with service(answer) as address:
        assert looked(PortSource(address, "SSH-", "")) == "SSH-2.0-x"


def test_a_service_that_says_ten_megabytes_is_read_no_further_than_its_banner():
    with service(says(b"SSH-" + b"x" * 10_000_000)) as address:
        assert len(looked(PortSource(address, "SSH-", ""))) <= 4096


def test_a_port_that_refuses_is_asked_again():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    source = PortSource(address, "SSH-", "")
    assert [source.look(now) for now in (0.0, 0.4, 2.0, 4.0)] == [None] * 4
    source.close()


class At:
    """A source that sees something at one moment."""

    instead = ""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def look(self, now: float) -> str | None:
        return "it" if now >= self._seconds else None

    def close(self) -> None:
        return None


@pytest.mark.parametrize(("seconds", "seen"), [(5, "it"), (11, None)], ids=["in time", "too late"])
def test_what_comes_after_the_deadline_does_not_count(seconds, seen):
    awaited = Awaited(Expectation(serial="it"), 10.0, At(seconds))
    for now in range(20):
        awaited.look(float(now))
    assert awaited.evidence().seen == seen
    assert awaited.evidence().after == (seconds if seen else None)


def test_what_a_guest_said_is_one_printable_line():
    assert one_line("a\x1b[31mb\r\n\tc" + "d" * 1000) == "a\\x1b[31mb c" + "d" * 187 + "…"
    assert len(one_line("e" * 10_000)) == 200


def test_a_text_whose_halves_come_with_two_looks_is_seen():
    text = PlainText()
    source = SerialSource(text, "login:")
    seen = []
    for at, piece in enumerate([b"Debian 12\r\npgtest1 l", b"og", b"in", b": "]):
        text.add(piece, float(at))
        seen.append(source.look(float(at)))
    assert seen == [None, None, None, "pgtest1 login: "]


def test_a_text_after_a_great_many_others_is_seen():
    text = PlainText()
    source = SerialSource(text, "login:")
    for at in range(6):
        text.add(b"z" * RECENT + b"\n", float(at))
        assert source.look(float(at)) is None
    text.add(b"login: ", 9.0)
    assert source.look(9.0) == "login: "


def test_of_a_long_line_the_part_that_was_expected_is_told():
    text = PlainText()
    text.add(b"x" * 5000 + b" login: " + b"y" * 5000, 0.0)
    seen = SerialSource(text, "login:").look(0.0)
    assert seen is not None and "login:" in one_line(seen)
