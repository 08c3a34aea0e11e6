# SPDX-License-Identifier: Apache-2.0
"""Whether attachments are for the content there, against a record of what was done: random
writes, truncations, stores through mappings, copies, renames, replacements, times, tar and
cp -a, through the mount and behind it, attaching at random moments. The marks of searches,
--fresh, `vexctl stale` and _info all have to say what the record says.

usage: freshness.py MOUNT STORE VEXCTL STEPS MAPS (run by freshness.sh)"""
import json
import mmap
import os
import random
import shutil
import subprocess
import sys

mnt, store, vexctl, steps, maps = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
seed = int(os.environ.get("VEXFS_SEED") or random.SystemRandom().randrange(1 << 32))
print("VEXFS_SEED=%d" % seed)
rnd = random.Random(seed)
# Of each name: what its attachment is; waiting: attached while the file is empty. None: it
# has none.
fresh, stale, waiting = "fresh", "stale", "waiting"
record, trail = {}, []
# Where a replacement, a removal or a rename took attachments away: whether the next file
# there is listed is another test's matter (fresh.sh).
kept = set()
NAMES = ["f%d" % i for i in range(12)]


def at(name, behind=False):
    return (store if behind else mnt) + "/" + name


def size(name):
    return os.stat(at(name, True)).st_size


def changed(name):
    if record.get(name) == fresh:
        record[name] = stale


def flushed(name, content):
    """A handle was written and closed, through the mount."""
    if record.get(name) == waiting and content:
        record[name] = fresh
    else:
        changed(name)


def attach(name):
    way = rnd.randrange(3)
    if way == 0:
        os.setxattr(at(name), "user.vexfs.t", b"1,2")
    elif way == 1:
        subprocess.run([vexctl, "-m", mnt, "attach", name, "--space", "t", "--vector", "1,2"], check=True)
    else:
        subprocess.run([vexctl, "-m", mnt, "txn"], input=b"put\t%s\tt\t1,2\n" % name.encode(),
                       check=True, stdout=subprocess.DEVNULL)
    record[name] = fresh if size(name) else waiting


def write(name, behind):
    with open(at(name, behind), "r+b", buffering=0) as f:
        f.seek(rnd.randrange(size(name) + 1))
        f.write(rnd.choice((b"x", b"some words", b"y" * 5000)))
    changed(name) if behind else flushed(name, True)


def rewrite_same_size(name, behind):
    n = size(name)
    if not n:
        return
    with open(at(name, behind), "r+b", buffering=0) as f:
        f.write(bytes([rnd.randrange(256)]))
    changed(name)


def truncate(name, behind):
    n = rnd.choice((0, 1, 7, 4096, 6000))
    if n == size(name) or record.get(name) == waiting:
        return
    os.truncate(at(name, behind), n)
    changed(name)


def store_mapped(name, behind):
    if behind or maps != "true":
        return
    fd = os.open(at(name), os.O_RDWR)
    n = min(size(name), os.fstat(fd).st_size)  # behind the mount it shows within a second
    if not n:
        os.close(fd)
        return
    with mmap.mmap(fd, n) as m:
        m[0] = (m[0] + 1) % 256
        if rnd.random() < 0.5:  # attached between two stores to one dirty page
            attach(name)
            m[0] = (m[0] + 1) % 256
    os.close(fd)
    changed(name)


def copy_range(name, behind):
    other = rnd.choice(sorted(record))
    if other == name or not size(other) or record.get(name) == waiting:
        return
    a, b = os.open(at(other, behind), os.O_RDONLY), os.open(at(name, behind), os.O_WRONLY)
    n = os.copy_file_range(a, b, min(size(other), 100))
    os.close(a)
    os.close(b)
    if n:
        changed(name)


def allocate(name, behind):
    if record.get(name) == waiting:
        return
    fd = os.open(at(name, behind), os.O_WRONLY)
    os.posix_fallocate(fd, 0, size(name) + 10)
    os.close(fd)
    changed(name)


def touch(name, behind):
    t = 1000000000 + rnd.randrange(1000)
    os.utime(at(name, behind), (t, t))
    if behind:
        changed(name)


def rename(name, behind):
    other = rnd.choice(NAMES)
    if other == name or behind:
        return
    if record.get(other) and not record[name]:
        kept.add(other)
    kept.add(name)  # as an editor that moves the old one aside
    os.rename(at(name), at(other))
    record[other] = record.pop(name)
    trail.append("to " + other)


def replace(name, behind):
    """As editors do: a new file, renamed over."""
    if behind:
        return
    with open(at("new"), "wb") as f:
        f.write(b"anew")
    os.rename(at("new"), at(name))
    if record[name] is not None:
        kept.add(name)
    record[name] = None


def as_tar(name, behind):
    """Made, attributes set, written, times set: in that order."""
    if behind:
        return
    os.unlink(at(name))
    kept.add(name)
    fd = os.open(at(name), os.O_CREAT | os.O_WRONLY, 0o644)
    os.setxattr(fd, "user.vexfs.t", b"1,2")
    content = rnd.choice((b"", b"content"))
    os.write(fd, content)
    os.close(fd)
    os.utime(at(name), (5, 5))
    record[name] = fresh if content else waiting


def copied(name, behind):
    """cp -a onto a name that is free."""
    other = rnd.choice(NAMES)
    if behind or other in record:
        return
    subprocess.run(["cp", "-a", at(name), at(other)], check=True)
    trail.append("to " + other)
    # cp sets xattrs before it sets the time, which moves the stamp along: as good as new.
    record[other] = record[name] and (fresh if size(other) else waiting)


def remove(name, behind):
    if behind or len(record) < 4:
        return
    os.unlink(at(name))
    record.pop(name)
    kept.add(name)


def make(name):
    with open(at(name), "wb") as f:
        f.write(rnd.choice((b"", b"text")))
    record[name] = None


WORKS = [write, rewrite_same_size, truncate, store_mapped, copy_range, allocate, touch, rename,
         replace, as_tar, copied, remove]


def step():
    name = rnd.choice(NAMES)
    if name not in record:
        make(name)
        trail.append("make " + name)
        return
    if rnd.random() < 0.25:
        attach(name)
        trail.append("attach " + name)
        return
    work, behind = rnd.choice(WORKS), rnd.random() < 0.25
    if behind and record[name] == waiting:
        return  # written behind the mount it takes its stamp at a later flush
    work(name, behind)
    trail.append("%s %s%s" % (work.__name__, name, " behind" if behind else ""))


def run(*args):
    r = subprocess.run([vexctl, "-m", mnt, *args], capture_output=True, text=True)
    if r.returncode > 1:
        sys.exit("%s: %s" % (args, r.stderr))
    return r.stdout


def look():
    there = {n for n, what in record.items() if what}
    old = {n for n, what in record.items() if what == stale}
    hits = json.loads(run("search", "--space", "t", "--vector", "1,2", "-k", "100", "--json"))["hits"]
    said = {
        "found": ({h["path"] for h in hits}, there),
        "marks": ({h["path"] for h in hits if h["stale"]}, old),
        "--fresh": (set(run("search", "--space", "t", "--vector", "1,2", "-k", "100", "--fresh",
                            "-l").split()), there - old),
        "stale": (set(run("stale").split()) - (kept - old), old),
        "_info": ({n for n in there if json.loads(os.getxattr(at(n), "user.vexfs._info"))["stale"]}, old),
    }
    for what, (got, want) in said.items():
        if got != want:
            print("FAILED", what, "too many", sorted(got - want), "too few", sorted(want - got))
            print("; ".join(trail[-60:]))
            sys.exit(1)


make("f0")
attach("f0")
for i in range(steps):
    step()
    if rnd.random() < 0.5:
        look()
look()
print("%d steps, %d looks' worth of agreement" % (steps, steps // 2))
