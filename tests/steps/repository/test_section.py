from __future__ import annotations

import pytest
from pydantic import ValidationError

from steps.repository.section import Repository


@pytest.mark.parametrize(
    ("written", "path"),
    [
        pytest.param("/backup/repository", "/backup/repository", id="plain"),
        pytest.param("/backup//repository/", "/backup/repository", id="untidy"),
        pytest.param("//backup/./repository", "/backup/repository", id="two slashes"),
        pytest.param("/backup/with space/ünï", "/backup/with space/ünï", id="odd letters"),
    ],
)
def test_a_path_is_made_plain(written: str, path: str) -> None:
    assert Repository.from_json_value({"host": "hub", "path": written}).path == path


@pytest.mark.parametrize(
    "path", ["", "backup", "/", "//", "/.", "/backup/../etc", "/a\0b", "/a\nb", "~/backup"], ids=repr
)
def test_a_path_that_may_be_anywhere_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="write"):
        Repository.from_json_value({"host": "hub", "path": path})
