"""What `sendense steps`, the schema for editors and `sendense validate` show of steps and sections is written beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from runner.base.field_docs import field_docs
from runner.base.model import JobModel
from runner.step.registry import Registry

REGISTRY = Registry.installed()


def within(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The model, and what people write in YAML as its fields."""
    yield model
    for info in model.model_fields.values():
        for inner in models_of(info.annotation):
            if issubclass(inner, JobModel):
                yield from within(inner)


def models_of(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_of(argument)


def without_meaning(*models: type[BaseModel]) -> set[str]:
    return {
        f"{model.__module__}.{model.__name__}.{name}"
        for outer in models
        for model in within(outer)
        for name in model.model_fields
        if not field_docs(model).get(name)
    }


@pytest.mark.parametrize("name", REGISTRY.steps)
def test_a_step_says_what_it_does_and_what_each_of_its_fields_means(name: str) -> None:
    step = REGISTRY.steps[name]
    assert type(step).__doc__
    assert step.example.startswith(f"uses: {name}")
    assert without_meaning(step.In, step.Live, step.Out) == set()


@pytest.mark.parametrize("name", REGISTRY.sections)
def test_a_section_says_what_each_of_its_fields_means(name: str) -> None:
    section = REGISTRY.sections[name]
    assert section.__doc__
    assert without_meaning(section) == set()
