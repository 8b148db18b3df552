"""Memory for blocks: taken when it is used, given back when nothing refers to it."""

from pathlib import Path

from runner.base.units import KiB, MiB
from steps.copy.buffers import buffers
from steps.copy.extents import BLOCK


def _memory(what: str) -> int:
    """Bytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * KiB for line in lines if line.startswith(f"{what}:"))


def test_each_buffer_is_a_block_of_its_own() -> None:
    many = buffers(3)
    for number, buffer in enumerate(many):
        buffer[:] = bytes([number]) * BLOCK
    assert [bytes(buffer) for buffer in many] == [bytes([number]) * BLOCK for number in range(3)]


def test_memory_is_taken_by_those_that_are_used_and_given_back_with_the_last() -> None:
    used, mapped = _memory("VmRSS"), _memory("VmSize")
    many = buffers(256)
    assert _memory("VmRSS") - used < 64 * MiB
    many[7][:] = b"x" * BLOCK
    assert _memory("VmRSS") - used < 64 * MiB
    assert _memory("VmSize") - mapped >= 256 * MiB
    many.clear()
    assert _memory("VmSize") - mapped < 64 * MiB
