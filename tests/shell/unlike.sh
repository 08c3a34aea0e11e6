#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl search --like A --unlike B [--beta B], and the same by JSON: against the formula
# computed here, in each metric that has one.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "no python3"

vex_start
cat >"$T/try.py" <<'PY'
import json, math, os, random, subprocess, sys
mnt, vexctl = os.environ["VEXFS_MOUNT"], sys.argv[1]
seed = int(os.environ.get("VEXFS_SEED", "7"))
print("seed", seed)
rnd = random.Random(seed)
dim, n = 6, 60
files = {}
for i in range(n):
    name = "f%02d" % i
    open(mnt + "/" + name, "w").close()
    rows = 2 if i % 10 == 0 else 1
    files[name] = [[rnd.uniform(-1, 1) for _ in range(dim)] for _ in range(rows)]
bad = 0
def unit(v):
    s = math.sqrt(sum(x * x for x in v))
    return [x / s for x in v]
def mean(rows, cosine):
    rows = [unit(r) for r in rows] if cosine else rows
    m = [sum(c) / len(rows) for c in zip(*rows)]
    return unit(m) if cosine else m
def distance(metric, a, b):
    dot = sum(x * y for x, y in zip(a, b))
    if metric == "cosine":
        return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    return -dot if metric == "ip" else math.dist(a, b)
def run(*args):
    return subprocess.run([vexctl, "search", "--json", *args], capture_output=True, text=True)
for metric in "cosine", "l2", "ip":
    subprocess.run([vexctl, "space", "create", metric, "--dim", str(dim), "--metric", metric], check=True)
    for name, rows in files.items():
        text = "\n".join(",".join("%.6f" % x for x in r) for r in rows)
        os.setxattr(mnt + "/" + name, "user.vexfs." + metric, text.encode())
    for like, unlike, beta in ("f01", "f02", None), ("f10", "f20", 0.25), ("f03", "f30", 2.0):
        b = 0.5 if beta is None else beta
        c = metric == "cosine"
        q = [x - b * y for x, y in zip(mean(files[like], c), mean(files[unlike], c))]
        want = sorted((min(distance(metric, q, r) for r in rows), f)
                      for f, rows in files.items() if f not in (like, unlike))[:7]
        extra = [] if beta is None else ["--beta", str(beta)]
        r = run("--space", metric, "-k", "7", "--like", like, "--unlike", unlike, *extra)
        hits = json.loads(r.stdout)["hits"] if r.returncode == 0 else []
        got = [h["path"] for h in hits]
        close = all(abs(h["distance"] - w[0]) < 1e-4 for h, w in zip(hits, want))
        request = {"space": metric, "k": 7, "like": like, "unlike": unlike, "beta": beta}
        fd = os.open(mnt + "/.vexfs/query", os.O_RDWR)
        os.write(fd, json.dumps(request).encode())
        answer = json.loads(os.read(fd, 1 << 20))
        os.close(fd)
        ok = got == [w[1] for w in want] and close and answer["hits"] == hits
        if not ok:
            bad += 1
            print("FAILED", metric, like, unlike, beta, r.stderr, got, want, answer)
# vectors may be moved too, and rows of one key alone
v = files["f05"][0]
q = [x - 0.5 * y for x, y in zip(unit(v), unit(files["f06"][0]))]
want = min((min(distance("cosine", q, r) for r in rows), f) for f, rows in files.items() if f != "f06")
r = run("--space", "cosine", "-k", "1", "--vector", ",".join(map(str, v)), "--unlike", "f06")
if json.loads(r.stdout)["hits"][0]["path"] != want[1]:
    bad += 1
    print("FAILED vector", r.stdout, want)
sys.exit(bad != 0)
PY
check "the formula" python3 "$T/try.py" "$B/vexctl"
exits "cancelled out" 2 vexctl search --space cosine --like f01 --unlike f01 --beta 1
check "says so" grep -q 'cancel' "$T/err"
exits "no such file" 2 vexctl search --space cosine --like f01 --unlike none
: >"$MNT/bare"
exits "nothing attached" 2 vexctl search --space cosine --like f01 --unlike bare
exits "beta alone" 2 vexctl search --space cosine --like f01 --beta 1
exits "beta 0" 2 vexctl search --space cosine --like f01 --unlike f02 --beta 0
exits "beta no number" 2 vexctl search --space cosine --like f01 --unlike f02 --beta x
finish
