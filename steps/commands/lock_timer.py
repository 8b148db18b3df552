"""sendense lock-timer: what root of a repository's host runs, so that no runner can delete a point."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from runner.app.options import read_job
from runner.base.errors import UsageError
from runner.cli.options import job_options, options_from
from runner.cli.work import Work
from runner.hosts.spec import SshSpec
from runner.job.model import Job
from steps.commands.asked import site_argument
from steps.lock.timer import INSTALL, LockTimer
from steps.repository.section import Repository


@click.command("lock-timer", cls=Work)
@site_argument
@click.option("--repository", metavar="NAME", help="Which of the job's repositories, if several have a lock.")
@click.option(
    "--account",
    metavar="NAME",
    help="The account on the host that the repository belongs to.  [default: that which the job logs in as]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the files into DIR instead, for what installs them elsewhere.",
)
@job_options
def lock_timer(
    site: Path,
    repository: str | None,
    account: str | None,
    out: Path | None,
    settings: tuple[str, ...],
    state: Path | None,
) -> None:
    """Print a script that installs the lock of a repository.

    Read it, then run it as root on the repository's host:

        sendense lock-timer site.yaml | ssh root@store sh

    It installs a systemd timer that makes every restore point immutable until its `lock:` has ended. The
    account that runners log in as cannot undo that. Run it again after `lock:` was changed: a longer one
    holds for points that are locked already, a shorter one for new ones only.
    """
    job = read_job(site, options_from(settings, state), part=True)
    name, entry, lock = _locked(job, repository)
    if account is None:
        account = _account(job, entry)
    texts = LockTimer(name, entry.path, account, lock).texts()
    if out is None:
        print(texts[INSTALL], end="")
        return
    out.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (out / file).write_text(text)
        print(out / file)


def _locked(job: Job, only: str | None) -> tuple[str, Repository, float]:
    """The repository that is meant, with its lock in seconds. Raises UsageError."""
    entries = {
        name: entry
        for name, entry in job.sections.get("repositories", {}).items()
        if isinstance(entry, Repository)
    }
    if only is not None and only not in entries:
        raise UsageError(f"{job.file} has no repository {only!r}; it has {', '.join(entries) or 'none'}")
    asked = {name: entry for name, entry in entries.items() if only in (None, name)}
    locks = {name: entry.lock for name, entry in asked.items() if entry.lock}
    if not locks:
        names = ", ".join(asked) or "none"
        raise UsageError(
            f"{job.file} locks nothing in its repositories ({names}): add `lock: 30d` to one of them"
        )
    if len(locks) > 1:
        raise UsageError(
            f"{job.file} has several repositories with a lock: say --repository {next(iter(locks))}"
        )
    name, lock = next(iter(locks.items()))
    return name, asked[name], lock


def _account(job: Job, entry: Repository) -> str:
    """Raises UsageError."""
    spec = job.hosts[entry.host]
    if isinstance(spec, SshSpec):
        account, at, _ = spec.ssh.rpartition("@")
        if at:
            return account
        raise UsageError(
            f"the job does not say which account it logs in as at {spec.ssh}: give it by --account"
        )
    if (account := getpass.getuser()) == "root":
        raise UsageError(
            "a repository of root's cannot be locked against root: give its account by --account"
        )
    return account
