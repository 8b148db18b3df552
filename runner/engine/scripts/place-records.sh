#!/bin/sh
# Prints a tar archive of what is remembered of all jobs that keep their records in one place: of each job the
# record of its newest run, JOB/RUN/run.json, and those that do not say that their run has ended, its lock, and of a
# set what it chose.
#
#   $1   the place
#
# What it says on standard error, and any exit code but 0, means that there may be more: a file that is none, or
# larger than a record, or one that changed or could not be read.
export LC_ALL=C
cd "$1" || exit
{
    find . -mindepth 3 -maxdepth 3 -name run.json \( -type f -size -129 -print -o -exec sh -c 'echo odd >&2' \; \) |
        sort | awk -F/ '$2 != job && NR > 1 { print last } { job = $2; last = $0 } END { if (NR) print last }'
    find . -mindepth 3 -maxdepth 3 -name run.json -type f -size -129 \
        -exec grep -LE '"phase": "(finished|abandoned)"' {} +
    find . -mindepth 2 -maxdepth 2 \( -name set.json -o -name .lock \) -type f
} | sort -u | tar --create --file=- --format=gnu --no-recursion --verbatim-files-from --files-from=-
