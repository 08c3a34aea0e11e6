#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The limits of a search: rows compared, time. Met, it is ETIMEDOUT and gives what it had
# seen by then, marked; not met, it is as a search without.
. "$(dirname "$0")/lib.sh"
vex_start
# 100 files of 200 rows: row r of file f is (1 + f, r, 0, ...), so f0 is near to zero.
python3 - "$MNT" "$T" <<'END'
import os, struct, sys
mnt, t = sys.argv[1:]
for f in range(100):
    name = "%s/f%d" % (mnt, f)
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
    rows = b"".join(struct.pack("<64f", 1 + f, r, *[0] * 62) for r in range(200))
    if not f:
        os.setxattr(name, "user.vexfs.z", struct.pack("<64f", 1, 0, *[0] * 62))
        os.removexattr(name, "user.vexfs.z")
    os.setxattr(name, "user.vexfs.t.c", rows[:256])
    os.setxattr(name, "user.vexfs.t", rows)
with open(t + "/queries", "wb") as q:
    q.write(b"".join(struct.pack("<64f", i, *[1] * 63) for i in range(4000)))
with open(t + "/one", "wb") as q:
    q.write(struct.pack("<64f", 1, *[0] * 63))
END
equal "the rows" 0 $?
q=(search --space t --vector-file "$T/one")

# Rows: met.
exits "5000 of 20100 rows" 2 vexctl "${q[@]}" -k 5 --max-visited 5000
equal "five hits" 5 "$(wc -l <"$T/out")"
check "the nearest was among them" grep -q '	f0' "$T/out"
check "said" grep -q 'met its limit' "$T/err"
exits "as JSON" 2 vexctl "${q[@]}" --json --max-visited 5000
check "marked" python3 -c 'import json, sys
a = json.load(open(sys.argv[1]))
assert a["partial"] is True and len(a["hits"]) == 10, a
assert a["space"] == "t" and a["metric"] == "cosine", a
assert all(h["space"] == "t" for h in a["hits"]), a' "$T/out"
exits "more than a page of hits" 2 vexctl "${q[@]}" -k 1000 --per-file 0 -l --max-visited 5000
equal "a thousand" 1000 "$(wc -l <"$T/out")"
exits "one row" 2 vexctl "${q[@]}" -k 5 --max-visited 1
check "at most one hit" test "$(wc -l <"$T/out")" -le 1

# Not met.
vexctl "${q[@]}" --json >"$T/whole"
exits "enough rows" 0 vexctl "${q[@]}" --json --max-visited 1000000
check "the same as without" cmp "$T/whole" "$T/out"
exits "enough time" 0 vexctl "${q[@]}" --json --max-ms 600000
check "the same" cmp "$T/whole" "$T/out"

# Time: 4000 queries need far more than a millisecond.
exits "a millisecond" 2 vexctl search --space t --vector-file "$T/queries" --max-ms 1
check "said" grep -q 'met its limit' "$T/err"
exits "without" 0 vexctl search --space t --vector-file "$T/queries"

# Wrong ones.
exits "no rows" 2 vexctl "${q[@]}" --max-visited 0
exits "no time" 2 vexctl "${q[@]}" --max-ms 0
exits "two days" 2 vexctl "${q[@]}" --max-ms 172800000
check "the bound is told" grep -q 86400000 "$T/err"

# The ioctl, and .vexfs/query.
python3 - "$MNT" "$T/one" <<'END'
import errno, fcntl, json, os, struct, sys
mnt, one = sys.argv[1], open(sys.argv[2], "rb").read()
SEARCH = (3 << 30) | (16376 << 16) | (0xF5 << 8) | 2
NEXT = (3 << 30) | (16376 << 16) | (0xF5 << 8) | 3
fd = os.open(mnt + "/.vexfs/control", os.O_RDWR)

def search(flags, visited, ms):
    b = bytearray(16376)
    struct.pack_into("IIII", b, 0, flags, 10, 0, 64)
    b[48:49] = b"t"
    struct.pack_into("QQ", b, 200, visited, ms)
    b[256:512] = one
    try:
        fcntl.ioctl(fd, SEARCH, b)
    except OSError as e:
        return e.errno
    return struct.unpack_from("I", b, 116)[0]

def page():
    b = bytearray(16376)
    fcntl.ioctl(fd, NEXT, b)
    return struct.unpack_from("IIIIQII", b, 0)

assert search(1 << 12, 5000, 0) == errno.ETIMEDOUT
flags, hits, nbytes, out, left, space, metric = page()
assert (hits, out, left, metric) == (10, 2, 0, 0) and space, (hits, out, left, metric)
assert page()[1:4] == (0, 0, 0)
assert search(1 << 12, 5000, 0) == errno.ETIMEDOUT
assert len(os.read(fd, 1 << 20)) == nbytes
assert search(1 << 12, 1 << 40, 60000) == 10
assert search(1 << 12, 0, 0) == errno.EINVAL
assert search(0, 5000, 0) == errno.EINVAL
assert search(1 << 12, 5000, 0) == errno.ETIMEDOUT
assert search(0, 0, 0) == 10 and page()[1:4] == (0, 0, 0), "what was left is dropped"

def ask(**more):
    q = os.open(mnt + "/.vexfs/query", os.O_RDWR)
    request = {"space": "t", "vector": list(struct.unpack("<64f", one)), **more}
    os.write(q, json.dumps(request).encode())
    text = b""
    while True:
        b = os.read(q, 1 << 16)
        if not b:
            break
        text += b
    os.close(q)
    return json.loads(text)

a = ask(max_visited=5000)
assert a["partial"] is True and len(a["hits"]) == 10, a
assert "partial" not in ask(max_visited=10**12, max_ms=60000)
for bad in ({"max_ms": 0}, {"max_ms": 1.5}, {"max_visited": -1}, {"max_ms": 1, "live": True}):
    assert ask(**bad)["error"]["name"] == "EINVAL", bad
END
equal "ioctl and JSON" 0 $?

# ---- searches at once -----------------------------------------------------------------
# Six clients whose searches are short enough for a request's own thread: with one at a
# time the others wait, and all are answered.
vexctl config max_concurrent_ops=1
timeout 120 python3 - "$MNT" "$T/one" <<'END'
import fcntl, os, re, struct, sys, threading, time
mnt, one = sys.argv[1], open(sys.argv[2], "rb").read()
SEARCH = (3 << 30) | (16376 << 16) | (0xF5 << 8) | 2
ending, answered = threading.Event(), [0] * 6

def client(i):
    fd = os.open(mnt + "/.vexfs/control", os.O_RDWR)
    while not ending.is_set():
        b = bytearray(16376)
        struct.pack_into("IIII", b, 0, 0, 10, 0, 64)
        b[48:49] = b"t"
        b[256:512] = one
        fcntl.ioctl(fd, SEARCH, b)
        assert struct.unpack_from("I", b, 116)[0] == 10
        answered[i] += 1
    os.close(fd)

def gauge(text, name):
    return int(re.search(r"^vexfs_%s (\d+)$" % name, text, re.M)[1])

threads = [threading.Thread(target=client, args=(i,)) for i in range(6)]
for t in threads:
    t.start()
waited, end = 0, time.time() + 60
while time.time() < end and not (waited > 2 and min(answered) > 20):
    with open(mnt + "/.vexfs/metrics") as f:
        text = f.read()
    assert gauge(text, "search_running") <= 1, "more than one ran"
    waited += gauge(text, "search_queue_length") > 0
ending.set()
for t in threads:
    t.join()
assert waited > 2, "nobody ever waited"
assert min(answered) > 20, answered
END
equal "one at a time, in turn" 0 $?
vexctl config max_concurrent_ops=0
finish
