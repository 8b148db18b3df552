"""Where the secrets are that a job's steps need: for who has to bring them there (CI, systemd)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from runner.app.inspection import named_by
from runner.hosts.secrets import FromEnv, FromExec, FromFile, SecretRef
from runner.job.children import any_child
from runner.job.model import Job


def secrets_named(job: Job) -> tuple[SecretRef, ...]:
    """Each once; of a set, those of its children too. Of hosts and entries those that its steps name; a site
    file has others' too."""
    lists: list[Any] = []
    if job.select is not None:
        lists = [job.sections[job.select.section][job.select.entry]]
        job = any_child(job)
    hosts, sections = named_by(job)
    named = lists + [job.sections[section][name] for section, name in sections]
    named += [job.hosts[name] for name in hosts]
    # What stands at the top of the file is the job's, though others have it too.
    named += [
        value for field in dataclasses.fields(job) if isinstance(value := getattr(job, field.name), BaseModel)
    ]
    return tuple(dict.fromkeys(_in(named)))


def _in(value: Any) -> Iterator[SecretRef]:
    match value:
        case FromEnv() | FromFile() | FromExec():
            yield value
        case BaseModel():
            yield from _in([getattr(value, name) for name in type(value).model_fields])
        case Mapping():
            yield from _in(value.values())
        case str() | bytes():
            pass
        case Iterable():
            for one in value:
                yield from _in(one)
