"""Templates → text. jinja2 lives here only.

What ships with the product stands in `templates/` and `jobs/`: at the root of a checkout, inside the package
in a wheel.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    import jinja2

JOB_TEMPLATE = ".yaml.j2"

_FRONT = re.compile(r"\{#- variables\n(?P<front>.*?)#\}", re.DOTALL)
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}")
_BARE_IN_YAML = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What a double-quoted YAML text must escape: controls, the line breaks of other alphabets, surrogates, the
byte order mark and what is no character. (All others as a negated set take 3 ms to compile.)"""


def shipped(name: str) -> Path:
    """``shipped("templates/backup.yaml.j2")``, ``shipped("jobs")``."""
    package = Path(__file__).parents[1]
    root = package / "shipped"
    return (root if root.is_dir() else package.parent) / name


def job_templates() -> tuple[str, ...]:
    """The names that a job file's `template` can have."""
    return tuple(
        sorted(path.name.removesuffix(JOB_TEMPLATE) for path in shipped("templates").glob(f"*{JOB_TEMPLATE}"))
    )


def template_text(name: str) -> str:
    return shipped(f"templates/{name}{JOB_TEMPLATE}").read_text(encoding="utf-8")


def template_front(name: str) -> str:
    """The YAML of the block that says which variables a job template has."""
    found = _FRONT.search(template_text(name))
    return found["front"] if found else "{}"


def template_summary(name: str) -> str:
    """The comment that a job template begins with."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), template_text(name).splitlines())
    return " ".join(line.lstrip("# ") for line in lines)


def render_template(name: str, values: Mapping[str, JsonValue]) -> str:
    """The job template as YAML, line for line; all of `values` together are `variables` there. Inserted
    values are quoted, so that a name with a colon in it stays a name; ``${{ }}`` passes untouched."""
    # Lines stay where they are, so that a mistake is told in the line of the template's own file.
    body = _FRONT.sub(lambda front: "\n" * front[0].count("\n"), template_text(name))
    # `${{ x }}` holds what jinja2 takes for its own braces.
    body = _EXPRESSION.sub(lambda expression: f"{{% raw %}}{expression[0]}{{% endraw %}}", body)
    return _job_environment().from_string(body).render({**values, "variables": dict(values)})


def render_report(name: str, values: Mapping[str, object]) -> str:
    """Any other template: ``report.html.j2`` (values are escaped for HTML), ``report.md.j2`` …"""
    return _report_environment().get_template(name).render(values)


def quoted(value: object) -> str:
    """As JSON, which is YAML too once what JSON does not escape is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return _BARE_IN_YAML.sub(lambda bare: f"\\u{ord(bare[0]):04x}", text)


@lru_cache(maxsize=1)
def _job_environment() -> jinja2.Environment:
    import jinja2
    import jinja2.sandbox

    def written(value: object) -> str:
        # That of an undefined one raises UndefinedError, which names it.
        return str(value) if isinstance(value, jinja2.Undefined) else quoted(value)

    # Undefined is an error: a variable that a template misspells would be an empty text in a job. Sandboxed,
    # though templates are ours: values come from files of branches that nobody has reviewed.
    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        undefined=jinja2.StrictUndefined, autoescape=False, finalize=written, keep_trailing_newline=True
    )


@lru_cache(maxsize=1)
def _report_environment() -> jinja2.Environment:
    import jinja2
    import jinja2.sandbox

    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(shipped("templates")),
        undefined=jinja2.StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith((".html", ".html.j2")),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
