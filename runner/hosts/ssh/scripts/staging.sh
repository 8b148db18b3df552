#!/bin/sh
# Sourced by what gets content: the temporary $3 goes at the end, if it is still there.

# All that is sent is read, to its end, also after a failure: see `Session.finish`.
trap 'rm -f "$3"; cat >/dev/null' EXIT
# TERM ends the script at once, also one that waits for content of a frozen runner: a trap would wait for `head`.
# What it leaves is a temporary.
trap 'exit 1' HUP INT PIPE
