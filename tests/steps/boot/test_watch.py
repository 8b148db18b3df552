"""What a machine that boots comes to. Each with a real QEMU and a real guest: a boot sector."""

from __future__ import annotations

import shutil

import pytest

from steps.values.drill import Expectation
from tests.guests.boot_sectors import disk
from tests.steps.boot.watched import request, seen, watched

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed")


def login(within: float = 120) -> Expectation:
    return Expectation(serial="login:", within=within)


def test_it_passes_once_its_serial_port_says_what_was_expected(tmp_path):
    found = seen(tmp_path, "prints", "Debian 12\r\n\x1b[1;32mpgtest1 \x1b[0mlo\x1b[0mgin: ", login())
    assert found.verdict == "passed"
    assert found.why.startswith("the guest showed 'pgtest1 login:' on its serial port after ")
    assert [(one.expected, one.seen) for one in found.evidence] == [("the serial port says 'login:'", "pgtest1 login:")]
    assert found.serial == b"Debian 12\r\n\x1b[1;32mpgtest1 \x1b[0mlo\x1b[0mgin: ", "the log is kept as it came"
    assert found.picture is not None and found.picture.startswith(b"\x89PNG")


def test_a_disk_without_a_boot_sector_is_a_failure(tmp_path):
    found = watched(tmp_path, request(disk(tmp_path / "disk.raw", b"\0" * 512), login()))
    assert found.verdict == "failed"
    assert "the BIOS found nothing that boots: 'Boot failed: not a bootable disk', 'No bootable device.'" in found.why
    assert [one.seen for one in found.evidence] == [None]


def test_a_machine_without_a_disk_is_a_failure(tmp_path):
    found = watched(tmp_path, request(None, login()))
    assert found.verdict == "failed"
    assert found.why.endswith("'Boot failed: could not read the boot disk', 'No bootable device.'")


def test_a_guest_that_powers_itself_off_before_it_was_up_is_a_failure(tmp_path):
    found = seen(tmp_path, "powers-off", "halting\r\n", login())
    assert found.verdict == "failed"
    assert found.why.endswith("the guest powered itself off, before its serial port said 'login:'")
    assert found.picture is not None


def test_a_guest_that_powers_itself_off_after_it_was_up_has_passed(tmp_path):
    assert seen(tmp_path, "powers-off", "pgtest1 login: ", login()).verdict == "passed"


def test_a_guest_that_says_nothing_is_undecided_when_its_time_is_over(tmp_path):
    found = seen(tmp_path, "hangs", "", login(within=4))
    assert found.verdict == "undecided"
    assert found.why.startswith("within 4 s the serial port did not say 'login:'; its serial port said nothing; ")
    assert "ends with 'Booting from Hard Disk...'" in found.why
    assert found.picture is not None
