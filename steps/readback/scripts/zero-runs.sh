#!/bin/sh
# Prints which blocks of an image read as zero, as its tables say: FIRST COUNT of each run of them, in blocks, and at
# the end `end OFFSET`, how far it looked.
#
#   $1  bytes a block
#   $2  the image, in qemu's JSON
#   $3  where to begin, at the start of a block
#   $4  where to end, at the start of a block or at the image's end
#
# Without the last line it has failed.
#
# qemu-img prints an extent a line, which may be as small as a cluster: what is sent from here are whole blocks.
qemu-img map --output=json -U --start-offset="$3" --max-length="$(($4 - $3))" "json:$2" | awk -v block="$1" -v at="$3" -v end="$4" '
    function flush() {
        first = int((begin + block - 1) / block)
        last = at == end ? int((at + block - 1) / block) : int(at / block)
        # Not %d: awks count that in 32 bits.
        if (zero && last > first) printf "%.0f %.0f\n", first, last - first
    }
    {
        gsub(/[^0-9a-z]+/, " ")
        start = length_ = is = ""
        for (i = 1; i < NF; i++) {
            if ($i == "start") start = $(i + 1)
            if ($i == "length") length_ = $(i + 1)
            if ($i == "zero") is = $(i + 1) == "true"
        }
        if (start != at || length_ == "") exit
        if (is != zero) { flush(); begin = at; zero = is }
        at += length_
    }
    END { flush(); printf "end %.0f\n", at }
'
