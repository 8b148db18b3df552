#!/bin/sh
# What udhcpc calls with what it was leased: leased EVENT, and $interface, $ip and $mask in the environment.
# shellcheck disable=SC2154
case $1 in
bound | renew) ip address replace "$ip/$mask" dev "$interface" ;;
esac
