"""Documents that tell whether they are as they were written."""

import hashlib
import json

import pytest

from runner.base.digest import canonical
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal


class Note(Model):
    text: str


def test_what_cannot_be_read_again_is_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        seal({"text": "\udcff"})
    assert unseal(seal({"text": "Zürich"}), Note, 1).text == "Zürich"


@pytest.mark.parametrize("escaped", [True, False], ids=["escaped", "raw"])
def test_what_is_no_text_is_damage(escaped: bool) -> None:
    content = json.dumps({"text": "\udcff", "checksum": "0"}, ensure_ascii=escaped)
    with pytest.raises(Damaged):
        unseal(content.encode("utf-8", "surrogatepass"), Note, 1)


def test_each_bit_is_under_the_seal() -> None:
    """Also those of its layout: in a text that was written at once, a changed space tells of rot as well."""
    content = seal({"text": "Zürich"})
    for at in range(len(content)):
        for bit in range(8):
            rotten = bytearray(content)
            rotten[at] ^= 1 << bit
            with pytest.raises(Damaged):
                unseal(bytes(rotten), Note, 1)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_text_that_was_cut_off_is_damage(cut: int) -> None:
    with pytest.raises(Damaged):
        unseal(seal({"text": "Zürich"})[:-cut], Note, 1)


def test_what_the_first_versions_sealed_is_read() -> None:
    """In any layout: their checksum is of the canonical text."""
    document = {"text": "Zürich", "number": 1}

    class Numbered(Note):
        number: int

    checksum = hashlib.sha256(canonical(document).encode()).hexdigest()[:16]
    for indent in (None, 1):
        content = json.dumps({**document, "checksum": checksum}, indent=indent, ensure_ascii=False).encode()
        assert unseal(content, Numbered, 1).text == "Zürich"
        with pytest.raises(Damaged, match="its checksum does not match"):
            unseal(content.replace(b"1,", b"2,"), Numbered, 1)
