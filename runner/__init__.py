"""The engine: jobs, graphs, checkpoints, hosts. It knows nothing of VMs, disks or vSphere.

Which room sees which is a table in `tests/test_floors.py`; each room says in its `__init__` what it is for.
"""

__version__ = "0.1.0"
