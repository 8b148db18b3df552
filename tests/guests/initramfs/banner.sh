#!/bin/sh
# One connection to port 22: what sshd says first.
printf 'SSH-2.0-small-linux\r\n'
