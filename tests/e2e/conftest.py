"""The lab of a test module, which brings its own inventory as INVENTORY."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from steps.lab.lab import Lab
from tests.e2e.site import Site


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    directory = tmp_path_factory.mktemp("lab")
    inventory: dict[str, Any] = request.module.INVENTORY
    file: Path = directory / "inventory.yaml"
    file.write_text(yaml.safe_dump(inventory, sort_keys=False))
    lab = Lab.start(directory, file, leashed=True)
    yield lab
    lab.stop()


@pytest.fixture
def site(lab: Lab, tmp_path: Path) -> Iterator[Site]:
    site = Site(lab, tmp_path / "state")
    yield site
    assert lab.status()["armed"] == {}, "a fault was armed that nothing met"
    site.assert_nothing_left()
