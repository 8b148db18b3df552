"""Bytes from one block device to another, proven: extents, endpoints (NBD, memory), the copy, digests, the
ledger.

It knows no kind of step and no vSphere. Of the engine it uses errors, units and waiting (`runner.base`), the
writing of files (`runner.hosts.files`) and how a binding that is missing is reported (`runner.step.tools`).

    extents.py    (pure) runs of zeroes and of content, windows, blocks
    endpoint.py   the protocol of what can be copied from and to; its errors
    nbd.py        a connection over NBD; libnbd lives here only
    nbd_endpoint.py    one or more of them                memory.py   endpoints in memory
    traffic.py    requests in flight on several connections, in one event loop; stop and stall
    extent_walk.py     what a disk's next pieces are, asked a window at a time
    engine.py     copy()            compare.py   compare()
    differences.py     all that differs, not only the first
    changes.py    what changed since the parent     earlier.py   what the target is known to hold
    overlay.py    an image on a parent, as a target
    patch.py      reading of blocks that changed in part
    buffers.py    memory for the blocks on their way
    digests.py    the BLAKE3 of every 1 MiB block, as a sparse file
    ledger.py     the flushed ranges of a copy, as a file that survives a crash
"""
