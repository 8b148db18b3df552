"""What is wrong with a value that was written in YAML: pydantic's errors → sentences with positions.

The sentences never quote a value where any text is allowed: the mistake may be a secret in the place of its
reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from runner.base.annotations import bare, element, field, fields, members, model_of, required, spelled
from runner.base.errors import Problem
from runner.base.model import adapter_of
from runner.base.suggestion import closest, did_you_mean
from runner.base.yaml_nodes import Location, Node, Scalar, Sequence, kind_of
from runner.base.yaml_nodes import Mapping as MappingNode
from runner.job.expressions import ExpressionError, whole

Path = tuple[str | int, ...]

_OF_STEP = re.compile(r"step (?P<step>[^:\s]+): (?P<rest>.*)", re.DOTALL)

_SUBJECT = re.compile(r"^(Input|String|List|Tuple|Value|Number|Dictionary) (?=should )")


def each_once(problems: Iterable[Problem]) -> list[Problem]:
    """What several steps say of one value becomes one problem that names them."""
    found: dict[Problem, list[str]] = {}
    # A variable that is wrong is told where it was set, by each step that uses it.
    for problem in problems:
        said = _OF_STEP.fullmatch(problem.message)
        steps = found.setdefault(replace(problem, message=said["rest"]) if said else problem, [])
        if said and said["step"] not in steps:
            steps.append(said["step"])
    return [replace(problem, message=_of_steps(steps) + problem.message) for problem, steps in found.items()]


def _of_steps(steps: list[str]) -> str:
    if len(steps) < 2:
        return "".join(f"step {step}: " for step in steps)
    return f"steps {', '.join(steps[:-1])} and {steps[-1]}: "


def one_of(words: Iterable[str]) -> str:
    """``a, b or c``"""
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


@dataclass(frozen=True)
class Written:
    """Where a value stands: its node, and where the job's variables were set, since a field that is one
    variable is fixed there."""

    node: Node
    vars_at: Mapping[str, Location]

    def at(self, path: Path, *, key: bool = False) -> Location:
        """Of the value at `path`, or of what is nearest above it; `key`: of its key."""
        node = self.node
        location = node.at
        for number, part in enumerate(path):
            if isinstance(node, MappingNode) and part in node.entries:
                entry = node.entries[str(part)]
                location, node = entry.node.at, entry.node
                if key and number == len(path) - 1:
                    return entry.at
            elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                location = node.at
            else:
                break
        return self._variable(node) or location

    def _variable(self, node: Node) -> Location | None:
        if not isinstance(node, Scalar) or not isinstance(node.value, str):
            return None
        try:
            reference = whole(node.value)
        except ExpressionError:
            return None  # said where expressions are checked
        if reference is None or reference.root != "vars" or not reference.path:
            return None
        return self.vars_at.get(str(reference.path[0]))


def check_value(
    annotation: Any, value: JsonValue, written: Written, owner: str, *, later: Collection[Path] = ()
) -> tuple[Any, list[Problem]]:
    """The validated value and no problems, or None and the problems; `owner` begins the sentences. What is at
    a path in `later` may be absent or of another type: it comes with the run."""
    # By way of JSON: strictly, a list would be no tuple and a text no path where values are Python's.
    try:
        return adapter_of(annotation).validate_json(json.dumps(value), strict=True), []
    except ValidationError as error:
        found = [_complaint(each, annotation, value) for each in error.errors(include_url=False)]
        due = [each for each in found if each and not _is_about(each.path, later)]
        return None, _problems(list(dict.fromkeys(due)), written, owner)


def _is_about(path: Path, later: Collection[Path]) -> bool:
    """Whether what is wrong at `path` may be so because of what comes later: that is there, or below it."""
    return path != () and any(each[: len(path)] == path for each in later)


def _problems(complaints: list[_Complaint], written: Written, owner: str) -> list[Problem]:
    meant = {(*each.path[:-1], each.suggests) for each in complaints if each.suggests}
    problems = []
    for each in complaints:
        if each.missing and each.path in meant:
            continue  # "did you mean" has said it
        # What is missing stands nowhere, so the mapping's place; an unknown key has no value that were wrong.
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in each.path).lstrip(".")
        at = written.at(each.path[:-1]) if each.missing else written.at(each.path, key=each.unknown)
        words = (owner, each.sentence) if each.unknown or not path else (owner, path, each.sentence)
        problems.append(at.problem(f"{words[0]}: {' '.join(words[1:])}"))
    return problems


@dataclass(frozen=True)
class _Complaint:
    path: Path
    sentence: str
    missing: bool = False
    unknown: bool = False
    suggests: str = ""
    """The key that an unknown key was probably meant to be."""


def _complaint(error: ErrorDetails, annotation: Any, value: JsonValue) -> _Complaint | None:
    """None for what a union says of those members that were not meant."""
    path: list[str | int] = []
    # pydantic's `loc` is a path through the value, but for unions: at each stands the label of a member
    # (a model's name, or such as `tuple[str, ...]`), and every member has errors of its own.
    location = list(error["loc"])
    while location:
        several = [member for member in members(annotation) if _is_value(member)]
        if len(several) > 1:
            chosen = _meant(several, value)
            if chosen is None:
                return _Complaint(tuple(path), _alternatives(several, value))
            # Of all members' errors those of the one that was meant are told.
            label = str(location.pop(0))
            name = getattr(model_of(chosen), "__name__", None)
            if label != name if name else not label.startswith(("tuple", "list", "dict")):
                return None
            annotation = chosen
            continue
        annotation = several[0] if several else annotation
        part = location.pop(0)
        path.append(part)
        inner = element(annotation, part) if isinstance(part, int) else field(annotation, part)
        if error["type"] in ("missing", "extra_forbidden") and not location:
            return _key_complaint(error["type"], tuple(path), annotation)
        annotation = Any if inner is None else inner
        value = _inside(value, part)
    several = [member for member in members(annotation) if _is_value(member)]
    if len(several) > 1 and _meant(several, value) is None:
        return _Complaint(tuple(path), _alternatives(several, value))
    return _Complaint(tuple(path), _sentence(error, value))


def _key_complaint(kind: str, path: Path, annotation: Any) -> _Complaint:
    key = str(path[-1])
    if kind == "missing":
        return _Complaint(path, "is missing", missing=True)
    model = model_of(annotation)
    known = list(fields(model)) if model else []
    hint = did_you_mean(key, known) or (f"; known are {', '.join(known)}" if known else "")
    return _Complaint(path, f"unknown key '{key}'{hint}", unknown=True, suggests=closest(key, known) or "")


def _sentence(error: ErrorDetails, value: JsonValue) -> str:
    match error["type"]:
        case "string_type" if isinstance(value, bool | int | float):
            return f"should be text, and this is {kind_of(value)}: put it in quotes"
        case "string_type":
            return f"should be text, not {kind_of(value)}"
        case "int_type" | "int_parsing" | "int_from_float":
            return f"should be a whole number, not {kind_of(value)}"
        case "float_type" | "float_parsing":
            return f"should be a number, not {kind_of(value)}"
        case "bool_type" | "bool_parsing":
            return f"should be true or false, not {kind_of(value)}"
        case "tuple_type" | "list_type" | "set_type" | "frozen_set_type":
            return f"should be a list, not {kind_of(value)}"
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"should be a mapping, not {kind_of(value)}"
        case "literal_error" | "enum":
            expected = str(error.get("ctx", {}).get("expected", ""))
            shown = f", not '{value}'" if isinstance(value, str | int) and len(str(value)) < 40 else ""
            hint = did_you_mean(str(value), expected.replace("'", "").replace(" or ", ", ").split(", "))
            return f"should be {expected}{shown}{hint}"
        case "value_error":
            return f"is wrong: {error['ctx']['error']}"
        case _:
            return _SUBJECT.sub("", error["msg"])


def _meant(several: list[Any], value: JsonValue) -> Any | None:
    """The member of a union that the author of `value` had in mind, if one stands out."""
    if isinstance(value, list):
        lists = [member for member in several if element(member) is not None]
        return lists[0] if len(lists) == 1 else None
    if not isinstance(value, dict):
        return None
    models = [(member, model) for member in several if (model := model_of(member)) is not None]
    if len(models) == 1:
        return models[0][0]
    # The one with which it shares most keys: of `{ca: …, thumbprnt: …}` it is unknown.
    shared = {id(member): len(value.keys() & fields(model).keys()) for member, model in models}
    most = max(shared.values(), default=0)
    best = [member for member, _ in models if shared[id(member)] == most]
    return best[0] if len(best) == 1 and most else None


def _alternatives(several: list[Any], value: JsonValue) -> str:
    models = [model for member in several if (model := model_of(member)) is not None]
    shapes = [_shape(model) if (model := model_of(member)) else spelled(member) for member in several]
    sentence = f"should be {one_of(dict.fromkeys(shapes))}"
    if isinstance(value, dict) and models:
        keys = [key for model in models for key in fields(model)]
        hints = (did_you_mean(key, keys) for key in value if key not in keys)
        return sentence + next((hint for hint in hints if hint), "")
    words = [
        word for member in several if get_origin(bare(member)) is Literal for word in get_args(bare(member))
    ]
    return f"{sentence}, not {kind_of(value)}{did_you_mean(value, words) if isinstance(value, str) else ''}"


def _shape(model: type[BaseModel]) -> str:
    return f"{{{', '.join(f'{name}: …' for name in required(model))}}}"


def _inside(value: JsonValue, part: str | int) -> JsonValue:
    if isinstance(value, dict):
        return value.get(str(part))
    return value[part] if isinstance(value, list) and isinstance(part, int) and part < len(value) else None


def _is_value(member: Any) -> bool:
    return bare(member) is not type(None)
