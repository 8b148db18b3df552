"""The lab: what a backup needs besides this program, on one machine and on loopback only, for the demo and
the tests.

``daemon`` is the background process: it holds the simulated vCenter and the sshd (``sshd``) that stands for
the repository host, and answers ``control``. ``lab`` starts it, speaks to it and ends it. ``record`` is what
lab.json says, ``site`` what it writes into the directory for people to run.
"""
