#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# usage: inodes.sh BUILD [FILES]
#
# What a tree of FILES (1,000,000) empty files costs the daemon: its memory before and
# after the kernel has looked at each, bytes an inode, descriptors under `ulimit -n 1024`,
# and the time of `find` with a stat of each, twice, beside the bare filesystem. The store
# is an ext4 image in memory (/dev/shm); as root. Prints a table.
set -eu
B=$(cd "$1" && pwd) files=${2:-1000000}
base=$(mktemp -d /dev/shm/vexfs-inodes.XXXXXX)
mkdir "$base/fs" "$base/mnt"

cleanup()
{
	fusermount3 -u "$base/mnt" 2>/dev/null || :
	[ -z "${daemon:-}" ] || wait "$daemon" 2>/dev/null || :
	umount "$base/fs" 2>/dev/null || :
	rm -rf --one-file-system "$base"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

truncate -s $((files * 512 + (64 << 20))) "$base/image"
mkfs.ext4 -q -m 0 -N $((files + files / 500 + 1000)) "$base/image"
mount -o loop "$base/image" "$base/fs"
mkdir "$base/fs/store"
python3 - "$base/fs/store" "$files" <<'PY'
import os, sys
top, n = sys.argv[1], int(sys.argv[2])
for k in range(n):
    if k % 1000 == 0:
        d = f"{top}/dir-{k // 1000:05d}"
        os.mkdir(d)
    os.close(os.open(f"{d}/file-{k:07d}.txt", os.O_CREAT | os.O_WRONLY, 0o644))
PY

memory()
{
	awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$daemon/status"
}

status()
{
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" "$base/mnt/.vexfs/status" | head -n 1
}

# seconds of find with a stat of each
look()
{
	local start end n
	start=$(date +%s.%N)
	n=$(find "$1" -type f -size -1 -printf x | wc -c)
	end=$(date +%s.%N)
	[ "$n" -eq "$files" ] || {
		echo "found $n of $files" >&2
		exit 1
	}
	echo "$end - $start" | bc
}

bare1=$(look "$base/fs/store") bare2=$(look "$base/fs/store")
(ulimit -n 1024 && exec "$B/vexfs" -f "$base/fs/store" "$base/mnt") &
daemon=$!
for _ in $(seq 100); do
	[ ! -e "$base/mnt/.vexfs/control" ] || break
	sleep 0.1
done
before=$(memory)
mnt1=$(look "$base/mnt")
after=$(memory) inodes=$(status inodes) fds=$(find "/proc/$daemon/fd" -mindepth 1 | wc -l)
mnt2=$(look "$base/mnt")
again=$(memory)
echo 2 >/proc/sys/vm/drop_caches
sleep 1
printf '| files | inodes remembered | daemon before, MB | after | after the second | bytes an inode | descriptors |\n'
printf '| --- | --- | --- | --- | --- | --- | --- |\n'
printf '| %d | %d | %d | %d | %d | %d | %d |\n\n' "$files" "$inodes" $((before >> 20)) \
	$((after >> 20)) $((again >> 20)) $(((after - before) / inodes)) "$fds"
printf '| find, s | first | second |\n| --- | --- | --- |\n'
printf '| bare ext4 | %.2f | %.2f |\n| mount | %.2f | %.2f |\n\n' "$bare1" "$bare2" "$mnt1" "$mnt2"
printf 'after the kernel dropped its caches: %d inodes, %d MB\n' "$(status inodes)" \
	$(($(memory) >> 20))
