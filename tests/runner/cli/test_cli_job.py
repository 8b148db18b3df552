"""Commands on job files, as they are typed."""

from pathlib import Path

import pytest

from runner.cli import main

JOB = """
version: 1
name: {name}
include: site.yaml
steps: [{{id: clean, uses: cleanup}}]
"""


def exit_code(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as exited:
        main([str(word) for word in words])
    assert isinstance(exited.value.code, int)
    return exited.value.code


@pytest.fixture
def jobs(tmp_path: Path) -> list[Path]:
    """Two, that include one part."""
    (tmp_path / "site.yaml").write_text("version: 1\nhosts: {hub: {ssh: hub.example.com}}\n")
    paths = [tmp_path / f"{name}.yaml" for name in ("one", "two")]
    for path in paths:
        path.write_text(JOB.format(name=path.stem))
    return paths


def test_a_mistake_in_a_part_that_several_jobs_include_is_said_once(
    jobs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (jobs[0].parent / "site.yaml").write_text("version: 1\nhosts: {hub: {shs: hub.example.com}}\n")
    assert exit_code("validate", *jobs) == 2
    assert capsys.readouterr().err.count("unknown key 'shs'") == 1
