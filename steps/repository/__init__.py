"""A repository: a directory of restore points on a host, readable without this program (plain qcow2 and
JSON).

``layout`` names things, ``marker`` says what is a repository, ``vm_directory`` finds a VM's place in it,
``manifest`` describes one point, ``catalogue`` lists them.
"""
