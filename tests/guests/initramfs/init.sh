#!/bin/sh
# First process of the small Linux of the tests. It loads the drivers of the controllers that it finds, prints the SHA-256
# of a file on its disk and a login prompt on the serial port and the console, and answers on port 22 as sshd would.
#
# What it is told to do else stands on the disk, in the partition "options", as lines; `small_linux.told` writes them:
#   address A/N        a static address of its first network card, instead of DHCP's
#   silent             prints nothing at all
#   panic              the kernel panics instead of printing
#   power-off          turns itself off after the hash, before the prompt
#   flood              prints on the serial port without end, after the prompt
#   write N            writes N MiB onto the disk, again and again over its partition "scratch", after the prompt
#   dial A:P …         tries to reach these addresses by TCP, and one by DNS and ICMP, after the prompt
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys

say() { echo "$*" >/dev/ttyS0; echo "$*" >/dev/tty0; }
option() { sed -n "s/^$1 *//p" /options; }
has() { grep -q "^$1" /options; }

# shellcheck disable=SC2046  # a word each
modprobe -a $(cat /sys/bus/pci/devices/*/modalias) sd_mod vfat nls_cp437 nls_ascii 2>/dev/null

# The partition "files" is the second of its disk, "options" the third, "scratch" the fourth. A VM may have other disks.
tries=0
until files=$(findfs LABEL=FILES 2>/dev/null); do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { say "no disk with a file system FILES was found"; break; }
    usleep 20000
done
disk=${files%2}
dd if="${disk}3" count=1 2>/dev/null | tr -d '\000' >/options

# The kernel panics when its first process ends.
! has panic || exit 1
if ! has silent; then
    mount -t vfat -o ro "$files" /mnt && cp /mnt/payload /payload && umount /mnt
    say "SHA256 $(sha256sum /payload | cut -d ' ' -f 1)"
    ! has power-off || poweroff -f
    say "small-linux login:"
fi

ip link set lo up
set -- /sys/class/net/e*
card=${1##*/}
if [ -e "$1" ]; then
    ip link set "$card" up
    if has address; then
        ip address add "$(option address)" dev "$card"
    else
        udhcpc -i "$card" -n -q -f -t 5 -T 1 -s /bin/leased >/dev/null 2>&1
    fi
    nc -ll -p 22 -e /bin/banner &
fi

if has dial; then
    for target in $(option dial); do
        : | nc -w 2 "${target%:*}" "${target##*:}" >/dev/null 2>&1 && say "REACHED $target"
    done
    nslookup example.com 10.0.2.3 >/dev/null 2>&1 && say "REACHED a name server"
    ping -c 1 -W 1 10.0.2.2 >/dev/null 2>&1 && say "REACHED the gateway"
    say "DIALLED"
fi
if has write; then
    left=$(option write)
    places=$(($(cat "/sys/class/block/${disk##*/}4/size") / 8192))
    while [ "$left" -gt 0 ]; do
        dd if=/payload of="${disk}4" bs=4M seek=$((left % places)) conv=fsync 2>/dev/null || say "the disk refuses to be written"
        left=$((left - 4))
    done
    say "WRITTEN"
fi
! has flood || yes "0123456789abcdef" >/dev/ttyS0
while :; do sleep 3600; done
