"""sendense steps: the documentation of the installed steps, made from the steps themselves."""

from __future__ import annotations

import difflib
import inspect
import shutil
import sys
import types
import typing
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from runner.base.errors import UsageError
from runner.base.field_docs import field_docs
from runner.base.model import HOST, HOW, SectionName, marks_of
from runner.base.units import HOUR, parse_duration
from runner.cli.options import json_option, print_json
from runner.console import print_table
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
    if name in registry.renamed:
        raise UsageError(f"the step '{name}' was renamed to '{registry.renamed[name]}'")
    if name not in registry.steps:
        close = difflib.get_close_matches(name, registry.steps, 1)
        hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(registry.steps)}"
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
        needed = "yes" if info.is_required() else f"default {_default(info)}"
        kind = "duration" if _is_duration(info) else type_name(info.annotation)
        rows.append((info.alias or field, kind, needed, meaning))
    return rows


def _default(info: FieldInfo) -> str:
    value = info.get_default(call_default_factory=False)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == ():
        return "none"
    if isinstance(value, BaseModel):
        return "{}"
    if _is_duration(info):
        return f"{value / HOUR:g}h" if value and value % HOUR == 0 else f"{value:g}s"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_duration(info: FieldInfo) -> bool:
    return any(getattr(each, "func", None) is parse_duration for each in info.metadata)


def _marked(model: type[BaseModel], field: str) -> str:
    words = []
    for mark in marks_of(model, field):
        if mark is HOW:
            words.append("a change does not make done work stale")
        elif mark is HOST:
            words.append("a host of the job")
        elif isinstance(mark, SectionName):
            words.append(f"an entry of {mark.section}")
    return "; ".join(words)


def type_name(annotation: Any) -> str:
    """A type as people say it: ``text``, ``number``, ``list of Disk``, ``full | sample``."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is typing.Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_name(argument) for argument in arguments if argument is not type(None))
    if origin in (tuple, list):
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return "mapping"
    plain = {str: "text", int: "whole number", float: "number", bool: "true | false"}
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _first_sentence(step: AnyStep) -> str:
    text = " ".join(inspect.cleandoc(type(step).__doc__ or "").split("\n\n")[0].split())
    return text.partition(". ")[0].rstrip(".")
