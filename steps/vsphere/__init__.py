"""A vCenter: the client (the only room with pyVmomi in it), the sources that read its disks, and a simulator of one.

``section`` is what a job says of a vCenter, ``tls`` how its certificate is verified, ``session`` one login, ``client``
what steps talk to. On the client stand ``find``, ``machine`` and ``snapshots``; ``hardware`` and ``configuration`` turn
the API's objects into values; ``folder`` is the datastore's files over HTTPS. Steps see values only, never pyVmomi's.
"""
