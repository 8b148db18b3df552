"""Disks over HTTPS under a lease: what vCenter's leases and an ESXi host's NFC service do together.

``service`` puts it together: ``leases`` with ``lease`` (states, time-outs, what ends with one),
``import_lease`` and ``export_lease`` (what each is about) and ``target`` (one file, with its names);
``transfers`` (POST, PUT and GET) with ``disk_upload`` and ``tally``, at a ``host_endpoint`` of its own;
``stream_reader`` and ``stream_writer`` of what ``stream_format`` describes (streamOptimized).
"""
