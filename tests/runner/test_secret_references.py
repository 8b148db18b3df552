from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.secrets import FromEnv, FromExec, FromFile, SecretRef, resolve


@pytest.mark.parametrize("kind", ["env", "file", "exec"])
def test_an_empty_secret_is_told_with_where_it_came_from(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("EMPTY", "")
    references: dict[str, tuple[SecretRef, str]] = {
        "env": (FromEnv(env="EMPTY"), "the environment variable EMPTY"),
        "file": (FromFile(file=str(tmp_path / "empty")), f"the file {tmp_path}/empty"),
        "exec": (FromExec(exec=("true",)), "the command 'true'"),
    }
    reference, where = references[kind]
    with pytest.raises(UsageError) as refused:
        resolve(reference)
    assert str(refused.value) == f"the secret from {where} is empty"
