"""Copies that are pulled: by a run on the host that keeps them, with a key of its own. Whoever has all keys of the first
host, or is the first host, has no way to the second."""

from __future__ import annotations

import getpass
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from steps.lab.sshd import Sshd
from steps.repository import marker
from tests.chain import Chain
from tests.hub import Hub
from tests.steps.copying.conftest import HOST, run, site_of

pytestmark = pytest.mark.slow

NO_WAY_BACK = {"PermitListen": "none", "AllowStreamLocalForwarding": "local", "AllowAgentForwarding": "no"}
"""What the first host is reached through leads nowhere but there: nothing of the second is forwarded to it."""


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "first", NO_WAY_BACK)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "second")
    server.start()
    yield server
    server.stop()


def test_no_key_of_the_first_host_opens_the_second_that_pulls_from_it(
    hub: Hub, first: Sshd, second: Sshd, tmp_path: Path
) -> None:
    chain = Chain(Path(hub.root))
    chain.add({2000: None}, {2000: ((0, 512, 1),)})
    there = Chain(tmp_path / "pulled" / "copies", reference=chain.reference)
    there.root.parent.mkdir()
    marker.init(HOST, str(there.root))
    puller = tmp_path / "second" / "puller"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", puller], check=True)
    with (tmp_path / "first" / "authorized_keys").open("a") as keys:
        keys.write(f"restrict,port-forwarding {puller.with_suffix('.pub').read_text()}")
    site = site_of(chain.root, there.root)
    away = {
        "ssh": first.spec.ssh,
        "port": first.port,
        "identity": {"file": str(puller)},
        "host-key": first.host_key,
    }
    text = site.read_text().replace("hosts: {hub: local}", f"hosts: {{hub: local, away: {json.dumps(away)}}}")
    site.write_text(text.replace("main: {host: hub", "main: {host: away"))

    assert run(site) == 0
    assert there.whole() == set(chain.points)
    assert first.logins() >= 1
    assert second.logins() == 0, "the first has no business there"
    for key in ("client", "host"):
        assert login(tmp_path / "first" / key, second) == 255
    assert "Accepted" not in second.log()
    assert login(tmp_path / "second" / "client", second) == 0, "else no key does"


def login(key: Path, to: Sshd) -> int:
    options = ("-F/dev/null", "-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=no")
    known = "-oUserKnownHostsFile=/dev/null"
    argv = ["ssh", *options, known, f"-i{key}", f"-p{to.port}", f"{getpass.getuser()}@127.0.0.1", "true"]
    return subprocess.run(argv, capture_output=True, check=False, timeout=60).returncode
