#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A full backing filesystem: what was attached stays, attaching fails and changes
# nothing, removing and renaming never fail, and the store mounts again.
. "$(dirname "$0")/lib.sh"

[ "$(id -u)" = 0 ] || skip "not root: no loop devices"
truncate -s 12M "$T/img"
mkfs.ext4 -q -m 0 -F "$T/img" 2>/dev/null || skip "no mkfs.ext4"
mount -o loop "$T/img" "$STORE" 2>/dev/null || skip "no loop devices"

loop_cleanup()
{
	local rc=$?
	[ -z "$daemon" ] || fusermount3 -u "$MNT" 2>/dev/null
	[ -z "$daemon" ] || wait_for 20 vex_gone || kill -KILL "$daemon"
	vex_mounted && umount -l "$MNT"
	umount "$STORE" || umount -l "$STORE"
	daemon=
	(exit $rc)
	vex_cleanup
}
trap loop_cleanup EXIT

# fill FIRST LAST: files with 2 KiB vectors until the disk is full. Prints the number
# of the first that could not be attached.
fill()
{
	python3 - "$MNT" "$1" "$2" <<'P'
import errno, os, struct, sys
root, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for i in range(first, last):
    try:
        path = f"{root}/f{i}"
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.setxattr(path, "user.vexfs.v", struct.pack("512f", *[float(i + 1)] * 512))
    except OSError as e:
        assert e.errno == errno.ENOSPC, e
        break
else:
    sys.exit("the disk did not fill up")
print(i)
P
}

# wrong LIST...: how many of these files do not have their own vector.
wrong()
{
	python3 - "$MNT" "$@" <<'P'
import os, struct, sys
bad = 0
for i in map(int, sys.argv[2:]):
    try:
        v = os.getxattr(f"{sys.argv[1]}/f{i}", "user.vexfs.v")
        bad += v != struct.pack("512f", *[float(i + 1)] * 512)
    except OSError as e:
        print(i, e, file=sys.stderr)
        bad += 1
print(bad)
P
}

full()
{
	! dd if=/dev/zero of="$STORE/more$1" bs=4k 2>/dev/null
}

vex_start
check "there is a reserve" test -s "$STORE/.vexfs/reserve"
n=$(fill 0 9000)
check "some files fit" test "${n:-0}" -gt 100
# The last blocks, and what the reserve may still give back, go too.
check "the disk is full" full 1
exits "attach on a full disk" 1 setfattr -n user.vexfs.w -v 1,2,3 "$MNT/f0"
equal "nothing is lost" 0 "$(wrong $(seq 0 $((n - 1))))"

for i in 4 5 6; do
	exits "rm $i" 0 rm "$MNT/f$i"
	full "a$i" # so that nothing that was freed helps the next
done
mkdir "$STORE/d" 2>/dev/null
exits "mv within a directory" 0 mv "$MNT/f7" "$MNT/g7"
exits "mv over another" 0 mv "$MNT/f8" "$MNT/f9"
for i in $(seq 20 60); do
	rm "$MNT/f$i" || failures=$((failures + 1))
done
check "the daemon lives" kill -0 "$daemon"
hits=$(vexctl search --like f10 -k 5000 -l)
equal "removed files are in no search" "" "$(grep -x 'f[4-8]\|f[2-5][0-9]' <<<"$hits")"
check "moved ones are" grep -qx g7 <<<"$hits"
check "the replacing one is" grep -qx f9 <<<"$hits"

full b
check "unmounts" vex_stop
vex_start
hits=$(vexctl search --like f10 -k 5000 -l)
equal "nor after a mount on a full disk" "" \
	"$(grep -x 'f[4-8]\|f[2-5][0-9]' <<<"$hits")"
equal "all the others are" 0 "$(wrong $(seq 10 19) $(seq 61 $((n - 1))))"
exits "rm after it" 0 rm "$MNT/f11"
full c
vex_kill
vex_start
equal "after a killed daemon too" 0 "$(wrong 10 $(seq 12 19) $(seq 61 $((n - 1))))"

rm -f "$STORE"/more*
exits "sync when there is room again" 0 vexctl sync
exits "attach when there is room again" 0 setfattr -n user.vexfs.w -v 1,2,3 "$MNT/f10"
check "unmounts again" vex_stop
finish
