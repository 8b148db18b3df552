"""JSON documents that tell whether they are as they were written: in the last line stands a checksum of all
that is above it.

Most bits that flip in a record leave it valid JSON, with another number in it: without the checksum it would
be believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeVar

from pydantic import JsonValue, ValidationError
from pydantic_core import from_json

from runner.base.digest import canonical
from runner.base.errors import NewerError, StateError
from runner.base.model import Model

CHECKSUM = "checksum"
_LENGTH = 16
"""Hex digits: it guards against accidents, not against people."""
_END = "\n}"
_SEAL, _SEALED = b',\n "checksum": "', b'"\n}\n'
"""What stands between the text that the checksum is of and the checksum, and behind that."""

ModelT = TypeVar("ModelT", bound=Model)


class Damaged(Exception):
    """What is wrong, to come after the file's name: ``is damaged: it is not JSON``. `newer`: the schema
    version of a file that is of a later version of this program; whether it is whole is not known. `foreign`:
    it is of such a version, or of one with other fields, as its checksum tells."""

    def __init__(self, why: str, *, newer: int | None = None, foreign: bool = False) -> None:
        super().__init__(why)
        self.newer = newer
        self.foreign = foreign or newer is not None

    def error(self, where: str) -> StateError:
        """`where` names the file."""
        return StateError(f"{where} {self}") if self.newer is None else NewerError(where, self.newer)


def seal(document: Mapping[str, JsonValue]) -> bytes:
    """Its text, for people too. `document` is not empty."""
    text = json.dumps(document, indent=1, ensure_ascii=False).removesuffix(_END).encode()
    return b"%s%s%s%s" % (text, _SEAL, _checksum(text).encode(), _SEALED)


def unseal(content: bytes, kind: type[ModelT], version: int) -> ModelT:
    """The model that `seal` wrote as `content`; `version` is the newest `schema_version` that is known.
    Raises Damaged."""
    text, _, checksum = content.rpartition(_SEAL)
    whole = checksum == _checksum(text).encode() + _SEALED
    if whole:
        # Taken apart once only: a repository has thousands of manifests.
        with suppress(ValidationError):
            model = kind.model_validate_json(text + _END.encode())
            if getattr(model, "schema_version", version) <= version:
                return model
    return _unsealed(content, kind, version, whole=whole)


def _unsealed(content: bytes, kind: type[ModelT], version: int, *, whole: bool) -> ModelT:
    """Of what is not as `seal` writes it, or not what `kind` takes."""
    try:
        document = from_json(content)
    except ValueError as error:
        raise Damaged("is damaged: it is not JSON") from error
    if not isinstance(document, dict):
        raise Damaged("is damaged: it is not a JSON object")
    found = document.get("schema_version")
    # Before any field is looked at: those of a newer version are others.
    if isinstance(found, int) and found > version:
        raise Damaged(NewerError("", found).message.strip(), newer=found)
    checksum = document.pop(CHECKSUM, None)
    try:
        text = canonical(document).encode()
        # The first versions of this program sealed the canonical text.
        whole = whole or checksum == _checksum(text)
        model = kind.model_validate_json(text)
    except UnicodeEncodeError as error:
        raise Damaged("is damaged: it contains bytes that are not text") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the file"
        if whole:
            why = (
                f"was written by another version of sendense, or has a value that cannot be: {field}: "
                f"{first['msg']}"
            )
            raise Damaged(why, foreign=True) from error
        raise Damaged(f"is damaged: {field}: {first['msg']}") from error
    if not whole:
        raise Damaged("is damaged: its checksum does not match its content")
    return model


def _checksum(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:_LENGTH]
