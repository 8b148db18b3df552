"""sendense steps: the documentation of the installed steps, made from the steps themselves."""

from __future__ import annotations

import inspect
import shutil
import sys
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runner.base.annotations import bare, fields, members, spelled
from runner.base.errors import UsageError
from runner.base.field_docs import field_docs
from runner.base.model import HOST, HOW, SectionName, marks_of
from runner.base.suggestion import did_you_mean
from runner.base.units import HOUR, human_bytes
from runner.cli.options import json_option, print_json
from runner.console.tables import print_table
from runner.step.registry import Registry
from runner.step.step import AnyStep

WIDTH = 100
"""Characters of a line of text: more is hard to read."""


def paragraphs(text: str) -> str:
    """Broken at the terminal's width, or `WIDTH` on a wider one."""
    return click.wrap_text(text, min(WIDTH, shutil.get_terminal_size().columns), preserve_paragraphs=True)


def _beginning(context: click.Context, argument: click.Parameter, begun: str) -> list[str]:
    return [name for name in Registry.installed().steps if name.startswith(begun)]


@click.command()
@click.argument("name", required=False, shell_complete=_beginning)
@json_option
def steps(name: str | None, as_json: bool) -> None:
    """List the installed steps, or show one.

    Of NAME it shows the inputs, the outputs, what it fails with, and an example.
    """
    registry = Registry.installed()
    if name is None:
        rows = [(key, step.lifetime.value, _first_sentence(step)) for key, step in registry.steps.items()]
        if as_json:
            print_json(
                {
                    "schema_version": 1,
                    "steps": [dict(zip(("name", "lifetime", "summary"), row, strict=True)) for row in rows],
                }
            )
        else:
            print_table("Steps", ("step", "lifetime", "what it does"), rows, stream=sys.stdout)
        return
    if name not in registry.steps:
        if name in registry.renamed:
            raise UsageError(f"the step '{name}' was renamed to '{registry.renamed[name]}'")
        hint = did_you_mean(name, registry.steps) or f"; there are {', '.join(registry.steps)}"
        raise UsageError(f"there is no step '{name}'{hint}")
    step = registry.steps[name]
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "name": name,
                "lifetime": step.lifetime.value,
                "inputs": step.In.model_json_schema(),
                "live": step.Live.model_json_schema(),
                "outputs": step.Out.model_json_schema(),
                "errors": list(step.errors),
                "example": step.example,
            }
        )
        return
    _show(name, step)


def _show(name: str, step: AnyStep) -> None:
    click.echo(f"{name} ({step.lifetime.value})\n")
    click.echo(paragraphs(inspect.cleandoc(type(step).__doc__ or "")) + "\n")
    inputs = [*_rows(step.In, ""), *_rows(step.Live, "from an open process")]
    columns = ("name", "type", "needed", "meaning")
    print_table("Inputs (with:)", columns, inputs, stream=sys.stdout)
    click.echo()
    print_table(
        "Outputs",
        ("name", "type", "meaning"),
        [(row[0], row[1], row[3]) for row in _rows(step.Out, "")],
        stream=sys.stdout,
    )
    click.echo()
    if step.errors:
        click.echo("Fails with")
        for error in step.errors:
            click.echo(f"  - {error}")
        click.echo()
    click.echo(f"Example\n  {step.example}")


def _rows(model: type[BaseModel], remark: str) -> list[tuple[str, str, str, str]]:
    rows = []
    for field, info in model.model_fields.items():
        words = " ".join(field_docs(model).get(field, "").split()).rstrip(".")
        meaning = "; ".join(filter(None, (words, _marked(model, field), remark)))
        spelled_so = info.alias or field
        kind = type_name(fields(model)[spelled_so])
        needed = "yes" if info.is_required() else f"default {_default(info, kind)}"
        rows.append((spelled_so, kind, needed, meaning))
    return rows


def _default(info: FieldInfo, kind: str) -> str:
    value = info.get_default(call_default_factory=False)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == ():
        return "none"
    if isinstance(value, BaseModel):
        return "{}"
    if kind == "size":
        return human_bytes(value)
    if kind == "duration":
        return f"{value / HOUR:g}h" if value and value % HOUR == 0 else f"{value:g}s"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _marked(model: type[BaseModel], field: str) -> str:
    words = []
    for mark in marks_of(model, field):
        if mark is HOW:
            words.append("changing it does not repeat completed work")
        elif mark is HOST:
            words.append("a host of the job")
        elif isinstance(mark, SectionName):
            words.append(f"an entry of {mark.section}")
    return "; ".join(words)


def type_name(annotation: Any) -> str:
    """A type as people say it: ``text``, ``number``, ``list of Disk``, ``full | sample``. That it may be
    nothing, a default says."""
    several = [member for member in members(annotation) if bare(member) is not type(None)]
    return " | ".join(dict.fromkeys(spelled(member, "|") for member in several))


def _first_sentence(step: AnyStep) -> str:
    text = " ".join(inspect.cleandoc(type(step).__doc__ or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".")
