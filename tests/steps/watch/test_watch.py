"""What a machine that boots comes to. Each with a real QEMU and a real guest: a boot sector."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from runner.base.errors import Interrupted
from runner.base.units import MiB
from runner.events.events import Event, NodeProgress
from runner.hosts.local import LocalHost
from steps.boot.errors import BootError
from steps.boot.start import start
from steps.values.drill import Expectation
from steps.values.machine import Doubt
from steps.watch.watch import watch
from tests.guests.boot_sectors import disk, sector
from tests.nbd_servers import Servers
from tests.steps.watch.watched import boot_disk, context, request, seen, waiting, watched

pytestmark = pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed")


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steps.watch.screen.SOONEST", 1.0)


def login(within: float = 120) -> Expectation:
    return Expectation(serial="login:", within=within)


@contextmanager
def led_through(far: str, near: str) -> Iterator[Callable[[], None]]:
    """`near` leads there until what is returned cuts it. Nothing is carried."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as beyond:
        server.bind(near)
        server.listen(1)
        beyond.connect(far)

        def cut() -> None:
            server.accept()[0].close()

        yield cut


def test_it_passes_once_its_serial_port_says_what_was_expected(tmp_path):
    text = "Debian 12\r\n\x1b[1;32mpgtest1 \x1b[0mlo\x1b[0mgin: "
    found = seen(tmp_path, "prints", text, login())
    assert found.verdict == "passed"
    assert found.why.startswith("the guest showed 'pgtest1 login:' on its serial port after ")
    assert [(one.expected, one.seen) for one in found.evidence] == [("the serial port says 'login:'", "pgtest1 login:")]
    assert found.serial == text.encode(), "the log is kept as it came"
    assert found.picture is not None and found.picture.startswith(b"\x89PNG")


def test_all_that_was_expected_must_be_seen(tmp_path):
    found = seen(tmp_path, "prints", "pgtest1 login: ", login(), Expectation(serial="ready", within=3))
    assert found.verdict == "undecided"
    assert found.why.startswith("within 3 s its serial port did not say 'ready'; the guest showed 'pgtest1 login:' on")
    assert [one.seen for one in found.evidence] == ["pgtest1 login:", None]


def test_each_expectation_has_a_deadline_of_its_own(tmp_path):
    found = seen(tmp_path, "hangs", "", login(within=2), Expectation(serial="ready", within=3))
    assert (
        "its serial port did not say 'login:' within 2 s and its serial port did not say 'ready' within 3 s"
        in found.why
    )
    assert [one.within for one in found.evidence] == [2, 3]
    assert found.seconds > 3


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
    assert found.why.endswith(
        "the guest powered itself off, before its serial port said 'login:'; "
        "the last line on its serial port was 'halting'"
    )
    assert found.picture is not None


def test_a_guest_that_powers_itself_off_after_it_was_up_has_passed(tmp_path):
    assert seen(tmp_path, "powers-off", "pgtest1 login: ", login()).verdict == "passed"


def test_a_guest_that_says_nothing_is_undecided_when_its_time_is_over(tmp_path):
    found = seen(tmp_path, "hangs", "", login(within=4))
    assert found.verdict == "undecided"
    assert found.why == (
        "within 4 s its serial port did not say 'login:'; its serial port said nothing; "
        "the screen ends with 'Booting from Hard Disk...'"
    )
    assert found.picture is not None


def test_a_port_that_qemu_accepts_for_a_guest_without_a_network_is_no_evidence(tmp_path):
    expected = Expectation(port=22, banner="SSH-", within=3), Expectation(agent=True, within=3)
    found = seen(tmp_path, "hangs", "", *expected, cards=1)
    assert found.verdict == "undecided"
    assert found.why.startswith(
        "within 3 s nothing of what was expected was seen: "
        "port 22 did not answer with 'SSH-' and the guest agent did not answer; "
    )


def test_a_serial_port_that_is_heard_no_more_is_no_verdict(tmp_path, monkeypatch):
    monkeypatch.setattr("steps.watch.watch.DEAF", 0.0)
    what = request(disk(tmp_path / "disk.raw", sector("hangs")), login())
    with waiting(tmp_path, what) as (ctx, running):
        near = f"{running.directory}/near"
        with led_through(running.serial, near) as cut:
            threading.Timer(1.0, cut).start()
            with pytest.raises(BootError, match="the connection to the guest's serial port on here was lost"):
                watch(ctx, replace(running, serial=near), what)


def test_where_nothing_is_expected_nothing_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("steps.watch.watch.WITHIN", {"tcg": 2.0})
    found = seen(tmp_path, "prints", "pgtest1 login: ")
    assert found.verdict == "undecided"
    assert found.why.startswith("nothing was expected of the guest, and nothing that is a failure was seen; ")


def test_a_kernel_that_panics_on_its_serial_port_is_a_failure(tmp_path):
    text = (
        "[    1.234567] VFS: Cannot open root device\r\n"
        "[    1.234568] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r\n"
        "[    1.234569] CPU: 0 PID: 1 Comm: swapper/0\r\n"
    )
    found = seen(tmp_path, "prints", text, login())
    assert found.verdict == "failed"
    assert "the kernel panicked: '[ 1.234568] Kernel panic - not syncing: VFS: Unable to mount root fs on" in found.why


def test_a_kernel_that_tells_qemu_of_its_panic_is_a_failure(tmp_path):
    found = seen(tmp_path, "panics", "", login())
    assert found.verdict == "failed"
    assert "the guest's kernel panicked, as it told QEMU, before its serial port said 'login:'" in found.why


def test_a_panic_that_a_login_banner_quotes_is_no_failure(tmp_path):
    text = "Last crash:\r\nKernel panic - not syncing: Fatal exception\r\npgtest1 login: "
    assert seen(tmp_path, "prints", text, login()).verdict == "passed"


def test_a_panic_on_the_screen_alone_is_a_failure(tmp_path):
    found = seen(tmp_path, "shows", "Kernel panic - not syncing: Attempted to kill init!\r\n", login())
    assert found.verdict == "failed"
    assert found.why.endswith("the kernel panicked: 'Kernel panic - not syncing: Attempted to kill init!'")


@pytest.mark.parametrize(
    ("deed", "text", "kind"),
    [
        ("prints", "ALERT! UUID=0f3c does not exist. Dropping to a shell!\r\n(initramfs) ", "driver"),
        ("panics", "", "driver"),
        ("reboots", "", "disk"),
    ],
)
def test_what_may_come_of_what_the_drill_made_otherwise_is_undecided(tmp_path, deed, text, kind):
    what = request(disk(tmp_path / "disk.raw", sector(deed, text)), login())
    doubts = (Doubt(kind="memory", why="nothing here"), Doubt(kind=kind, why="Hard disk 1 is on SATA here"))
    machine = what.machine.model_copy(update={"doubts": doubts})
    found = watched(tmp_path, replace(what, machine=machine))
    assert found.verdict == "undecided"
    assert found.why.endswith("; that may be the drill's own doing: Hard disk 1 is on SATA here")


def test_grubs_rescue_prompt_is_a_failure_and_says_why(tmp_path):
    text = "error: no such partition.\r\nEntering rescue mode...\r\ngrub rescue> "
    found = seen(tmp_path, "shows", text, login())
    assert found.verdict == "failed"
    assert found.why.endswith("GRUB stopped at its rescue prompt: 'error: no such partition.', 'grub rescue>'")


def test_what_a_console_draws_point_by_point_is_read_as_well(tmp_path):
    found = seen(tmp_path, "draws", "Kernel panic - not syncing: Attempted to kill init!\r\n", login())
    assert found.verdict == "failed"
    assert found.why.endswith("the kernel panicked: 'Kernel panic - not syncing: Attempted to kill init!'")


def test_a_stop_screen_is_a_failure_by_its_picture(tmp_path):
    found = seen(tmp_path, "stops", "", login())
    assert found.verdict == "failed"
    assert found.why.endswith("the console showed what looks like Windows's stop screen (assumed, by its picture)")


def test_a_guest_that_restarts_over_and_over_is_a_failure(tmp_path):
    found = seen(tmp_path, "reboots", "starting\r\n", login())
    assert found.verdict == "failed"
    assert "the guest restarted for the 4th time, before its serial port said 'login:'" in found.why


def test_a_full_overlay_says_nothing_of_the_point(tmp_path):
    path = disk(tmp_path / "disk.raw", sector("writes", "", times=0), 128 * MiB)
    found = watched(tmp_path, request(path, login()))
    assert found.verdict == "undecided"
    assert found.why.endswith(
        "the guest wrote more to Hard disk 1 than `overlay` allows (64.0 MiB for all disks): raise it"
    )
    assert 32 * MiB < found.written <= 64 * MiB + MiB


@pytest.mark.parametrize("controller", ["pvscsi", "nvme"])
def test_a_disk_that_cannot_be_read_says_nothing_of_the_point(tmp_path, controller):
    plain = request("nbd+unix:///?socket=/dev/null", login())
    on = plain.machine.model_copy(update={"disks": (boot_disk(8 * MiB).model_copy(update={"controller": controller}),)})
    with Servers() as servers:
        broken = servers.nbdkit("--filter=error", "memory", "size=8M", "error-pread-rate=100%").uri
        found = watched(tmp_path, replace(plain, machine=on, disks={2000: broken}))
    assert found.verdict == "undecided"
    assert (
        "Hard disk 1 could not be read: Input/output error" in found.why
        or "of Hard disk 1 failed beneath it" in found.why
    )


def test_a_qemu_that_ends_by_itself_is_no_verdict(tmp_path):
    what = request(disk(tmp_path / "disk.raw", sector("hangs")), login())
    with waiting(tmp_path, what) as (ctx, running):
        ending = threading.Timer(1.0, running.child.stop)
        ending.start()
        with pytest.raises(BootError, match="ended with exit code"):
            watch(ctx, running, what)
        ending.join()


def test_a_stop_ends_it_at_once(tmp_path):
    what = request(disk(tmp_path / "disk.raw", sector("hangs")), login())
    stop, heard = threading.Event(), list[Event]()
    with context(tmp_path, heard, stop) as ctx, start(ctx, LocalHost("here"), what) as running:
        threading.Timer(1.0, stop.set).start()
        with pytest.raises(Interrupted):
            watch(ctx, running, what)
    assert any(isinstance(one, NodeProgress) and one.noun == "second" for one in heard), "it shows that it lives"


def test_a_guest_that_floods_its_serial_port_is_looked_at_all_the_same(tmp_path):
    found = seen(tmp_path, "floods", "0123456789abcdef\r\n", login(within=4))
    assert found.verdict == "undecided"
    assert "the screen ends with 'Booting from Hard Disk...'" in found.why
    assert found.seconds < 60


def test_it_is_watched_the_same_on_another_host(tmp_path, ssh_host):
    what = request(disk(tmp_path / "disk.raw", sector("shows", "grub rescue> ")), login())
    with waiting(tmp_path, what, ssh_host) as (ctx, running):
        found = watch(ctx, running, what)
        assert not any(name.startswith("screen.") for name in running.host.listdir(running.directory))
    assert found.verdict == "failed"
    assert found.why.endswith("GRUB stopped at its rescue prompt: 'grub rescue>'")
    assert found.picture is not None
