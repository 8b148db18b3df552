"""Makes processes that are to be killed: ``python -m tests.faults.zygote``, which has everything imported, forks.

A run of its own costs 1.5 s of CPU before it does anything, and a test of kills starts fifty. Standard input is a unix
socket: a JSON line with the command line and the moment to wait for comes with two descriptors, the gate of the tap and a
file for what the run says. Two lines go back: its pid, and how it ended.
"""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from runner import cli
from runner.step.registry import Registry
from tests.faults.tap import Tap

LONGEST = 65536


def serve(control: socket.socket) -> None:
    while True:
        request, descriptors, _, _ = socket.recv_fds(control, LONGEST, 3)
        if not request:
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            _run(json.loads(request), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        control.send(f"pid {pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        control.send(f"code {os.waitstatus_to_exitcode(status)}\n".encode())


def _run(request: dict[str, Any], gate: int, said: int, made: int) -> None:
    """In the child, which ends with the command. As from a shell: a session of its own, no terminal, what it says in a file."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, number in ((null, 0), (said, 1), (said, 2)):
        os.dup2(descriptor, number)
    Tap(request["moment"], socket.socket(fileno=gate), made).install()
    cli.main(request["argv"])


if __name__ == "__main__":
    Registry.installed()
    with socket.socket(fileno=os.dup(0)) as control:
        serve(control)
