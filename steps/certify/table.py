"""Every behaviour of the simulator that rests on reports or assumptions, in the order in which they are
tried: each leaves the scratch VM as the next one takes it."""

from __future__ import annotations

from steps.certify import of_files, of_leases, of_power, of_sessions, of_snapshots, of_specs
from steps.certify.trial import Trial, Untried

_GUEST = "it takes a guest that writes"
_LIBRARY = "it takes VMware's library"
_OWN = "it takes more than a hundred objects"

TRIALS: tuple[Trial, ...] = (
    *of_sessions.TRIALS,
    *of_snapshots.TRIALS,
    *of_files.TRIALS,
    *of_specs.TRIALS,
    *of_leases.TRIALS,
    *of_power.TRIALS,
)

UNTRIED = (
    Untried(1, "a wrong password is InvalidLogin, with its text", "it could lock the account"),
    Untried(3, "an idle session expires with its cookie", "it takes half an hour"),
    Untried(9, "a VM has 32 levels of snapshots at most", "it takes 33 snapshots"),
    Untried(10, "a VM that a task holds is TaskInProgress", "tasks of a VM without data end at once"),
    Untried(19, "areas come in pages of 2000", _GUEST),
    Untried(24, "areas are whole blocks, and may hold more than what was written", _GUEST),
    Untried(31, "VDDK opens by name, with its codes", _LIBRARY),
    Untried(32, "a host has 48 MB of buffers, a vCenter 52 connections", _LIBRARY),
    Untried(37, "100 objects are a page unasked", _OWN),
    Untried(38, "finished tasks are forgotten", "it takes ten minutes"),
    Untried(46, "a MAC address that is taken or reserved is another one", "it takes a network of yours"),
    Untried(51, "REST puts off what comes too often", "it would slow down others"),
    Untried(52, "writes through VDDK are tracked, or are not", _LIBRARY),
    Untried(54, "a disk may be left out of tracking that is on", "it cannot be brought about"),
    Untried(55, "an ESXi host has no instance uuid, and bare numbers as morefs", "this is a vCenter"),
    Untried(56, "a required property may be missing from an answer", "it cannot be brought about"),
    Untried(57, "100 objects are a page also where more are asked for", _OWN),
)
