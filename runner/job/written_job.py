"""A job that travels: written out, with what is known of it beside its text. It is run by another process, or
worked on when its file may be gone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from runner.base.errors import JobFileError, UsageError
from runner.base.model import Model
from runner.job.load import load
from runner.job.model import ChildOf, Job
from runner.job.writer import write_out
from runner.step.registry import Registry


class WrittenJob(Model):
    """No secret is in it: they are references, and are resolved where it is worked on."""

    name: str
    """`Job.name`"""
    set: str = ""
    """Empty for a job that is no child of a set."""
    item: str = ""
    job: str
    """The job written out, as `sendense render` shows it, paths absolute: YAML."""
    file: str
    """The set's job file, or the job's, for records and for the command lines that messages name."""
    digest: str
    """Of the files that it was read from, `Job.digest`."""
    digests: dict[str, str]
    given: tuple[str, ...] = ()
    """`Job.given`"""

    @classmethod
    def of(cls, job: Job) -> WrittenJob:
        child = job.child_of
        return cls(
            name=job.name,
            set=child.set if child else "",
            item=child.item if child else "",
            job=write_out(job),
            file=job.file,
            digest=job.digest,
            digests=dict(job.digests),
            given=tuple(sorted(job.given)),
        )

    def read(self, registry: Registry) -> Job:
        """Raises UsageError where this sendense refuses it."""
        try:
            job = load(Path(self.file), registry, {}, content=lambda path: self.job.encode())
        except JobFileError as error:
            raise UsageError(
                f"the job {self.name}, as it was written out, is none here ({error.problems[0].message}): "
                "install the version of sendense, and the packages with steps, that wrote it"
            ) from error
        return replace(
            job,
            digest=self.digest,
            digests=self.digests,
            given=frozenset(self.given),
            child_of=ChildOf(self.set, self.item) if self.set else None,
        )
