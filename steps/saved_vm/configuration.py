"""A VM's saved configuration, as `configuration.as_json` wrote it. Any property may be unset."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pydantic import JsonValue

from runner.base.errors import StateError
from steps.vsphere.names import datastore_file

Json = Mapping[str, JsonValue]

DISK = "VirtualDisk"


@dataclass(frozen=True)
class Device:
    json: Json

    @property
    def key(self) -> int:
        return number(self.json, "key") or 0

    @property
    def type(self) -> str:
        """The API's: ``VirtualVmxnet3``."""
        return text(self.json, "_type")

    @property
    def label(self) -> str:
        return text(part(self.json, "deviceInfo"), "label") or f"{self.type} {self.key}"

    @property
    def controller(self) -> int | None:
        return number(self.json, "controllerKey")

    @property
    def unit(self) -> int | None:
        return number(self.json, "unitNumber")

    @property
    def backing(self) -> Json:
        return part(self.json, "backing")

    @property
    def base(self) -> Json:
        """The lowest of a chain of backings: the file that no snapshot made."""
        found = self.backing
        while part(found, "parent"):
            found = part(found, "parent")
        return found


@dataclass(frozen=True)
class Saved:
    json: Json

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        return tuple(Device(one) for one in parts(part(self.json, "hardware"), "device"))

    def device(self, key: int | None) -> Device | None:
        return next((one for one in self.devices if one.key == key), None)

    @property
    def disks(self) -> tuple[Device, ...]:
        return tuple(one for one in self.devices if one.type == DISK)

    @property
    def extra_config(self) -> dict[str, str]:
        """Advanced settings with their values, which go nowhere but into a VM."""
        return {
            text(one, "key"): str(one.get("value", ""))
            for one in parts(self.json, "extraConfig")
            if text(one, "key")
        }

    @property
    def annotation(self) -> str:
        return text(self.json, "annotation")

    @property
    def encrypted(self) -> bool:
        """The VM's own files; of its disks, each says it for itself."""
        return bool(part(self.json, "keyId"))

    @property
    def firmware(self) -> str:
        return text(self.json, "firmware") or "bios"

    @property
    def home(self) -> str:
        """The datastore that its configuration file was on; empty where that is not told."""
        file = text(part(self.json, "files"), "vmPathName")
        return datastore_of(file)


def parse(content: bytes, where: str) -> Saved:
    """Raises StateError for what is no configuration."""
    try:
        found = json.loads(content)
    except ValueError as error:
        raise StateError(f"{where} is damaged: it is no JSON ({error})") from None
    if not isinstance(found, dict) or not isinstance(found.get("hardware"), dict):
        raise StateError(f"{where} is damaged: it has no hardware in it")
    return Saved(found)


def datastore_of(file: str) -> str:
    """Of ``[ds] dir/x.vmdk``; empty for no file."""
    return datastore_file(file).datastore if file.startswith("[") else ""


def text(of: Json, name: str) -> str:
    found = of.get(name)
    return found if isinstance(found, str) else ""


def number(of: Json, name: str) -> int | None:
    found = of.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def part(of: Json, name: str) -> Json:
    found = of.get(name)
    return found if isinstance(found, dict) else {}


def parts(of: Json, name: str) -> Iterator[Json]:
    found = of.get(name)
    yield from (one for one in (found if isinstance(found, list) else ()) if isinstance(one, dict))
