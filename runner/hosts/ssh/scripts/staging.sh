#!/bin/sh
# Sourced by what gets content: the temporary $3 is removed at the end, if it is still there.

# By a name of its own: where a function exits, bash runs the trap with the function's arguments.
temporary=$3
# All that is sent is read, to its end, also after a failure: see `Session.finish`.
trap 'rm -f "$temporary"; cat >/dev/null' EXIT
# TERM ends the script at once, also one that waits for content of a frozen runner: a trap would wait for `head`.
# What it leaves is a temporary.
trap 'exit 1' HUP INT PIPE
