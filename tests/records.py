"""Changing a sealed JSON file behind the program's back, as if the program itself had written it so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner.base.sealed import CHECKSUM, seal


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """`change` alters the document in place; it is then sealed again."""
    document = json.loads(path.read_bytes())
    document.pop(CHECKSUM)
    change(document)
    path.write_bytes(seal(document))
