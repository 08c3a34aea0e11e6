#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Memory and descriptors: with $MEM_ROWS vectors of 384 dimensions, under searches
# and replacements, the daemon stays below 50 MB, and neither memory nor descriptors grow
# once it is warm. $MEM_OPS operations.
. "$(dirname "$0")/lib.sh"
vex_start
awk '/VmSize/ { exit !($2 > 1e9) }' "/proc/$daemon/status" && skip "a sanitizer's memory says nothing"
python3 - "$MNT" "$MEM_ROWS" "$MEM_OPS" "$daemon" "$MEM_MB" <<'END'
import fcntl, os, random, struct, sys
mnt, rows, ops, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
seed = int(os.environ.get("VEXFS_SEED", "1"))
print("VEXFS_SEED=%d" % seed)
rnd = random.Random(seed)
base = [rnd.gauss(0, 1) for _ in range(4096)]

def vector():
    at = rnd.randrange(4096 - 384)
    scale = rnd.random() + 0.5
    return struct.pack("<384f", *[x * scale for x in base[at:at + 384]])

def memory():
    with open("/proc/%s/status" % pid) as f:
        kb = {l.split(":")[0]: l.split()[1] for l in f if l.startswith("Vm")}
    return int(kb["VmRSS"]) // 1024, int(kb["VmSize"]) // 1024

def descriptors():
    return len(os.listdir("/proc/%s/fd" % pid))

for i in range(rows):
    name = "%s/f%d" % (mnt, i)
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    os.setxattr(name, "user.vexfs.text", vector())

SEARCH = (3 << 30) | (16376 << 16) | (0xF5 << 8) | 2
control = os.open(mnt + "/.vexfs/control", os.O_RDWR)

def one():
    name = "%s/f%d" % (mnt, rnd.randrange(rows))
    what = rnd.random()
    if what < 0.4:
        b = bytearray(16376)
        struct.pack_into("IIII", b, 0, 0, 10, 0, 384)
        b[256:256 + 1536] = vector()
        fcntl.ioctl(control, SEARCH, b)
    elif what < 0.6:
        os.setxattr(name, "user.vexfs.text", vector())
    elif what < 0.7:
        os.getxattr(name, "user.vexfs.text")
    elif what < 0.8:
        with open(name, "ab") as f:
            f.write(b"x")
    elif what < 0.9:
        os.stat(name)
        os.listxattr(name)
    else:
        os.rename(name, name + ".tmp")
        os.rename(name + ".tmp", name)

for _ in range(ops // 2):
    one()
warm, fds = memory(), descriptors()
for _ in range(ops // 2):
    one()
end, fds2 = memory(), descriptors()
print("resident %d MB, then %d; addresses %d MB; descriptors %d, then %d"
      % (warm[0], end[0], end[1], fds, fds2))
assert end[0] < int(sys.argv[5]), "resident: %d MB" % end[0]
assert end[0] <= warm[0] + 8, "it grows: %s, %s" % (warm, end)
# One a file that the kernel remembers; it may forget some meanwhile, and look again.
assert max(fds, fds2) <= rows + 256, "descriptors: %d, %d" % (fds, fds2)
END
equal "all of it" 0 $?
finish
