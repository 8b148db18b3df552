"""sendense templates: the standard jobs and their variables, as the templates themselves say."""

from __future__ import annotations

import sys

import click
from pydantic import JsonValue

from runner.base.annotations import fields, model_of
from runner.base.errors import UsageError
from runner.base.render import job_templates, template_summary
from runner.base.suggestion import did_you_mean
from runner.cli.options import json_option, print_json
from runner.cli.steps import paragraphs, type_name
from runner.console.tables import print_table
from runner.job.template_variables import Variable, declared
from runner.job.writer import flow
from runner.step.registry import Registry

MOST_KEYS = 2
"""Of a mapping, that a table has room for; the JSON Schema has them all."""


def _beginning(context: click.Context, argument: click.Parameter, begun: str) -> list[str]:
    return [name for name in job_templates() if name.startswith(begun)]


@click.command()
@click.argument("name", required=False, shell_complete=_beginning)
@json_option
def templates(name: str | None, as_json: bool) -> None:
    """List the standard jobs, or show the variables of one.

    Of NAME it shows each variable with its type, its default and what it means. A job sets them in `vars`.
    """
    known = job_templates()
    if name is None:
        rows = [(each, template_summary(each)) for each in known]
        if as_json:
            found = [{"name": each, "summary": text} for each, text in rows]
            print_json({"schema_version": 1, "templates": found})
        else:
            print_table("Templates", ("template", "what it is for"), rows, stream=sys.stdout)
        return
    if name not in known:
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise UsageError(f"there is no template '{name}'{hint}")
    registry = Registry.installed()
    if as_json:
        variables = [_document(one, registry) for one in declared(name).values()]
        print_json(
            {"schema_version": 1, "name": name, "summary": template_summary(name), "variables": variables}
        )
        return
    click.echo(paragraphs(f"{name}: {template_summary(name)}") + "\n")
    rows4 = [
        (one.name, _type(one, registry), _default(one), _meaning(one)) for one in declared(name).values()
    ]
    print_table("Variables (vars:)", ("name", "type", "default", "meaning"), rows4, stream=sys.stdout)
    needed = ", ".join(
        f"{one.name}: …" for one in declared(name).values() if one.needed and one.only_with is None
    )
    click.echo(f"\nA job\n  version: 1\n  include: site.yaml\n  template: {name}\n  vars: {{{needed}}}")


def _document(variable: Variable, registry: Registry) -> dict[str, JsonValue]:
    return {
        "name": variable.name,
        "type": _type(variable, registry),
        "needed": variable.needed,
        "default": variable.default,
        "only_with": variable.only_with,
        "meaning": variable.about,
    }


def _type(variable: Variable, registry: Registry) -> str:
    """As people say it: ``text``, ``duration``, ``{points, days}``."""
    annotation = variable.annotation(registry)
    if (model := model_of(annotation)) is not None:
        some = [*list(fields(model))[:MOST_KEYS], *(["…"] if len(fields(model)) > MOST_KEYS else [])]
        return f"{{{', '.join(some)}}}"
    return type_name(annotation)


def _default(variable: Variable) -> str:
    if variable.needed:
        return "needed"
    if variable.default is None:
        return "none"
    return variable.default if isinstance(variable.default, str) else flow(variable.default)


def _meaning(variable: Variable) -> str:
    return (
        variable.about
        if variable.only_with is None
        else (f"{variable.about} Only used with {variable.only_with}.")
    )
