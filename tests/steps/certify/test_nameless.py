"""What a vCenter says, without what tells whose it is."""

from __future__ import annotations

import pytest

from steps.certify.nameless import nameless

NAMES = ("payroll", "DC1", "ds1", "vcenter.example.com", "sendense-certify-20261130T170000Z-00000000")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param(
            "The object 'vim.vm.Snapshot:snapshot-35' has already been deleted or has not been completely created",
            "The object … has already been deleted or has not been completely created",
            id="quoted",
        ),
        pytest.param("Error caused by file /vmfs/volumes/5f0c-77/db/db.vmdk", "Error caused by file …", id="path"),
        pytest.param("The file [ds1] db/db.vmdk cannot be opened", "The file … cannot be opened", id="file"),
        pytest.param("no room on payroll and DC1", "no room on … and …", id="names that are known"),
        pytest.param("host esx7.corp.internal at 10.1.2.3 refused", "host … at … refused", id="host and address"),
        pytest.param("fe80::1 is no", "… is no", id="IPv6"),
        pytest.param("uuid 4237c1f0-1d2e-5b6a-8f1a-0123456789ab taken", "uuid … taken", id="uuid"),
        pytest.param("MAC 00:50:56:ab:cd:ef conflicts", "MAC … conflicts", id="MAC"),
        pytest.param("account backup@vsphere.local lacks it", "account … lacks it", id="account"),
        pytest.param("task-71 of vm-16 runs", "… of … runs", id="morefs"),
        pytest.param("A specified parameter was not correct: startOffset", None, id="nothing of it"),
        pytest.param("it ends at 16777216 of 25165824 bytes", None, id="numbers"),
        pytest.param("status 404 for a flat file on VMFS", None, id="a status"),
    ],
)
def test_names_addresses_and_uuids_are_left_out(text, left):
    assert nameless(text, NAMES) == (text if left is None else left)


def test_what_is_long_is_cut():
    assert len(nameless("x " * 1000, ())) == 300
