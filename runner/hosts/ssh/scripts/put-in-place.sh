#!/bin/sh
# Sourced by what makes whole files: from the temporary $3, with mode $5, in the directory $2.
directory=$2 temporary=$3 mode=$5

# Gives the temporary, which is whole, the name $1.
put_in_place() {
    chmod "$mode" "$temporary" && sync "$temporary" && in_time && mv -f -T "$temporary" "$1" && sync "$directory"
}
