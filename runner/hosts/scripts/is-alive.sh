#!/bin/sh
# Whether the process of the identity $1 is there: exits with 0, else 1.
. ./identity.sh
[ "$1" = "$(identity "${1%% *}")" ]
