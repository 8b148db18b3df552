"""What a doctor of a machine looks for there, in case that points are drilled on it."""

from __future__ import annotations

from runner.events.check_results import Observation


class _Ovmf:
    name = "OVMF"

    def here(self) -> Observation:
        from steps.efi import ovmf

        return ovmf.here()


class _Kvm:
    name = "KVM"

    def here(self) -> Observation:
        from steps.boot import accelerator

        return accelerator.here()


OVMF, KVM = _Ovmf(), _Kvm()
"""Each a `runner.step.tools.Tool`."""
