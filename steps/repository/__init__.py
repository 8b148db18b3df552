"""A repository: a directory of restore points on a host, readable without this program (plain qcow2 and
JSON).

``layout`` names things, ``marker`` says what is a repository, ``vm_place`` finds a VM's directory in it,
``reader`` reads that as a ``vm_directory``, ``manifest`` describes one point, ``catalogue`` lists them.
"""
