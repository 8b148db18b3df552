"""Which VM a job means that names one, as a run of it decides."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from steps.coverage.meaning import Names
from steps.coverage.protection import Protection
from tests.census import FakeCensus, item, uuid
from tests.steps.coverage.test_judgement import NOW, protection

ITEMS = [
    item("db", 1, "prod/", bios="42130000-0000-0000-0000-00000000000a"),
    item("web", 2),
    item("db", 3, "test/"),
    item("vm-2", 4),
]


def made(number: int, job: str, asked: str, published: datetime = NOW, **more: Any) -> Protection:
    return protection(number, 1, job=job, asked=asked, published=published, **more)


def meant(wanted: str, *protections: Protection, job: str = "nightly") -> str | None:
    found = Names("prod", FakeCensus(ITEMS), protections).meant(job, wanted)
    return found.why_not if found.item is None else found.item.path


@pytest.mark.parametrize(
    "wanted",
    ["web", "DC0/vm/web", "/DC0/vm/web", uuid(2), uuid(2).upper()],
    ids=["name", "path", "/path", "uuid", "UUID"],
)
def test_a_vm_is_meant_by_all_that_a_job_may_call_it(wanted: str) -> None:
    assert meant(wanted) == "DC0/vm/web"


def test_a_bios_uuid_and_a_moref_name_a_vm_too() -> None:
    assert meant("42130000-0000-0000-0000-00000000000A") == "DC0/vm/prod/db"
    assert meant("vm-1") == "DC0/vm/prod/db"


def test_a_name_that_is_another_vms_moref_means_two() -> None:
    assert "matches 2 VMs" in str(meant("vm-2"))


def test_a_name_that_two_have_is_said_and_settled_by_what_was_backed_up() -> None:
    assert meant("db") == "'db' matches 2 VMs in vCenter prod: DC0/vm/prod/db, DC0/vm/test/db"
    assert meant("db", made(3, "other", "db")) == "DC0/vm/test/db"


def test_a_job_continues_with_the_vm_that_it_backed_up_last_whatever_that_is_called_now() -> None:
    earlier = made(1, "nightly", "web", NOW - timedelta(days=9))
    assert meant("web", earlier) == "DC0/vm/prod/db"
    assert meant("web", earlier, made(2, "nightly", "web")) == "DC0/vm/web"
    assert meant("web", earlier, job="another") == "DC0/vm/web"


def test_a_vm_that_is_gone_gives_its_name_to_the_one_that_has_it_now() -> None:
    assert meant("web", made(99, "nightly", "web")) == "DC0/vm/web"


def test_no_such_vm_is_said() -> None:
    assert meant("nosuch") == "there is no VM 'nosuch' in vCenter prod"
