"""Images with their backing images, named to qemu node by node (qemu(1), "json:" file names; QAPI
BlockdevOptions).

So no format is probed, and no file is opened but those that are named: what an image's own header calls its
backing file is not asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Format = Literal["qcow2", "raw", "vmdk"]


@dataclass(frozen=True)
class Nodes:
    """`images` are absolute paths, each lying on the next one; all but the last are qcow2."""

    images: tuple[str, ...]
    format: Format = "qcow2"
    """Of the last."""

    @property
    def name(self) -> str:
        """What qemu-img and qemu-nbd take in place of a file's name; they are to be given no format beside
        it."""
        return f"json:{json.dumps(_node(self.images, self.format))}"


def in_json(image: str | Nodes, *, direct: bool) -> str:
    """The image as one node, for a command that lays another node over it. A path is that of a qcow2 image
    whose own header names what it is backed by. `direct`: past the page cache, which its backing images
    inherit."""
    if isinstance(image, Nodes):
        node = _node(image.images, image.format)
    else:
        node = {"driver": "qcow2", "file": {"driver": "file", "filename": image}}
    return json.dumps({**node, "cache": {"direct": direct}})


def served(at: str | int, export: str) -> dict[str, Any]:
    """As one node, an image that qemu-nbd serves on the same machine: `at` is its unix socket, or its port of
    127.0.0.1."""
    server = (
        {"type": "unix", "path": at}
        if isinstance(at, str)
        else {"type": "inet", "host": "127.0.0.1", "port": str(at)}
    )
    return {"driver": "nbd", "server": server, "export": export}


def served_in_json(at: str | int, export: str) -> str:
    """As `in_json`, of what `served` names."""
    return json.dumps(served(at, export))


def _node(images: Sequence[str], last: Format) -> dict[str, Any]:
    path, *below = images
    node: dict[str, Any] = {
        "driver": "qcow2" if below else last,
        "file": {"driver": "file", "filename": path},
    }
    if below:
        node["backing"] = _node(below, last)
    elif last == "qcow2":
        node["backing"] = None
    return node
