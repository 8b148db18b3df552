#!/bin/sh
# Sourced by what gets content: a script that stood still for so long that nobody waits for it any more must not
# come through later, over what was written since. $6 is how long it may take, in hundredths of a second.

# Time counts from before the session began: that of the boot goes on while the machine is frozen.
read -r began _ </proc/uptime
longest=$6

# Fails, with words, if that is over.
in_time() {
    read -r now _ </proc/uptime
    [ $((${now%.*}${now#*.} - ${began%.*}${began#*.})) -lt "$longest" ] || { echo "it came too late" >&2; return 1; }
}
