"""Another machine behind sshd, as a host. Fabric and paramiko live here only.

``login`` opens a connection, ``connections`` keeps as many as are needed, ``session`` is one command on one
of them, ``command_line`` is what sshd is given for it and ``preamble`` what the account prints before it,
``files`` are the file verbs as small shell scripts, ``host`` puts them together. Bulk data goes through
OpenSSH, see `runner.hosts.tunnel`: paramiko pumps a forward in Python (measured: 21.7 s for 1 GiB, OpenSSH
3.5 s).

Files go through commands, not SFTP: version 3 of it has one code for every failure (a full disk is "Failure")
and no fsync of directories, paramiko forgets the errors of pipelined writes, its client is not safe between
threads, and a script does in one round trip what takes SFTP five. The server needs a POSIX ``sh``, whatever
the account's login shell is, and GNU coreutils.
"""
