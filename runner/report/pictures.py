"""Pictures of a run as reports show them: files of this machine, which may be gone, or be none."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from runner.base.errors import SendenseError
from runner.base.slug import slug
from runner.base.units import MiB
from runner.events.step_report import Picture
from runner.events.summary import NodeSummary
from runner.hosts.files import THIS_MACHINE, translate_os_errors
from runner.hosts.regular_file import read_pieces

LARGEST = 2 * MiB
"""Bytes: a screen of text takes 20 KiB, and a page with several pictures must still open at once."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = _SIGNATURE + b"\x00\x00\x00\rIHDR"
_END = b"IEND\xaeB`\x82"
"""PNG specification (ISO/IEC 15948), 5.2, 11.2.2 and 11.2.5: the signature, IHDR as the first chunk with its
13 bytes, and IEND, which has none, as the last."""


@dataclass(frozen=True)
class Shown:
    """`name`: of its file beside a report. `content` is empty where it cannot be shown, for which `why_not`
    is a sentence."""

    node: str
    caption: str
    name: str
    content: bytes
    why_not: str = ""

    @cached_property
    def uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.content).decode()}"


def shown(nodes: Sequence[NodeSummary]) -> list[Shown]:
    """Reads each."""
    return list(_shown(nodes))


def _shown(nodes: Sequence[NodeSummary]) -> Iterator[Shown]:
    taken: set[str] = set()
    for node in nodes:
        for picture in node.pictures:
            stem, number = slug(node.node), 1
            while (name := f"{stem}.png" if number == 1 else f"{stem}-{number}.png") in taken:
                number += 1
            taken.add(name)
            try:
                yield Shown(node.node, picture.caption, name, read(picture))
            except SendenseError as error:
                yield Shown(node.node, picture.caption, name, b"", f"{error.message}.")


def read(picture: Picture) -> bytes:
    """Raises SendenseError for what is missing, no PNG, or too large."""
    where = f"the picture {picture.file}"
    if not posixpath.isabs(picture.file):
        raise SendenseError(f"{where} has no absolute path")
    with translate_os_errors(THIS_MACHINE, picture.file):
        content = b"".join(read_pieces(picture.file, LARGEST, LARGEST, THIS_MACHINE))
    if not content.startswith(_HEADER) or not content.endswith(_END):
        raise SendenseError(f"{where} is not shown: it is no PNG, or not all of one")
    return content
