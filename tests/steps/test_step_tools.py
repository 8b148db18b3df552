"""The programs that steps name answer as their patterns expect, asked of the real ones."""

import shutil

import pytest

from runner.hosts.local import LocalHost
from runner.step.registry import Registry
from runner.step.tools import Binding, Program

TOOLS = Registry.installed().tools()
NO_PROGRAMS = ("KVM", "OVMF")
"""A device and files: they have no version of their own."""


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_of_an_installed_step_tells_its_version(tool: Program | Binding) -> None:
    if isinstance(tool, Program) and shutil.which(tool.program) is None:
        pytest.skip(f"this machine has no {tool.program}")
    if tool.name in NO_PROGRAMS:
        assert tool.here().found
        return
    told = tool.version() if isinstance(tool, Binding) else tool.version_on(LocalHost("local"))
    assert any(letter.isdigit() for letter in told)


def test_the_steps_of_a_backup_and_a_restore_name_what_they_run() -> None:
    assert [tool.name for tool in TOOLS] == [
        "KVM",
        "OVMF",
        "b3sum",
        "guestfish",
        "libnbd's Python binding",
        "nbdkit",
        "nbdkit with its curl plugin",
        "qemu-img",
        "qemu-nbd",
        "qemu-system-x86_64",
    ]


@pytest.mark.parametrize("step", ["verify", "verify-point"])
def test_what_reads_images_back_names_all_that_it_runs(step: str) -> None:
    named = {tool.name for tool in Registry.installed().steps[step].tools}
    assert named == {"b3sum", "libnbd's Python binding", "qemu-img", "qemu-nbd"}
