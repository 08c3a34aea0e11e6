#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# $SOAK_OPS mixed operations on $SOAK_FILES files that come and go, or as many of them as
# $SOAK_SECONDS allow (0: no matter how long): at the end resident memory, descriptors and
# stacks are what they were after a quarter.
. "$(dirname "$0")/lib.sh"
vex_start -o stack_sample=1
python3 - "$MNT" "$SOAK_FILES" "$SOAK_OPS" "$daemon" "$SOAK_MB" "$SOAK_SECONDS" <<'END'
import fcntl, os, random, re, struct, sys, time
mnt, files, ops, pid, grow = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
seconds = int(sys.argv[6]) or 10**9
seed = int(os.environ.get("VEXFS_SEED", "1"))
print("VEXFS_SEED=%d" % seed)
rnd = random.Random(seed)
SEARCH = (3 << 30) | (16376 << 16) | (0xF5 << 8) | 2
control = os.open(mnt + "/.vexfs/control", os.O_RDWR)
count = {}

def vector():
    return struct.pack("<64f", *[rnd.random() + 0.01 for _ in range(64)])

def make(name):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    os.setxattr(name, "user.vexfs.text", vector())

def search(name):
    b = bytearray(16376)
    struct.pack_into("IIII", b, 0, 0, 10, 0, 64)
    b[256:512] = vector()
    fcntl.ioctl(control, SEARCH, b)
    assert struct.unpack_from("I", b, 116)[0] > 0, "no hits"

def write(name):
    with open(name, "ab") as f:
        f.write(b"x" * 100)
    if os.stat(name).st_size > 10000:
        os.truncate(name, 0)

def rename(name):
    os.rename(name, name + ".tmp")
    os.rename(name + ".tmp", name)

def directory(name):
    os.mkdir(name + ".d")
    os.rename(name, name + ".d/x")
    os.rename(name + ".d/x", name)
    os.rmdir(name + ".d")

def renew(name):
    os.unlink(name)
    make(name)

def near(name):
    os.getxattr(name, "user.vexfs._near.text")

kinds = [(30, search), (15, lambda n: os.setxattr(n, "user.vexfs.text", vector())),
         (10, lambda n: os.getxattr(n, "user.vexfs.text")), (10, write), (8, rename),
         (8, renew), (5, directory), (4, near), (5, os.listxattr), (5, os.stat)]
weights, calls = zip(*kinds)

def run(n):
    for call in rnd.choices(calls, weights, k=n):
        call("%s/f%d" % (mnt, rnd.randrange(files)))

def now():
    with open("/proc/%s/status" % pid) as f:
        kb = {l.split(":")[0]: int(l.split()[1]) for l in f if l.startswith("Vm")}
    global sanitizer # whose memory and stacks say nothing
    sanitizer = kb["VmSize"] > 10**9
    rss = kb["VmRSS"] / 1024
    with open(mnt + "/.vexfs/metrics") as f:
        stack = max([int(float(x)) for x in
                     re.findall(r'^vexfs_stack_peak_bytes\{.*\} (\S+)$', f.read(), re.M)] + [0])
    return rss, len(os.listdir("/proc/%s/fd" % pid)), stack

for i in range(files):
    make("%s/f%d" % (mnt, i))

def run_to(n, until):
    global done
    while done < n and time.time() < until:
        step = min(1000, n - done)
        run(step)
        done += step

done, began = 0, time.time()
run_to(ops // 4, began + seconds / 4)
warm = now()
run_to(ops, began + seconds)
end = now()
assert done >= 4 * files, "too few operations to tell: %d" % done
print("%d operations" % done)
print("resident %.1f MB, descriptors %d, stack %d; then %.1f, %d, %d" % (*warm, *end))
if not sanitizer:
    assert end[0] <= warm[0] + grow, "memory grows: %s, %s" % (warm, end)
assert end[1] <= files + 256, "descriptors: %s, %s" % (warm, end)
if warm[2] and not sanitizer:
    assert end[2] < 6144, "stack: %s, %s" % (warm, end)
END
equal "all of it" 0 $?
finish
