#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Stacks, painted and measured in every request: each operation of the mount stays below
# 6 KB of its thread's stack below libfuse's callback, the walk through a graph below
# 4 KB, with request threads of 64 KB. $STACK_ROWS rows of 1,000 make the graph (4,200).
. "$(dirname "$0")/lib.sh"
rows=${STACK_ROWS:-4200}
vex_start -o allow_other,stack_sample=1,threshold_op_ms=0,threshold_search_ms=0,threshold_storage_ms=0,threshold_sync_ms=0
echo x >"$MNT/probe"
grep -q '^vexfs_stack_peak_bytes{op="create"}' "$MNT/.vexfs/metrics" ||
	skip "stacks are not measured in this build"

# ---- every operation, also those that fail -----------------------------------------------
cd "$MNT" || exit 1
mkdir -p d/e/f
long=$(printf 'n%.0s' $(seq 250))
echo x >"d/e/f/$long"
ln -s "d/e/f/$long" link
ln "d/e/f/$long" hard
mkfifo fifo
cat link >/dev/null
setfattr -n user.vexfs.t -v 1,2 "d/e/f/$long"
setfattr -n user.vexfs.t -v 1,2,3 hard 2>/dev/null
setfattr -n user.vexfs.Bad -v 1,2 hard 2>/dev/null
setfattr -n user.other -v 1 hard
getfattr -d -m - hard >/dev/null 2>&1
getfattr -n user.vexfs._info hard >/dev/null 2>&1
getfattr -n user.vexfs._near.t hard >/dev/null 2>&1
python3 - <<'END'
import os, struct
v = struct.pack("<16384f", *[1.0 + i % 7 for i in range(16384)])
for i in range(3):
    open("w%d" % i, "w").close()
    os.setxattr("w%d" % i, "user.vexfs.wide", v)
assert os.getxattr("w1", "user.vexfs.wide") == v
fd = os.open("w0", os.O_RDWR)
os.write(fd, b"x" * 3000000)
os.pread(fd, 1000000, 0)
os.fsync(fd)
os.posix_fallocate(fd, 0, 4000000)
os.lseek(fd, 0, os.SEEK_HOLE)
os.copy_file_range(fd, os.open("copy", os.O_CREAT | os.O_RDWR), 100000)
os.close(fd)
END
echo 1,2,3 >v.vec
cp -a "d/e/f/$long" c
mv c d/c
mv d/c d/e/c
mv d/e/f d/g
chmod 600 hard
chown 1:1 hard 2>/dev/null
touch -d yesterday hard
truncate -s 5 hard
setfacl -m u:4242:r hard 2>/dev/null
ls -laR . >/dev/null
df . >/dev/null
rm d/e/c link fifo
cat nothing 2>/dev/null
rmdir d 2>/dev/null
cd / || exit 1
vexctl search --space t --vector 1,2 >/dev/null
vexctl search --like w1 --exact >/dev/null
vexctl search --space t --vector 1,2 --where 'size > 0' --under d >/dev/null
vexctl search --space t --vector 1,2,3 >/dev/null 2>&1
vexctl search --space t --max-distance 1 --vector 1,2 >/dev/null
vexctl space create x --dim 3 && vexctl space drop x
printf 'put\thard\tt.k\t5,6\n' | vexctl txn
vexctl status >/dev/null
vexctl stats >/dev/null
vexctl events >/dev/null
vexctl config batch_size=51
vexctl sync
echo '{"space":"t","vector":[1,2],"k":1}' >"$T/q"
python3 -c '
import os, sys
fd = os.open(sys.argv[1] + "/.vexfs/query", os.O_RDWR)
os.write(fd, open(sys.argv[2], "rb").read())
assert b"hits" in os.read(fd, 65536)' "$MNT" "$T/q"
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$T" "$STORE"
	setpriv --reuid 4242 --regid 4242 --clear-groups "$B/vexctl" search --space t \
		--vector 1,2 >/dev/null
	setpriv --reuid 4242 --regid 4242 --clear-groups cat "$MNT/hard" >/dev/null 2>&1
fi

# 64 KB beside thread-local storage, as src/fs/serve.c makes them; no more, no less.
check "request threads have small stacks" python3 - "$daemon" <<'END'
import sys
sizes = []
for line in open("/proc/%s/maps" % sys.argv[1]):
    words = line.split()
    low, high = (int(x, 16) for x in words[0].split("-"))
    if words[1] == "rw-p" and len(words) < 6:
        sizes.append(high - low)
assert sizes.count(147456) >= 1, sorted(sizes)
END

# ---- a graph -------------------------------------------------------------------------------
python3 - "$T/g.fvecs" "$rows" <<'END'
import array, random, struct, sys
random.seed(1)
with open(sys.argv[1], "wb") as f:
    for i in range(int(sys.argv[2])):
        f.write(struct.pack("<i", 1000))
        f.write(array.array("f", [random.gauss(0, 1) for _ in range(1000)]).tobytes())
END
check "import" vexctl import --space g --dir g "$T/g.fvecs"
check "a graph" wait_for 120 grep -q '"name": "g".*"state": "ready"' "$MNT/.vexfs/status"
for i in 1 2 3 4 5 6 7 8 9 10; do
	vexctl search --like "g/$(find "$MNT/g" -type f | sed -n "${i}p" | xargs basename)" >/dev/null
done

grep '^vexfs_stack_peak_bytes' "$MNT/.vexfs/metrics" >"$T/peaks"
sed 's/^vexfs_stack_peak_bytes{op="\([a-z_]*\)"}/\1/' "$T/peaks" | sort -k2 -n -r >"$T/table"
check "most operations were measured" test "$(wc -l <"$T/table")" -ge 25
equal "none takes 6 KB" '' "$(awk '$2 >= 6144' "$T/table")"
equal "the graph takes less than 4 KB" '' "$(awk '$1 == "traversal" && $2 >= 4096' "$T/table")"
check "the graph was measured" grep -q '^traversal' "$T/table"
head -8 "$T/table"
finish
