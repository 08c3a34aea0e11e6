#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each of 2,000 writes of the same size, right behind an attachment, shows as stale, on a
# tmpfs and on an ext4, through the mount and behind it. On the ext4 so does a store through
# a mapping, attached by setxattr, by the put ioctl or by a transaction (a tmpfs does not
# move the time for it; where the daemon has the data go through it, it comes late).
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "no python3"
[ "$(id -u)" = 0 ] || skip "not root: no filesystems of its own"
TIMES_N=${TIMES_N:-2000}

below_cleanup()
{
	local rc=$?
	[ -z "$daemon" ] || fusermount3 -u "$MNT" 2>/dev/null
	[ -z "$daemon" ] || wait_for 20 vex_gone || kill -KILL "$daemon"
	vex_mounted && umount -l "$MNT"
	if mountpoint -q "$STORE"; then umount "$STORE" || umount -l "$STORE"; fi
	daemon=
	(exit $rc)
	vex_cleanup
}
trap below_cleanup EXIT

cat >"$T/writes.py" <<'P'
import json, mmap, os, subprocess, sys
mnt, store, n, vexctl = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
maps = sys.argv[5] == "true"
path = mnt + "/f"
def stale():
    return json.loads(os.getxattr(path, "user.vexfs._info"))["stale"]
def by_xattr():
    os.setxattr(path, "user.vexfs.t", b"1,2")
def by_put():
    subprocess.run([vexctl, "-m", mnt, "attach", "f", "--space", "t", "--vector", "1,2"], check=True)
def by_txn():
    subprocess.run([vexctl, "-m", mnt, "txn"], input=b"put\tf\tt\t1,2\n", check=True,
                   stdout=subprocess.DEVNULL)
missed = []
def see(what, want):
    if stale() != want:
        missed.append("%s: stale is %s" % (what, not want))
with open(path, "wb") as f:
    f.write(b"0" * 4096)
fd, behind = os.open(path, os.O_RDWR), os.open(store + "/f", os.O_RDWR)
by_xattr()
for i in range(n):
    by_xattr()
    see("attached %d" % i, False)
    os.pwrite(behind if i % 4 == 3 else fd, b"%d" % (i % 10), 0)
    see("write %d" % i, True)
m = mmap.mmap(fd, 4096)
for how in (by_xattr, by_put, by_txn) if maps else ():
    for i in range(min(n, 8)):
        m[0] = (m[0] + 1) % 256  # the page is dirty when it is attached
        how()
        see("attached by %s" % how.__name__, False)
        m[1] = (m[1] + 1) % 256
        see("a store behind %s" % how.__name__, True)
print("\n".join(missed[:5]))
sys.exit(len(missed) > 0)
P

on()
{
	local maps=false
	vex_start
	[ "$1" = tmpfs ] || ! grep -q '"passthrough": true' "$MNT/.vexfs/status" || maps=true
	if check "$1: every write is noticed" python3 "$T/writes.py" "$MNT" "$STORE" "$TIMES_N" \
		"$B/vexctl" $maps; then
		echo "$1: $TIMES_N writes, all noticed; through a mapping too: $maps"
	fi
	vex_stop || failures=$((failures + 1))
	umount "$STORE"
}

mount -t tmpfs none "$STORE" || skip "no tmpfs"
on tmpfs
truncate -s 64M "$T/img"
if mkfs.ext4 -q -F "$T/img" 2>/dev/null && mount -o loop "$T/img" "$STORE" 2>/dev/null; then
	on ext4
fi
finish
