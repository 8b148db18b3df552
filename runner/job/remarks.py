"""What entries of sections remark on how a job uses them: no mistakes, and yet not what it seems to say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from runner.base.errors import Problem
from runner.base.yaml_nodes import Location
from runner.job.inputs import told_values
from runner.job.problems import Written
from runner.job.steps import WrittenSteps
from runner.step.registry import Registry
from runner.step.section import Section, Use


@dataclass(frozen=True)
class Remarks:
    """On `written`, whose variables have the values of `scope`, and were set at `vars_at`."""

    written: WrittenSteps
    registry: Registry
    scope: Mapping[str, JsonValue]
    vars_at: Mapping[str, Location]
    template: Location | None
    """Where the job names it: what stands in a template alone is nobody's line."""

    def of(self, entry: Section, name: str) -> Iterator[Problem]:
        for remark in entry.remarks(name, self._uses):
            yield self._at(remark.step, remark.field).problem(remark.text)

    @cached_property
    def _uses(self) -> tuple[Use, ...]:
        return tuple(
            Use(
                step.spec.id,
                step.spec.uses,
                told_values(step.spec, self.registry.steps[step.spec.uses], self.scope),
            )
            for step in self.written.steps
        )

    def _at(self, step: str, field: str) -> Location:
        (one,) = (one for one in self.written.steps if one.spec.id == step)
        kind = self.registry.steps[one.spec.uses]
        spelled = kind.In.model_fields[field].alias or field
        at = Written(one.with_node, self.vars_at).at((spelled,))
        of_template = at.file.startswith("template ")
        return self.template if of_template and self.template is not None else at
