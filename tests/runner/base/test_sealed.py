"""Documents that tell whether they are as they were written."""

import json

import pytest

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
