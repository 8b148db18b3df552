"""What a job must have so that its runs may be on other machines, and on which of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.app.elsewhere import cluster_of, node_host, require_shared_records
from runner.base.errors import JobFileError, UsageError
from runner.job.fleet import DaskFleet, Fleet
from runner.job.load import load
from runner.job.model import Job, StateSpec
from runner.job.written_job import WrittenJob
from runner.sets.placement import Order
from runner.step.registry import Registry
from tests.runner.toys import REGISTRY, backup_like, job_of


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return job_of(backup_like(tmp_path))


def fleet(scheduler: str) -> Fleet:
    return Fleet(dask=DaskFleet(scheduler=scheduler, ca="ca.pem", cert="cert.pem", key="key.pem"))


def test_the_jobs_of_one_cluster_run_there(job: Job) -> None:
    there = replace(job, fleet=fleet("tls://s"))
    assert cluster_of([there, replace(there, file="other.yaml")]).scheduler == "tls://s:8786"


def test_a_job_without_a_cluster_is_told_what_it_needs(job: Job) -> None:
    with pytest.raises(
        UsageError, match=r"toy\.yaml has no cluster to run on: its site needs `fleet: .*sendense help fleet"
    ):
        cluster_of([job])


def test_jobs_of_several_clusters_are_refused(job: Job) -> None:
    one, other = replace(job, fleet=fleet("tls://s")), replace(job, file="b.yaml", fleet=fleet("tls://t"))
    with pytest.raises(UsageError, match="several clusters"):
        cluster_of([one, other])


def test_records_on_whichever_machine_runs_the_job_are_refused(job: Job) -> None:
    with pytest.raises(UsageError, match="no other could resume them"):
        require_shared_records(job)
    require_shared_records(replace(job, state=StateSpec(host="local", path="/mnt/state")))


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("tcp://s:8786", "plain TCP is refused"),
        ("s:8786", "write tls://HOST:PORT"),
        ("tls://", "write tls://HOST:PORT"),
        ("tls://s:99999", "write tls://HOST:PORT"),
    ],
)
def test_a_scheduler_without_tls_is_refused_in_the_job_file(tmp_path: Path, address: str, sentence: str) -> None:
    path = tmp_path / "job.yaml"
    text = f"fleet: {{dask: {{scheduler: '{address}', ca: a, cert: b, key: c}}}}"
    path.write_text(f"version: 1\nname: toy\n{text}\nsteps: [{{id: look, uses: look, with: {{root: /r}}}}]\n")
    with pytest.raises(JobFileError, match=rf"job\.yaml:3:\d+: .*{sentence}"):
        load(path, REGISTRY, {})


def test_paths_of_certificates_are_relative_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    text = "fleet: {dask: {scheduler: 'tls://[::1]:9', ca: fleet/ca.pem, cert: b, key: c}}"
    path.write_text(f"version: 1\nname: toy\n{text}\nsteps: [{{id: look, uses: look, with: {{root: /r}}}}]\n")
    found: Any = load(path, REGISTRY, {}).fleet
    assert (found.dask.ca, found.dask.scheduler) == (str(tmp_path / "fleet/ca.pem"), "tls://[::1]:9")


SITE = """
version: 1
name: nightly
template: backup
hosts: {store: {ssh: backup@store.example.com}, north: local, near: {ssh: backup@near.example.com}}
vcenters: {prod: {server: v.example.com, username: u, password: {env: P}, tls: {ca: ca.pem}}}
repositories: {main: {host: store, path: /backup}}
state: {in: repositories.main}
vars: {vm: pgtest1, vcenter: prod, repository: main, node: NODE}
"""


@pytest.mark.parametrize(("node", "host"), [("north", "north"), ("local", ""), ("near", "")])
def test_a_node_host_that_is_local_under_a_name_of_its_own_is_a_workers(tmp_path: Path, node: str, host: str) -> None:
    """A host behind ssh is reached from any worker."""
    path = tmp_path / "job.yaml"
    path.write_text(SITE.replace("NODE", node))
    assert node_host(load(path, Registry.installed(), {})) == host


def test_what_goes_to_a_worker_names_a_secret_and_does_not_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VCENTER_PASSWORD", "hunter2-of-the-vcenter")
    prod = {
        "server": "vcenter.example.com",
        "username": "backup",
        "password": {"env": "VCENTER_PASSWORD"},
        "tls": {"thumbprint": ":".join(["AB"] * 32)},
    }
    document = {
        "version": 1,
        "template": "backup",
        "name": "gold",
        "vcenters": {"prod": prod},
        "repositories": {"main": {"host": "local", "path": "/backup"}},
        "vars": {"vcenter": "prod", "vm": "ash", "repository": "main", "transport": "https"},
    }
    path = tmp_path / "gold.yaml"
    path.write_text(yaml.safe_dump(document))
    order = Order(**dict(WrittenJob.of(load(path, Registry.installed(), {}))), key="k", called="k", nodes=1)
    said = order.model_dump_json()
    assert "VCENTER_PASSWORD" in said and "hunter2" not in said
