"""qemu-img: create, look at and check images on a host.

Facts about options, exit codes and JSON fields are from qemu's manual (qemu-img(1)) and QAPI schema
(block-core.json: ImageInfo, ImageCheck).
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from pydantic import ConfigDict, Field, ValidationError

from runner.base.errors import CommandError, SendenseError
from runner.base.model import Model
from runner.base.units import HOUR, KiB, MiB
from runner.hosts.files import SYNC_TIMEOUT, NoSpaceError
from runner.hosts.host import Host, portions
from runner.hosts.script import load
from runner.step.tools import Program

FORMAT = "qcow2"

QEMU_IMG = Program(
    program="qemu-img",
    asks=("qemu-img", "--version"),
    answers=r"^qemu-img version (\d+\.\d+\S*)",
    minimum=(4, 0),  # of one version with qemu-nbd, see there
    package="qemu-utils",
    purpose="disks that are read or written here",
)

SECTOR = 512
"""qcow2 counts its size in sectors: qemu-img silently rounds any other size up."""

CLUSTER = 64 * KiB
"""Equal to the block size of VMware's changed-block tracking on all but the largest disks, so that an overlay
stores what changed and little more. One size for all disks: qemu's limits on the L1 table (32 MiB) and
refcount table (8 MiB) are both reached at 2 PiB with it, beyond the 62 TiB that VMFS allows; the tables of an
empty 64 TiB image take 1.2 MiB."""

COMPRESSED_CLUSTER = MiB
"""A cluster is compressed by itself: small ones hardly shrink. Nothing else here has this size."""

QUICK = 60.0
CHECK_TIMEOUT = 2 * HOUR
"""`check` reads every L2 and refcount table: 8 GiB + 2 GiB for a full 64 TiB image, minutes on a slow
disk."""

COMPARE_TIMEOUT = 2 * HOUR

_CORRUPTIONS, _LEAKS, _UNSUPPORTED = 2, 3, 63
_DIFFERENT = 1

_MAKE_EMPTY = load("steps/qemu/scripts/make-empty.sh")
_CREATE = load("steps/qemu/scripts/create.sh")
_INFO = load("steps/qemu/scripts/info.sh")


class _Answer(Model):
    """JSON of qemu-img, which has more fields than are used here, other ones in every version."""

    model_config = ConfigDict(extra="ignore", alias_generator=lambda name: name.replace("_", "-"))


class _Qcow2(_Answer):
    corrupt: bool = False
    data_file: str | None = None


class _Specific(_Answer):
    data: _Qcow2 = _Qcow2()


class ImageInfo(_Answer):
    """Sizes in bytes."""

    format: str
    virtual_size: int
    actual_size: int = 0
    """What it takes on the file system."""
    cluster_size: int | None = None
    backing_file: str | None = Field(default=None, alias="backing-filename")
    """As written in the image; None for an image without one."""
    backing_format: str | None = Field(default=None, alias="backing-filename-format")
    format_specific: _Specific = _Specific()

    @property
    def corrupt(self) -> bool:
        """qemu marked it so while it was in use."""
        return self.format_specific.data.corrupt

    @property
    def data_file(self) -> str | None:
        """Another file that holds this image's data, as written in the image."""
        return self.format_specific.data.data_file


class CheckReport(_Answer):
    """Counts of clusters. Leaks waste space; corruptions lose data."""

    leaks: int = 0
    corruptions: int = 0
    check_errors: int = 0


AnswerT = TypeVar("AnswerT", bound=_Answer)


class BadImageError(SendenseError):
    """The file is no qcow2 image or cannot be checked as one."""


def create(host: Host, path: str, size: int, *, backing: str | None = None) -> None:
    """An empty image of exactly `size` bytes; only the owner can read it. `backing` is a name relative to the
    image's directory. An existing file is replaced. It and its name are durable. Raises BadImageError,
    CommandError, NoSpaceError."""
    if size <= 0 or size % SECTOR:
        raise BadImageError(
            f"a qcow2 image cannot have exactly {size} bytes; its size must be a multiple of {SECTOR}"
        )
    options = f"compat=1.1,cluster_size={CLUSTER},preallocation=off,lazy_refcounts=off"
    below = () if backing is None else ("-b", backing, "-F", FORMAT)
    told = ("-q", "-f", FORMAT, "-o", options, *below, path, str(size))
    argv = _CREATE.argv(path, posixpath.dirname(path) or ".", *told)
    _make(host, path, argv, ("qemu-img", "create", *told))


def make_empty(host: Host, path: str, size: int = 0) -> None:
    """A file of `size` zero bytes that only the owner can read, all of it a hole; one that is there is
    replaced. A kill leaves nothing beside it. Raises CommandError, NoSpaceError."""
    _make(host, path, _MAKE_EMPTY.argv(path, str(size)), ("truncate", "-s", str(size), path))


def _make(host: Host, path: str, argv: Sequence[str], shown: Sequence[str]) -> None:
    """`shown` is the command of the script that a failure is told of."""
    # It syncs: on a disk that others copy to, the journal's turn comes late.
    done = host.run(argv, timeout=SYNC_TIMEOUT, ok=None)
    if is_full(done.stderr):
        raise NoSpaceError(host.name, path)
    if done.exit_code:
        raise CommandError(host.name, shown, done.exit_code, done.stderr)


def info(host: Host, path: str, *, force_share: bool = False) -> ImageInfo:
    """`force_share` looks at an image that an exporter has open for writing. Raises BadImageError if qemu-img
    cannot open it as qcow2, and if it is no regular file, CommandError."""
    return _infos(host, (path,), "-U" if force_share else "")[0]


def infos(host: Host, paths: Sequence[str]) -> tuple[ImageInfo, ...]:
    """`info` of each, in as few requests to the host as may be; backing files are not opened.
    Raises BadImageError, CommandError."""
    return tuple(found for some in portions(paths) for found in _infos(host, some, "-U"))


def _infos(host: Host, paths: Sequence[str], share: str) -> tuple[ImageInfo, ...]:
    done = host.run(_INFO.argv(share, FORMAT, *paths), timeout=QUICK + len(paths), ok=(0, 1))
    answers = list(_documents(done.stdout.decode(errors="replace")))
    if done.exit_code or len(answers) != len(paths):
        raise _refused(host, paths[min(len(answers), len(paths) - 1)], "opened", done.stderr)
    return tuple(
        _parse(ImageInfo, path, answer.encode()) for path, answer in zip(paths, answers, strict=True)
    )


def _documents(text: str) -> Iterator[str]:
    """The JSON documents that `text` is a row of."""
    decoder, at = json.JSONDecoder(), 0
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        try:
            _, end = decoder.raw_decode(text, at)
        except ValueError:
            return  # who asks counts them
        yield text[at:end]
        at = end


def check(host: Host, path: str, *, force_share: bool = False) -> CheckReport:
    """Compares the image's tables with one another; its data is not read. Leaks and corruptions are counted,
    not raised.

    With a writing exporter the answer needs `force_share` and is a snapshot in motion; beside a read-only
    exporter it is sound. Raises BadImageError if qemu-img cannot check it at all.
    """
    flags = ("-U",) if force_share else ()
    argv = ("qemu-img", "check", "--output=json", "-f", FORMAT, *flags, path)
    done = host.run(argv, timeout=CHECK_TIMEOUT, ok=(0, 1, _CORRUPTIONS, _LEAKS, _UNSUPPORTED))
    if done.exit_code in (1, _UNSUPPORTED) and not done.stdout.strip():
        raise _refused(host, path, "checked", done.stderr)
    return _parse(CheckReport, path, done.stdout)


def equals(host: Host, path: str, raw: str) -> bool:
    """Whether the image at `path` has the bytes of the raw file, and no others. Raises BadImageError,
    CommandError."""
    found = host.stat(raw)
    # `compare` takes a longer one for equal if what is more in it is zero; its -s also wants the same holes.
    if found is None or found.size != info(host, path).virtual_size:
        return False
    argv = ("qemu-img", "compare", "-q", "-f", FORMAT, "-F", "raw", path, raw)
    return host.run(argv, timeout=COMPARE_TIMEOUT, ok=(0, _DIFFERENT)).exit_code == 0


def convert_argv(uri: str, path: str, subformat: str) -> tuple[str, ...]:
    """The command line that writes what is served at `uri` into a VMDK at `path`, from start to end: a
    `subformat` of ``streamOptimized`` can be written no other way. It tells how far it is on standard output,
    see `percent`."""
    return ("qemu-img", "convert", "-p", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", uri, path)


def repack_argv(images: Sequence[str], new: str, *, backing: str | None, compress: bool) -> tuple[str, ...]:
    """Writes the first of `images`, each lying on the next one, into `new`: what it holds itself, onto
    `backing`, or with none all of it."""
    options = {"driver": FORMAT, "file.driver": "file", "file.filename": images[-1]}
    for path in reversed(images[:-1]):
        below = {f"backing.{name}": value for name, value in options.items()}
        options = {"driver": FORMAT, "file.driver": "file", "file.filename": path} | below
    source = ",".join(f"{name}={value.replace(',', ',,')}" for name, value in options.items())
    if compress:
        told: tuple[str, ...] = (
            "-c",
            "-o",
            f"compat=1.1,compression_type=zstd,cluster_size={COMPRESSED_CLUSTER}",
        )
    else:
        told = ("-o", f"compat=1.1,cluster_size={CLUSTER}")
    keeps = () if backing is None else ("-B", backing, "-F", FORMAT)
    return ("qemu-img", "convert", "--image-opts", "-O", FORMAT, *told, *keeps, source, new)


def percent(said: str) -> float:
    """How far a `convert -p` is that said this much."""
    found = re.findall(r"\((\d+\.\d+)/100%\)", said)
    return float(found[-1]) if found else 0.0


def is_full(stderr: str) -> bool:
    """Whether a command that failed found no space left."""
    return "No space left on device" in stderr or "Disk quota exceeded" in stderr


def version(host: Host) -> str:
    """Of qemu-img on `host`, such as ``7.2.22``; it comes in one package with qemu-nbd. Raises
    CommandError."""
    first = (
        host.run(("qemu-img", "--version"), timeout=QUICK).stdout.decode(errors="replace").partition("\n")[0]
    )
    found = re.search(r"version (\d[\w.+~-]*)", first)
    return found[1] if found else first


def _refused(host: Host, path: str, verb: str, stderr: str) -> BadImageError:
    said = " ".join(stderr.split()) or "qemu-img said nothing"
    return BadImageError(f"{path} on {host.name} cannot be {verb} as a qcow2 image: {said}")


def _parse(kind: type[AnswerT], path: str, stdout: bytes) -> AnswerT:
    try:
        return kind.model_validate_json(stdout)
    except ValidationError as error:
        raise BadImageError(f"qemu-img answered something unexpected about {path}: {error}") from error
