#!/bin/sh
# Sourced first by each file verb of an SSH host: failures are told in the C locale's words on standard error
# (runner/hosts/ssh/files.py reads them), and what is made is its user's alone.
export LC_ALL=C
umask 077
