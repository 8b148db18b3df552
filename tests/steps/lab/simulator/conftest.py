from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.simulation import estate, running


@pytest.fixture
def client(tmp_path):
    """One VM `db`, running, with two small disks."""
    with running(estate(), tmp_path) as made:
        yield made


@pytest.fixture
def simulate(tmp_path):
    """simulate(machine(…), …, denied=[…], options={…}) gives the client of a simulator with these VMs."""
    with ExitStack() as stack:

        def start(*vms, options=None, **more):
            return stack.enter_context(running(estate(*vms, **more), tmp_path, **(options or {})))

        yield start
