"""Real NBD servers for tests: qemu-nbd and nbdkit on unix sockets, ended with the test."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe

READY_TIMEOUT = 20.0


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    uri: str


class Servers:
    """Each server answered a handshake when it is returned."""

    def __init__(self) -> None:
        # Not pytest's tmp_path, which may be too long for the name of a socket.
        self._directory = tempfile.TemporaryDirectory(prefix="sd-")
        self._servers: list[Server] = []

    def qemu_nbd(self, image: Path, image_format: str, *options: str, cache: str = "writeback") -> Server:
        argv = ("qemu-nbd", "--persistent", "--shared=8", f"--cache={cache}", "--discard=unmap")
        socket = self._socket()
        return self._start((*argv, f"--format={image_format}", f"--socket={socket}", *options, str(image)), socket)

    def nbdkit(self, *arguments: str) -> Server:
        socket = self._socket()
        return self._start(("nbdkit", "-f", "-U", socket, *arguments), socket)

    def _socket(self) -> str:
        return f"{self._directory.name}/{len(self._servers)}"

    def _start(self, argv: tuple[str, ...], socket: str) -> Server:
        stderr = Path(f"{socket}.stderr")
        with stderr.open("wb") as file:
            process = subprocess.Popen(argv, stderr=file, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        server = Server(process, f"nbd+unix:///?socket={socket}")
        self._servers.append(server)
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            try:
                probe(server.uri, READY_TIMEOUT)
                break
            except ConnectFailed:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.02)
                assert process.poll() is None, stderr.read_text()
                assert time.monotonic() < deadline, stderr.read_text()
        return server

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for server in self._servers:
            server.process.kill()
            server.process.wait()
        self._directory.cleanup()


def qcow2(path: Path, size: int, *options: str) -> Path:
    argv = ("qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), str(size))
    subprocess.run(argv, check=True, timeout=30)
    return path


def raw(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path
