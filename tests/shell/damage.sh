#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Damaged slot files: the one who mounts is told, by file and slot, also when the daemon
# goes to the background; status tells too; what is whole is served, the rest never.
. "$(dirname "$0")/lib.sh"

SPACES=$STORE/.vexfs/spaces

# As people mount: in the background. The daemon's pid is in status.
background()
{
	[ -c /dev/fuse ] || skip "no /dev/fuse"
	"$VEXFS" "$STORE" "$MNT" 2>"$T/told" || die "not mounted: $(cat "$T/told")"
	daemon=$(field pid)
}

field()
{
	python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" \
		<"$MNT/.vexfs/status"
}

stop()
{
	fusermount3 -u "$MNT" && wait_for 60 vex_gone && daemon=
}

# flip FILE OFFSET: another byte there.
flip()
{
	python3 - "$1" "$2" <<'P'
import sys
with open(sys.argv[1], "r+b") as f:
    f.seek(int(sys.argv[2]))
    b = f.read(1)[0]
    f.seek(int(sys.argv[2]))
    f.write(bytes([b ^ 0x10]))
P
}

# damaged WHAT TOLD: mounts a hurt store; TOLD must be in the warning and in status.
damaged()
{
	background
	check "$1: told at mount" grep -qF "vexfs: warning: $SPACES/$2" "$T/told"
	equal "$1: state" degraded "$(field state)"
	check "$1: in status" grep -qF "$2" <<<"$(field problems)"
}

background
equal "nothing to tell" "" "$(cat "$T/told")"
for i in $(seq 0 39); do
	: >"$MNT/f$i"
	v="1,$i,3,4"
	[ "$i" != 14 ] || v=0x0000803f000060410000404000008040 # the same, binary
	setfattr -n user.vexfs.a -v "$v" "$MNT/f$i"
	setfattr -n user.vexfs.b -v "1,$i" "$MNT/f$i"
done
equal "a whole store" ok "$(field state)"
equal "no problems" "[]" "$(field problems)"
check "stops" stop
cp -a "$STORE" "$T/whole"

again()
{
	check "stops" stop
	rm -rf "$SPACES"
	cp -a "$T/whole/.vexfs/spaces" "$SPACES"
}

flip "$SPACES/1.rows" $((4096 + 14 * 16 + 5))
damaged "a row" "1.rows: slot 14: checksum mismatch"
equal "only one" 0 "$(grep -c "more" "$T/told")"
equal "the others are served" 39 \
	"$(vexctl search --space a --vector 1,0,0,0 -k 99 -l | grep -c .)"
exits "its value is not" 1 getfattr --absolute-names -n user.vexfs.a "$MNT/f14"
exits "the other space is whole" 0 getfattr --absolute-names -n user.vexfs.b "$MNT/f14"
again

flip "$SPACES/1.recs" $((4096 + 3 * 32 + 1))
flip "$SPACES/1.recs" $((4096 + 5 * 32 + 25))
flip "$SPACES/1.recs" $((4096 + 6 * 32 + 25))
damaged "records" "1.rows: slot 3: "
check "and how many more" grep -qF "(and 2 more)" "$T/told"
equal "each in status" 3 "$(field problems | grep -o 'slot [0-9]*' | sort -u | wc -l)"
equal "37 are served" 37 \
	"$(vexctl search --space a --vector 1,0,0,0 -k 99 -l | grep -c .)"
again

: >"$SPACES/1.rows"
damaged "cut to nothing" "1.rows: "
exits "nothing of it is served" 1 vexctl search --space a --vector 1,0,0,0 -l
equal "the other space is" 40 "$(vexctl search --space b --vector 1,0 -k 99 -l | grep -c .)"
again

truncate -s $((4096 + 20 * 16)) "$SPACES/1.rows"
damaged "cut short" "1.rows: "
again

cp "$SPACES/2.rows" "$SPACES/1.rows"
damaged "a file of another space" "1.rows: "
exits "not served" 1 vexctl search --space a --vector 1,0,0,0 -l
again

rm "$SPACES/2.recs"
damaged "missing" "2.recs: "
again

background
equal "whole again" "" "$(cat "$T/told")"
equal "ok again" ok "$(field state)"
check "stops" stop
finish
