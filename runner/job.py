"""YAML → Job: every mistake at once, each with file, line, column and, where there is one, what was meant."""

from __future__ import annotations

from runner.job_model import LOCAL, Job, Location, StateSpec, StepSpec

__all__ = ["LOCAL", "Job", "Location", "StateSpec", "StepSpec"]
