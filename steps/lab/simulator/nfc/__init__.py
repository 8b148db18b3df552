"""Disks over HTTPS under a lease: what an ESXi host's NFC service and vCenter's leases do together.

``leases`` with ``lease`` (states, time-outs, what ends with one), ``import_lease`` and ``export_lease`` (what
each is about), ``device_urls`` (names of disks and files), ``transfers`` (POST, PUT and GET under /nfc),
``host_endpoint`` (the host's own port and certificate), ``stream_reader`` and ``stream_writer``
(streamOptimized).
"""
