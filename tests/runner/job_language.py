"""Small steps and a section, for tests of the job language: nothing of them ever runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue

from runner.base.errors import JobFileError
from runner.base.model import HOW, Duration, FilePath, HostName, JobModel, Model, SectionName
from runner.hosts.secrets import SecretRef
from runner.job.load import load
from runner.job.model import Job
from runner.step.context import Context
from runner.step.registry import Registry
from runner.step.section import Section
from runner.step.step import AnyStep, Empty, Given, Lifetime, Step


class Item(Model):
    key: int
    text: str


class Thing(Model):
    name: str
    note: str | None
    tags: dict[str, str]


class Seen(Model):
    thing: Thing
    items: tuple[Item, ...]
    pair: tuple[int, str]
    extra: JsonValue


class LookIn(JobModel):
    store: Annotated[str, SectionName("stores")]
    thing: str
    deep: bool = False
    skip: tuple[int, ...] | bool = False


class Kind(Step[Any, Any, Any]):
    example: ClassVar[str] = ""

    def run(self, ctx: Context, inputs: Any, live: Any) -> Any:
        raise NotImplementedError


class Look(Kind):
    """Looks."""

    name, lifetime, In, Out, read_only = "look", Lifetime.KEEP, LookIn, Seen, True


class LockIn(JobModel):
    thing: Thing


class Locked(Given):
    path: str


class Lock(Kind):
    """Locks."""

    name, lifetime, In, Out, guard = "lock", Lifetime.PROCESS, LockIn, Locked, True


class Options(JobModel):
    level: int = 1
    log_file: FilePath | None = None


class MakeIn(JobModel):
    item: Item
    store: Annotated[str, SectionName("stores")]
    near_host: HostName = "local"
    mode: Literal["fast", "slow"] = "fast"
    wait: Annotated[Duration, HOW] = 1.0
    threads: Annotated[int, HOW, Field(ge=1)] = 1
    label: str = ""
    file: FilePath | None = None
    options: Options = Options()
    names: tuple[str, ...] = ()


class Made(Model):
    item: Item
    path: str
    size: int


class Make(Kind):
    """Makes."""

    name, lifetime, In, Out = "make", Lifetime.KEEP, MakeIn, Made


class OpenIn(JobModel):
    made: Made


class Door(Given):
    uri: str


class Open(Kind):
    """Opens."""

    name, lifetime, In, Out = "open", Lifetime.PROCESS, OpenIn, Door


class GoIn(JobModel):
    level: int = 1


class GoLive(JobModel):
    door: Door
    spare_door: Door | None = None


class Gone(Model):
    made: Made


class Go(Kind):
    """Goes through a door."""

    name, lifetime, In, Live, Out = "go", Lifetime.KEEP, GoIn, GoLive, Gone


class JoinIn(JobModel):
    all: tuple[Gone, ...]


class Join(Kind):
    """Joins."""

    name, lifetime, In, Out = "join", Lifetime.KEEP, JoinIn, Gone


class End(Kind):
    """Ends."""

    name, lifetime, In, Out = "end", Lifetime.KEEP, Empty, Gone
    formerly = ("finish",)
    removed = {"colour": "everything is grey: remove this line"}


class Ca(JobModel):
    ca: FilePath


class Thumbprint(JobModel):
    thumbprint: str


class Rule(JobModel):
    """Which things of a store."""

    name: str | None = None
    """A pattern."""
    colour: Literal["red", "green"] | None = None
    """Its paint."""


class Store(Section):
    Rule: ClassVar[type[JobModel] | None] = Rule
    path: str
    host: HostName = "local"
    password: SecretRef | None = None
    tls: Ca | Thumbprint | None = None


KINDS: list[AnyStep] = [Look(), Lock(), Make(), Open(), Go(), Join(), End()]


class Shelf(Section):
    """Lists nothing."""

    size: int = 1


REGISTRY = Registry({kind.name: kind for kind in KINDS}, {"stores": Store})
WITH_SHELVES = Registry({kind.name: kind for kind in KINDS}, {"stores": Store, "shelves": Shelf})

HEAD = """\
version: 1
name: test
vars: {thing: one, threads: 4, list: [a, b], things: [{key: 1, text: x}], path: sub/log}
hosts:
  hub: {ssh: user@hub.example.com}
stores:
  main: {path: /srv, host: hub}
"""
"""Seven lines; `job` puts steps below."""

STEPS = """\
steps:
  - {id: look, uses: look, with: {store: main, thing: "${{ vars.thing }}"}}
  - {id: lock, uses: lock, with: {thing: "${{ look.thing }}"}}
  - {id: made, uses: make, each: {item: "${{ look.items }}"}, with: {item: "${{ item }}", store: main}}
  - {id: door, uses: open, each: {item: "${{ look.items }}"}, with: {made: "${{ made }}"}}
  - {id: gone, uses: go, each: {item: "${{ look.items }}"}, with: {door: "${{ door }}"}}
  - {id: all, uses: join, with: {all: "${{ gone }}"}, needs: [lock]}
  - {id: end, uses: end, needs: [all], when: always, retries: 0}
"""

JOB = HEAD + STEPS

SET = JOB.replace("vars: {thing: one, ", "select: {from: stores.main, as: thing, any: [{name: a*}]}\nvars: {")


def write(directory: Path, text: str | bytes, name: str = "job.yaml") -> Path:
    path = directory / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def loaded(directory: Path, text: str | bytes, overrides: Mapping[str, str] | None = None) -> Job:
    return load(write(directory, text), REGISTRY, overrides or {})


def problems(directory: Path, text: str | bytes, overrides: Mapping[str, str] | None = None) -> list[str]:
    """``7:3: sentence`` for the job file itself, ``site.yaml:7:3: sentence`` for others; empty if nothing is wrong."""
    path = write(directory, text)
    try:
        load(path, REGISTRY, overrides or {})
    except JobFileError as error:
        return [str(problem).replace(f"{path}:", "", 1).replace(f"{directory}/", "") for problem in error.problems]
    return []
