"""A vCenter as steps use it. Only here and in the simulator (`steps.lab.simulator`) is pyVmomi imported:
``vmomi`` hands it out.

``section`` is what a job says of a vCenter, ``tls`` how its certificate is verified, ``session`` one login,
``client`` what steps talk to, in ``soap`` over ``transport``, which bounds what may come back. On the client
stand ``find``, ``machine``, ``datastores`` and ``snapshots``; ``hardware`` and ``configuration`` turn the
API's objects into values, ``unset`` says what one lacks; ``folder`` is the datastore's files over HTTPS.
Steps see values only, never pyVmomi's.
"""
