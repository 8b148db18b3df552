"""What a real vCenter does and the simulator must do too, as far as we depend on it, and VMware's library, for which there is
a stand-in; each is a test that carries the mark

    @pytest.mark.behaviour(NUMBER, BASIS)

A basis is `documented` (VMware's API reference, guides and knowledge base), `reported` (seen by users of a real one, or in
the code of programs that talk to one) or `assumed` (neither was found: a real one may differ here).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BEHAVIOURS = {
    1: ("a wrong password is InvalidLogin, with its text", {"documented", "reported"}),
    2: ("every call without a session is NotAuthenticated, of the root folder and System.View", {"reported"}),
    3: ("an idle session expires with its cookie, and a used one does not", {"reported"}),
    4: ("each method and each part of a reconfiguration takes its privilege; NoPermission names it", {"documented"}),
    5: ("one name and one SMBIOS uuid may be in two folders; names are escaped", {"documented"}),
    6: ("a snapshot keeps file names and keys, the live disk moves to a delta", {"documented", "reported"}),
    7: ("deltas are numbered by the files present: a freed number returns", {"documented"}),
    8: ("independent disks are left alone, and none may be there for a memory snapshot", {"documented"}),
    9: ("a snapshot fails in its task: shared bus, depth, no space", {"documented", "assumed"}),
    10: ("a VM that a task holds is TaskInProgress, with the task", {"documented", "reported"}),
    11: ("quiescing works, is ignored, or fails and leaves no snapshot", {"documented"}),
    12: ("`snapshot` is unset once the last one is gone", {"documented"}),
    13: ("a merge that fails drops the snapshot and leaves the delta to be consolidated", {"documented"}),
    14: ("a call on a snapshot that is gone is ManagedObjectNotFound, with its text", {"documented", "reported"}),
    15: ("tracking starts at the next stun of a running VM, at once in one that is off", {"documented", "reported"}),
    16: ("changeId is unset in snapshots from before, and on disks that cannot be tracked", {"documented"}),
    17: ("a changeId is 16 spaced bytes with one dash and a number that rises", {"reported"}),
    18: ("an old changeId is answered after its snapshot is gone", {"reported"}),
    19: ("areas come in pages of 2000, whose length ends where the next begins", {"reported", "assumed"}),
    20: ("asking from the end of the disk on is InvalidArgument startOffset", {"documented", "reported"}),
    21: ("a malformed changeId, an unknown disk, another VM's snapshot are refused", {"documented", "assumed"}),
    22: ("a changeId of other or later tracking, or none at all, is FileFault with a key", {"reported", "assumed"}),
    23: ('"*" gives what is allocated on VMFS, and everything elsewhere', {"documented", "reported"}),
    24: ("areas are whole blocks, and may hold more than what was written", {"documented", "assumed"}),
    25: ("tracking starts over after power loss, off and on, revert and extension", {"documented", "assumed"}),
    26: ("asking without a snapshot is for a VM that is off", {"documented", "assumed"}),
    27: ("/folder answers GET, HEAD, PUT, DELETE, Range, Basic, cookies, listings", {"documented", "reported"}),
    28: ("/folder takes names escaped once or twice; 404 for what is not there", {"reported"}),
    29: ("the file that a running VM writes is refused until a snapshot froze it", {"reported", "assumed"}),
    30: ("a ticket opens /folder once, for its own method and URL", {"documented"}),
    31: (
        "VDDK opens by name; its codes for a wrong thumbprint, a live file, no file, no rights",
        {"documented", "reported"},
    ),
    32: (
        "an ESXi host has 48 MB of buffers, a vCenter 52 connections; beyond is NFC error 5",
        {"documented", "reported"},
    ),
    35: (
        "a lease is initializing, ready, done; without progress it times out after 300 s and its VM goes",
        {"documented", "reported", "assumed"},
    ),
    33: (
        "a new VM's keys are the server's; devices that every VM has and a disk's parent are refused",
        {"documented", "assumed"},
    ),
    34: ("a VM that cannot be made fails in its task, and nothing is left", {"documented"}),
    36: ("unset is absent, forbidden is in missingSet, unknown or gone fails the call", {"documented"}),
    37: ("objects and updates come in pages, a token works once, a time-out is nothing", {"documented", "reported"}),
    38: ("finished tasks are forgotten; layoutEx sends no updates", {"documented", "reported"}),
    39: ("a lease comes always; what cannot be made is its error, and leaves nothing", {"documented"}),
    40: (
        "device urls have keys by controller, bus and unit; a host of their own, or *; its thumbprint",
        {"documented", "reported"},
    ),
    41: ("what is uploaded is a stream, or refused; the capacity is the stream's", {"reported", "assumed"}),
    42: ("the manifest says what came in, right or wrong", {"documented"}),
    43: ("what a lease made goes with it, however it ends", {"documented", "reported", "assumed"}),
    44: ("files that are created come by PUT, disks by POST", {"reported", "assumed"}),
    45: (
        "a spec's devices hang on what is there; boot order, npiv and a missing image are refused",
        {"documented", "reported"},
    ),
    46: (
        "a MAC is kept if it is of its range and free; a reserved one keeps a VM from starting",
        {"documented", "reported"},
    ),
    47: (
        "turning several VMs on may succeed while they are off, and says what was not tried",
        {"documented", "reported"},
    ),
    48: ("a power-on hangs until its question is answered, once", {"documented"}),
    49: (
        "a setting is read by its name; 100 objects are a page unasked; a token is its session's",
        {"documented", "reported"},
    ),
    50: ("custom attributes have keys that are never used again, and values where one was written", {"documented"}),
    51: (
        "REST under /api and /rest, each with its bodies and errors; 401; 550 sessions; 429 and 503; batches leave out",
        {"documented", "reported", "assumed"},
    ),
    52: ("VDDK's writes are refused while the VM is on, and tracking sees them or does not", {"assumed"}),
    53: (
        "events tell what became of a VM; one's own comes back with the server's key and time; filters by type id",
        {"documented"},
    ),
    54: (
        "a disk may be left out of tracking that is on; off, a snapshot, and on brings it back, but not beside a snapshot",
        {"reported", "assumed"},
    ),
    55: (
        "an ESXi host has no instance uuid but its hardware's, and bare numbers as morefs",
        {"documented", "reported"},
    ),
    57: ("100 objects are a page also where more are asked for", {"assumed"}),
    58: (
        "a VM in a vApp has no folder, a template no pool, a fault tolerance secondary role 2; config may be unset",
        {"documented"},
    ),
    60: ("a reconfiguration adds, extends and removes disks and devices, all or nothing", {"documented"}),
    61: (
        "destroying removes the disks that are attached; what runs is neither destroyed nor unregistered",
        {"documented"},
    ),
    59: ("of what has a tag, only objects that the user may read are told", {"documented"}),
    56: ("a property that the API requires may be missing from an answer all the same", {"assumed"}),
}
"""Number: what, and on what it rests. Those that concern what we do not call are left out."""


def marks() -> Iterator[tuple[int, str]]:
    steps = Path(__file__).parents[2]
    of_library = (steps / "source" / "test_vddk.py", steps / "source" / "test_open_disks.py")
    for file in (*Path(__file__).parent.glob("test_sim_*.py"), *of_library):
        for node in ast.parse(file.read_text()).body:
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.behaviour":
                    number, basis = (ast.literal_eval(argument) for argument in mark.args)
                    yield number, basis


@pytest.mark.parametrize("number", [pytest.param(number, id=what) for number, (what, _) in BEHAVIOURS.items()])
def test_a_test_shows_that_the_simulator_does_it(number):
    found = {basis for marked, basis in marks() if marked == number}
    assert found == BEHAVIOURS[number][1], "tests are marked with another basis than the table says, or there is none"


def test_every_mark_is_in_the_table():
    assert {number for number, _ in marks()} == set(BEHAVIOURS)
