"""The engine: jobs, graphs, checkpoints, hosts. It knows nothing of VMs, disks or vSphere.

Floors, imports go down only: ``cli`` → ``app`` → (``steps``) → ``executor``, ``plan`` … → ``hosts`` → the
ground floor (``model errors events units files process secrets render``).
"""

__version__ = "0.1.0"
