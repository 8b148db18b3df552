"""A whole run through VDDK: the standard backup, with an ESXi host that has buffers for one disk only."""

from pathlib import Path

from runner.events.events import Event, NodeFinished, NodeRetrying
from steps.vsphere.section import VCenter
from steps.vsphere.tls import sha1_thumbprint, trust
from tests.e2e.site import Site, disk, inventory, processes
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "6 MiB", 0, 1), disk(2001, "4 MiB", 1, 2), disk(2002, "3 MiB", 2, 3)]}
)
KEYS = (2000, 2001, 2002)


class Library:
    """Tells the stand-in what to expect as soon as the run knows it, and looks at everything for the password."""

    def __init__(self, site: Site, vddk: Vddk) -> None:
        self.password = Path(site.lab.record.vcenter.password_file).read_text().strip()
        self._site, self._vddk = site, vddk
        self._vm = ""
        self.seen: list[str] = []

    def __call__(self, event: Event) -> None:
        if not isinstance(event, NodeFinished):
            return
        if event.node == "snapshot":
            self._expect(str(event.output["vm"]), str(event.output["moref"]))
        if event.node.startswith("source"):
            self.seen += [" ".join(argv) for _, argv in processes() if str(self._vddk.libdir) in " ".join(argv)]

    def _expect(self, vm: str, snapshot: str) -> None:
        at = self._site.lab.record.vcenter
        value = {"server": at.server, "port": at.port, "username": at.username, "tls": {"ca": at.ca}}
        section = VCenter.from_json_value({**value, "password": {"file": at.password_file}})
        self._vddk.expect(
            user=at.username,
            password=self.password,
            thumbprint=sha1_thumbprint(section, trust(section)),
            vm=f"moref={vm}",
            snapshot=snapshot,
            transports="nbdssl",
            root=str(self._site.source("vm", 2000).parents[2]),
            nfc="1",
            crowd="yes",  # else one may be done before the next begins
        )


def test_three_disks_of_an_esxi_host_with_buffers_for_one_are_all_backed_up(site: Site, vddk: Vddk) -> None:
    library = Library(site, vddk)
    settings = {"transport": "vddk", "vddk_libdir": str(vddk.libdir), "vddk_plugin": vddk.plugin}
    ran = site.run("vm", library, **settings)
    assert ran.exit_code == 0, ran.error
    (point,) = ran.points()
    assert site.images_equal_sources("vm", point, KEYS)
    refused = [e.error for e in ran.events if isinstance(e, NodeRetrying) and "no NFC buffers left" in e.error]
    assert refused
    assert library.seen
    assert not [line for line in library.seen if library.password in line]
    told = point.joinpath("manifest.json").read_text() + "".join(event.model_dump_json() for event in ran.events)
    assert library.password not in told
    assert site.snapshots() == []
