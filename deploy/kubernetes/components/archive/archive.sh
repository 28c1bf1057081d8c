#!/bin/sh
# Copy the files of finished runs away, compress them, and remove the oldest of the audit directory.
#
#   archive.sh AUDIT_DIR ARCHIVE_DIR
#
# The archive has every run's file (gzip) and HEAD: `audit verify ARCHIVE_DIR` verifies
# all of it. A file is removed only if it is older than KEEP_DAYS, is not one of the newest KEEP_RUNS,
# and its copy decompresses to the same bytes; the oldest go first, because a missing file in between
# is damage. No run begins meanwhile: the script holds the lock of the audit directory.
#
# Exit codes: 0 done; 1 an error, nothing was removed that has no copy; 2 wrong usage;
# 9 a run is at work. To remove nothing: KEEP_DAYS=36500.
set -eu
umask 077

KEEP_DAYS=${KEEP_DAYS:-400}
KEEP_RUNS=${KEEP_RUNS:-30}

if [ $# -ne 2 ]; then
    echo "Usage: archive.sh AUDIT_DIR ARCHIVE_DIR" >&2
    exit 2
fi
audit=$1
archive=$2
# A run judges by the last 30 runs, and with `notice` by the last 100 days.
if [ "$KEEP_DAYS" -lt 100 ] || [ "$KEEP_RUNS" -lt 30 ]; then
    echo "KEEP_DAYS is at least 100 and KEEP_RUNS at least 30: a run reads so far back." >&2
    exit 2
fi
if [ ! -e "$audit/lock" ]; then
    echo "$audit has no run yet."
    exit 0
fi

exec 9<>"$audit/lock"
if ! flock --exclusive --wait "${LOCK_WAIT_S:-60}" 9; then
    echo "A run is at work in $audit: nothing was archived." >&2
    exit 9
fi

mkdir -p "$archive"

# copy SOURCE TARGET: write the target at once or not at all, on disk before its name is.
copy() {
    cp "$1" "$2.partial"
    sync "$2.partial"
    mv "$2.partial" "$2"
}

# content FILE: the bytes of a run's file, compressed or not.
content() {
    case $1 in
        *.gz) gzip -dc "$1" ;;
        *) cat "$1" ;;
    esac
}

# has_copy NAME: whether the archive has the same bytes.
has_copy() {
    [ -e "$archive/${1%.gz}.gz" ] || return 1
    ours=$(content "$audit/$1" | sha256sum)
    theirs=$(gzip -dc "$archive/${1%.gz}.gz" | sha256sum)
    [ "$ours" = "$theirs" ]
}

# The files of runs, oldest first. Where gzip was interrupted both names exist: the file counts.
names=$(
    cd "$audit"
    for name in *.jsonl *.jsonl.gz; do
        case $name in
            [0-9][0-9][0-9][0-9][0-9][0-9]*-*.jsonl) echo "$name" ;;
            [0-9][0-9][0-9][0-9][0-9][0-9]*-*.jsonl.gz) [ -e "${name%.gz}" ] || echo "$name" ;;
        esac
    done | sort -n
)
total=$(echo "$names" | grep -c . || true)

copied=0 compressed=0 removed=0 number=0 may_remove=yes
oldest=$(date --utc --date "$KEEP_DAYS days ago" +%Y%m%d)

for name in $names; do
    number=$((number + 1))
    plain=${name%.gz}
    if [ ! -e "$archive/$plain.gz" ]; then
        content "$audit/$name" | gzip -n >"$archive/.$plain.partial"
        sync "$archive/.$plain.partial"
        mv "$archive/.$plain.partial" "$archive/$plain.gz"
        copied=$((copied + 1))
    fi
    if ! has_copy "$name"; then
        echo "$archive/$plain.gz is not a copy of $audit/$name: nothing more is archived." >&2
        echo "Verify both with audit verify, and move the wrong one away." >&2
        exit 1
    fi
    # The newest file stays as it is: the next run continues it.
    if [ "$name" = "$plain" ] && [ "$number" -lt "$total" ]; then
        gzip -nf --synchronous "$audit/$plain"
        name=$plain.gz
        compressed=$((compressed + 1))
    fi
    day=${name#*-}
    day=${day%%T*}
    if [ "$may_remove" = yes ] && [ "$number" -le $((total - KEEP_RUNS)) ] && [ "$day" -lt "$oldest" ]; then
        rm "$audit/$name"
        removed=$((removed + 1))
    else
        may_remove=no
    fi
done
if [ -e "$audit/HEAD" ]; then
    copy "$audit/HEAD" "$archive/HEAD"
fi
sync "$archive"
echo "$copied copied to $archive, $compressed compressed, $removed removed from $audit."
