#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Live queries: lines against the query run anew after each of many random changes; poll;
# nothing where nothing changes; overflow; errors; the end.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "no python3"

vex_start
cat >"$T/live.py" <<'PY'
import json, os, random, select, subprocess, sys, time
mnt = os.environ["VEXFS_MOUNT"]
steps = int(os.environ.get("LIVE_STEPS", "150"))
seed = int(os.environ.get("VEXFS_SEED", str(time.time_ns() % 1000000)))
print("seed", seed)
rnd = random.Random(seed)
Q = mnt + "/.vexfs/query"

def ask(request):
    fd = os.open(Q, os.O_RDWR)
    os.write(fd, json.dumps(request).encode())
    out = b""
    while True:
        piece = os.read(fd, 1 << 16)
        if not piece:
            break
        out += piece
    os.close(fd)
    return json.loads(out)

class Live:
    def __init__(self, request):
        self.request = request
        self.fd = os.open(Q, os.O_RDWR)
        os.write(self.fd, json.dumps(dict(request, live=True)).encode())
        self.rest, self.hits, self.settled, self.lines, self.errors = b"", {}, None, 0, []
        self.overflows = 0
    def take(self, wait):
        """Takes in what there is; waits that long for it."""
        got = False
        p = select.poll()
        p.register(self.fd, select.POLLIN)
        while p.poll(0 if got else wait * 1000):
            data = os.read(self.fd, 1 << 16)
            if not data:
                break
            got = True
            self.rest += data
            *lines, self.rest = self.rest.split(b"\n")
            for line in lines:
                self.line(json.loads(line))
        return got
    def line(self, m):
        self.lines += 1
        e = m["event"]
        if e == "overflow":
            self.hits, self.overflows = {}, self.overflows + 1
        elif e == "error":
            self.errors.append(m["name"])
        elif e == "ready":
            order = sorted(self.hits.values(), key=lambda h: h["rank"])
            assert [h["rank"] for h in order] == list(range(1, m["hits"] + 1)), (m, order)
            self.settled = [(h["path"], h["key"], h["row"], h["distance"], h["stale"]) for h in order]
        else:
            key = (m["path"], m["key"], m["row"])
            assert (key in self.hits) == (e != "enter"), (e, key)
            if e == "leave":
                del self.hits[key]
            else:
                self.hits[key] = m
    def right(self):
        """Whether it comes to what the query finds now."""
        end = time.monotonic() + 10
        while True:
            want = [(h["path"], h["key"], h["row"], h["distance"], h["stale"]) for h in ask(self.request)["hits"]]
            if self.settled == want:
                return True
            if time.monotonic() > end:
                print("seed", seed, "live:", self.settled, "query:", want)
                return False
            self.take(0.2)

def vec():
    return ",".join("%.3f" % rnd.uniform(-1, 1) for _ in range(4)).encode()
def path(i):
    return "%s/%sf%02d" % (mnt, "d/" if i % 3 == 0 else "", i)
n = 40
os.mkdir(mnt + "/d")
subprocess.run([sys.argv[1], "space", "create", "t", "--dim", "4", "--metric", "l2"], check=True)
for i in range(n):
    open(path(i), "w").close()
    os.setxattr(path(i), "user.vexfs.t", vec())
lives = [Live(r) for r in (
    {"space": "t", "vector": [1, 0, 0, 0], "k": 5},
    {"space": "t", "vector": [0, 1, 0, 0], "k": 7, "under": "d"},
    {"space": "t", "vector": [0, 0, 1, 0], "max_distance": 1.2},
    {"space": "t", "vector": [0, 0, 1, 0], "k": 4, "where": "xattr.lang = 'en' AND mode = 420"},
    {"space": "t", "vector": [1, 1, 1, 0], "k": 6, "per_file": 0, "fresh": True},
)]
for l in lives:
    assert l.take(10), "nothing to read at first"
    assert l.right()
def change():
    i = rnd.randrange(n)
    p = path(i)
    what = rnd.randrange(9)
    try:
        if what <= 2:
            os.setxattr(p, "user.vexfs.t" + rnd.choice(["", "", ".k"]), vec())
        elif what == 3:
            os.removexattr(p, "user.vexfs.t")
        elif what == 4:
            os.unlink(p)
        elif what == 5:
            os.rename(p, path(rnd.randrange(n)))
        elif what == 6:
            os.setxattr(p, "user.lang", rnd.choice([b"en", b"de"]))
        elif what == 7:
            os.chmod(p, rnd.choice([0o644, 0o600]))
        else:
            with open(p, "a") as f:
                f.write("x")
            if rnd.random() < 0.5:
                os.setxattr(p, "user.vexfs.t", vec())
    except OSError:
        pass
for step in range(steps):
    for _ in range(rnd.choice([1, 1, 1, 5])):
        change()
    for l in lives:
        if not l.right():
            sys.exit("step %d" % step)
print(steps, "steps,", sum(l.lines for l in lives), "lines")

# nothing happens, nothing is said
for l in lives:
    l.take(0.1)
assert not any(l.take(0.3) for l in lives), "lines about nothing"

# nobody reads: bounded, and right again afterwards
subprocess.run([sys.argv[1], "space", "create", "u", "--dim", "4", "--metric", "l2"], check=True)
long = [mnt + "/" + "x" * 200 + "%02d" % i for i in range(60)]
for p in long:
    open(p, "w").close()
    os.setxattr(p, "user.vexfs.u", vec())
big = Live({"space": "u", "vector": [1, 0, 0, 0], "k": 1000})
assert big.take(10) and big.right()
burst = 3
while not big.overflows and burst < 60:
    end = time.monotonic() + burst
    while time.monotonic() < end:
        os.setxattr(rnd.choice(long), "user.vexfs.u", vec())
    assert big.right()
    burst *= 3
assert big.overflows, "no overflow"
assert os.fstat(big.fd) and big.lines < 100000

# another request ends it; so does closing
os.write(big.fd, b'{"space":"u","vector":[1,0,0,0],"k":1}')
assert len(json.loads(os.read(big.fd, 1 << 20))["hits"]) == 1
# errors
for bad in ({"vectors": [[1, 0, 0, 0], [0, 1, 0, 0]]}, {"vector": [1, 0, 0, 0], "k": 2000}, {"vector": [1, 0, 0, 0], "live": 1}):
    assert ask(dict({"space": "t", "live": True}, **bad))["error"]["name"] == "EINVAL", bad
l = lives[0]
subprocess.run([sys.argv[1], "space", "drop", "t"], check=True)
end = time.monotonic() + 10
while not l.errors and time.monotonic() < end:
    l.take(0.2)
assert l.errors == ["ENODEV"], l.errors
PY
check "lines as the query" python3 "$T/live.py" "$B/vexctl"
check "a clean end" vex_stop
finish
