"""The backup: one file for each kind of step, named as in YAML; below them what they stand on.

``vsphere`` (a vCenter), ``qemu`` (images and exporters), ``copy`` (bytes from NBD to NBD), ``repository``
(restore points).
"""
