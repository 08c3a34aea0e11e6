#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Loss of power under a store: in user-mode Linux the daemon's rooms write to an ext4 on
# dm-flakey, which from a random moment on drops every write; what is on the device then
# is mounted and opened as after a restart. Nothing synced may be lost, nothing may be
# torn, and a store that was mounted after it serves no wrong vector.
#
# POWER_ROUNDS=300 for a long run (24 by default: dozens in CI), SEED=N to repeat one.
# UML_TIMEOUT seconds for all of them.
. "$(dirname "$0")/../shell/lib.sh"

rounds=${POWER_ROUNDS:-24}
seed=${SEED:-$((RANDOM << 15 | RANDOM))}
case $(basename "$B") in
build) ;;
*) skip "a sanitizer's memory does not fit the guest" ;;
esac
[ "$(id -u)" -eq 0 ] || skip "user-mode Linux with device-mapper wants root"
if ! command -v linux.uml >/dev/null && command -v apt-get >/dev/null; then
	apt-get install -y -q user-mode-linux kmod dmsetup >/dev/null 2>&1
fi
for tool in linux.uml dmsetup mkfs.ext4 insmod; do
	command -v $tool >/dev/null || skip "no $tool: packages user-mode-linux kmod dmsetup"
done
tmp=$T
[ ! -d /dev/shm ] || tmp=$(mktemp -d /dev/shm/vexfs-power.XXXXXX)
trap 'rm -rf "$tmp"; vex_cleanup' EXIT
echo "seed $seed, $rounds rounds"

truncate -s 96M "$tmp/disk"
cat >"$T/init" <<INIT
#!/bin/bash
mount -t proc p /proc
mount -t devtmpfs d /dev 2>/dev/null
mount -t tmpfs t /run
mount -t sysfs s /sys
for m in drivers/md/dm-mod drivers/md/dm-flakey; do
	insmod /usr/lib/uml/modules/\$(uname -r)/kernel/\$m.ko || echo "no \$m"
done
export OPENBLAS_NUM_THREADS=1 LC_ALL=C
RANDOM=$((seed % 32768))
size=\$(blockdev --getsz /dev/ubda)
set_dm() { dmsetup suspend --nolockfs fl && echo "0 \$size flakey /dev/ubda \$1" |
	dmsetup load fl && dmsetup --noudevsync resume fl; }
round()
{
	mkfs.ext4 -q -F /dev/ubda >/dev/null 2>&1 || return 1
	echo "0 \$size flakey /dev/ubda 0 600 0" | dmsetup --noudevsync create fl &&
		dmsetup mknodes || return 1
	mount /dev/mapper/fl /run/m || return 1
	mkdir /run/m/s
	sync
	rm -f /run/ack
	"$B/tests/crash/power.bin" write /run/m/s /run/ack \$1 &
	pid=\$!
	sleep \$((1 + RANDOM % 2)).\$((RANDOM % 10))
	# What was acknowledged before the power went, as of a moment before it went.
	cp /run/ack /run/before 2>/dev/null
	# Half the time the journal has just been written, half the time not.
	[ \$((RANDOM % 2)) -eq 0 ] || sync -d /run/m/s/.vexfs/catalog.db-wal
	set_dm "0 0 600 1 drop_writes"
	kill -9 \$pid
	wait \$pid 2>/dev/null
	umount /run/m
	dmsetup --noudevsync remove fl
	mount /dev/ubda /run/m || return 1
	# The machine has the same boot id here: the store must take it for another start.
	sed -i 's/^boot ./boot X/' /run/m/s/.vexfs/lock
	"$B/tests/crash/power.bin" check /run/m/s /run/before
	rc=\$?
	umount /run/m
	return \$rc
}
mkdir -p /run/m
for ((i = 1; i <= $rounds; i++)); do
	round \$(($seed + i)) || { echo "ROUND \$i of seed $seed FAILED"; break; }
done
[ \$i -le $rounds ] || echo "ALL-ROUNDS-PASSED"
poweroff -f
INIT
chmod 755 "$T/init"
timeout "${UML_TIMEOUT:-$((60 + rounds * 20))}" linux.uml mem=384M rootfstype=hostfs rootflags=/ \
	rw init="$T/init" ubd0="$tmp/disk" con=null con0=null,fd:1 con1=fd:0,fd:1 \
	umid=vexfs$$ </dev/null >"$tmp/out" 2>&1
check "power was lost $rounds times (seed $seed)" grep -q "ALL-ROUNDS-PASSED" "$tmp/out"
equal "each was checked" "$rounds" "$(grep -c '^checked:' "$tmp/out")"
[ $failures -eq 0 ] || grep -v '^\[' "$tmp/out" | tail -n 60 >&2
grep '^checked:' "$tmp/out" | tail -n 3
finish
