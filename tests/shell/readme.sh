#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The session in README.md, line for line: each block that begins with ```sh after the
# line "<!-- session -->" runs in one shell, in an empty folder, and must succeed.
. "$(dirname "$0")/lib.sh"

[ -c /dev/fuse ] || skip "no /dev/fuse"
awk '/^<!-- session -->$/ { armed = 1 }
	/^```$/ { inside = 0 }
	inside
	armed && /^```sh$/ { inside = 1; armed = 0 }' "$TOP/README.md" >"$T/session"
lines=$(grep -c . "$T/session")
check "README.md has a session" test "$lines" -ge 8
# mnt of the session is $MNT, so that the trap of lib.sh unmounts it in any case.
rmdir "$STORE" "$MNT"
unset VEXFS_MOUNT
(cd "$T" && PATH=$B:$PATH exec bash -e -u -x ./session) >"$T/log" 2>&1
rc=$?
[ $rc -eq 0 ] || tail -n 30 "$T/log" >&2
equal "exit code of the session" 0 $rc
check "it unmounts what it mounts" test ! -e "$MNT/.vexfs"
while IFS= read -r wanted; do
	check "README shows what comes: $wanted" grep -q -x -F -- "$wanted" "$T/log"
done < <(awk '/^<!-- output -->$/ { armed = 1 }
	/^```$/ { inside = 0 }
	inside
	armed && /^```text$/ { inside = 1; armed = 0 }' "$TOP/README.md")
finish
