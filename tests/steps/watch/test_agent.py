"""QEMU's guest agent, the real one; and guests that only pretend to have one."""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from steps.watch.agent import ANSWERS, ASK_AGAIN, NAMES_ITSELF, Agent
from tests.eventually import eventually
from tests.guests.debian_packages import NotToBeHad, unpack

CACHE = Path(__file__).parents[3] / ".cache" / "guest-agent"


def qemu_ga() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        program = CACHE / "usr" / "sbin" / "qemu-ga"
        if not program.exists():
            try:
                unpack(["qemu-guest-agent"], CACHE)
            except NotToBeHad as error:
                pytest.skip(f"QEMU's guest agent cannot be had: {error}")
    return program


def test_the_real_agent_says_what_its_system_is(tmp_path):
    path = tmp_path / "agent"
    argv = [str(qemu_ga()), "-m", "unix-listen", "-p", str(path), "-t", str(tmp_path), "-f", str(tmp_path / "pid")]
    with subprocess.Popen(argv, stderr=subprocess.PIPE) as process:
        try:
            assert eventually(path.exists, 30)
            agent, found = Agent(str(path)), []
            assert eventually(lambda: found.append(agent.look(0.0)) or found[-1], 30)
            agent.close()
        finally:
            process.kill()
    lines = Path("/etc/os-release").read_text().splitlines()
    assert found[-1] == next(line.split('"')[1] for line in lines if line.startswith("PRETTY_NAME="))


@contextmanager
def conversation(path: Path) -> Iterator[tuple[Agent, socket.socket]]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(1)
        agent = Agent(str(path))
        guest, _ = server.accept()
        guest.settimeout(10)
        with guest:
            yield agent, guest
        agent.close()


def asked(guest: socket.socket) -> dict[str, object]:
    heard = b""
    while not heard.endswith(b"\n"):
        heard += guest.recv(1)
    return dict(json.loads(heard.lstrip(b"\xff")))


def sync(agent: Agent, guest: socket.socket, now: float = 0.0) -> bytes:
    """The answer to what is asked now."""
    assert agent.look(now) is None
    arguments = asked(guest)["arguments"]
    assert isinstance(arguments, dict)
    return b"\xff" + json.dumps({"return": arguments["id"]}).encode() + b"\n"


def test_an_agent_that_does_not_name_its_system_answers_all_the_same(tmp_path):
    with conversation(tmp_path / "s") as (agent, guest):
        guest.sendall(sync(agent, guest))
        assert eventually(lambda: agent.look(0.0) is None and agent.synced)
        assert asked(guest)["execute"] == "guest-ping"
        guest.sendall(b'{"return": {}}\n')
        assert eventually(lambda: agent.look(1.0) is None and agent.answered)
        assert asked(guest)["execute"] == "guest-get-osinfo"
        guest.sendall(b'{"error": {"class": "CommandNotFound", "desc": "disabled"}}\n')
        assert eventually(lambda: agent.look(1.0) == ANSWERS)


def test_an_agent_that_says_no_more_has_answered_after_a_while(tmp_path):
    with conversation(tmp_path / "s") as (agent, guest):
        guest.sendall(sync(agent, guest))
        assert eventually(lambda: agent.look(0.0) is None and agent.synced)
        guest.sendall(b'{"return": {}}\n')
        assert eventually(lambda: agent.look(1.0) is None and agent.answered)
        assert agent.look(1.0 + NAMES_ITSELF) == ANSWERS


def test_it_is_asked_again_and_an_answer_to_the_first_question_counts(tmp_path):
    with conversation(tmp_path / "s") as (agent, guest):
        first = sync(agent, guest)
        assert sync(agent, guest, now=ASK_AGAIN) != first
        guest.sendall(b"half a line of another client" + first)
        assert eventually(lambda: agent.look(ASK_AGAIN) is None and agent.synced)


@pytest.mark.parametrize(
    "said",
    [
        b'{"return": 1}\n' * 1000,
        b"[" * 100_000 + b"\n",
        b'{"return": ' + b"9" * 10_000 + b"}\n",
        b"\xff" * 100_000,
        b"\0\xfe not JSON \n",
        b'{"return": 7}\n{"return": {}}\n{"return": {"pretty-name": "fooled"}}\n',
        b'{"return": true}\n{"return": {}}\n{"return": {"pretty-name": "fooled"}}\n',
        b"x" * 5_000_000,
    ],
    ids=["other numbers", "deep", "long number", "noise", "no JSON", "another number", "no number", "flood"],
)
def test_what_is_no_answer_is_none(tmp_path, said):
    with conversation(tmp_path / "s") as (agent, guest):
        guest.settimeout(0.5)
        left = said
        for _ in range(100):
            assert agent.look(0.0) is None
            if left:
                left = left[guest.send(left[:65536]) :]
        assert agent.remembered < 200_000
