"""What the fields of a model mean: the docstring below each, read from the source only when somebody asks.

(pydantic's `use_attribute_docstrings` reads every model's source when it is imported: a fifth of the start of
each command.)
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap


@functools.cache
def field_docs(model: type) -> dict[str, str]:
    """Field → its text, also of fields that `model` inherits. Empty where the source is not there."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        found |= _own(each)
    return found


def _own(model: type) -> dict[str, str]:
    try:
        source = inspect.getsource(model)
    except (OSError, TypeError):
        return {}
    (defined,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(defined, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in itertools.pairwise(defined.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
