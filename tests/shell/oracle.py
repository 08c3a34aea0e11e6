# SPDX-License-Identifier: Apache-2.0
"""Random searches, three ways: vexctl (the ioctl), .vexfs/query, and a brute force of its
own on the same numbers. Every metric and element type; files with several keys and rows;
bounds, pages, rows a file, filters, directories, like and unlike files, diversity, batches;
pages that fit together; what is wrong with a request, by the same word both ways.

usage: oracle.py MOUNT VEXCTL N (run by oracle.sh)"""
import errno
import fnmatch
import json
import math
import os
import random
import struct
import subprocess
import sys

mnt, vexctl, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
seed = int(os.environ.get("VEXFS_SEED") or random.SystemRandom().randrange(1 << 32))
print("VEXFS_SEED=%d" % seed)
rnd = random.Random(seed)
DIM = 6
KINDS = [(m, t) for t in ("f32", "f16", "i8", "i16") for m in ("cosine", "l2", "ip", "l1")]
KINDS += [("hamming", "bit"), ("jaccard", "bit")]
failed = 0


def fail(*words):
    global failed
    failed += 1
    if failed < 6:
        print("FAILED", *words, file=sys.stderr)


# ---- the files ----------------------------------------------------------------------------

def number(t):
    if t == "i8":
        return rnd.randint(-128, 127)
    if t == "i16":
        return rnd.randint(-3000, 3000)
    if t == "bit":
        return rnd.randint(0, 1)
    return struct.unpack("e", struct.pack("e", rnd.uniform(-1, 1)))[0]


def row_of(t):
    row = [number(t) for _ in range(DIM)]
    return row if any(row) else row_of(t)


def packed(t, row):
    if t == "bit":
        return bytes([sum(b << i for i, b in enumerate(row))])
    return struct.pack("<%d%s" % (DIM, {"f32": "f", "f16": "e", "i8": "b", "i16": "h"}[t]), *row)


files = {}
for d in ("a", "a/b", "c"):
    os.mkdir(mnt + "/" + d)
for i in range(40):
    name = rnd.choice(("", "a/", "a/b/", "c/")) + rnd.choice(("f", "g h", "x\n", "\u00e9:k")) + str(i)
    files[name] = {"size": rnd.randrange(5), "lang": rnd.choice(("en", "de", None))}
    with open(mnt + "/" + name, "wb") as f:
        f.write(b"x" * files[name]["size"])
    if files[name]["lang"]:
        os.setxattr(mnt + "/" + name, "user.lang", files[name]["lang"].encode())
rows = {}  # space -> [(path, key, row, numbers)]
for metric, t in KINDS:
    space = metric + "_" + t
    rows[space] = []
    subprocess.run([vexctl, "-m", mnt, "space", "create", space, "--dim", str(DIM), "--metric",
                    metric, "--type", t], check=True)
    for name in files:
        for key in rnd.sample(["", "k", "a key"], rnd.randint(0, 3)):
            matrix = [row_of(t) for _ in range(rnd.randint(1, 4))]
            attr = "user.vexfs." + space + ("." + key if key else "")
            os.setxattr(mnt + "/" + name, attr, b"".join(packed(t, r) for r in matrix))
            rows[space] += [(name, key, i, r) for i, r in enumerate(matrix)]

# ---- the oracle ---------------------------------------------------------------------------


def distance(metric, a, b):
    dot = sum(x * y for x, y in zip(a, b))
    if metric == "cosine":
        return 1 - dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    if metric == "ip":
        return -dot
    if metric == "l1":
        return sum(abs(x - y) for x, y in zip(a, b))
    if metric == "hamming":
        return sum((x > 0) != (y > 0) for x, y in zip(a, b))
    if metric == "jaccard":
        either = sum(x > 0 or y > 0 for x, y in zip(a, b))
        return 1 - sum(x > 0 and y > 0 for x, y in zip(a, b)) / either if either else 0.0
    return math.dist(a, b)


WHERE = {
    "xattr.lang = 'en'": lambda p, f: f["lang"] == "en",
    "size > 2 OR xattr.lang IS NULL": lambda p, f: f["size"] > 2 or not f["lang"],
    "name GLOB 'f*' AND NOT size = 1":
        lambda p, f: fnmatch.fnmatchcase(p.split("/")[-1], "f*") and f["size"] != 1,
    "path LIKE 'a/%'": lambda p, f: p.startswith("a/"),
}


def like_path(q):
    return q["like"][:-len(":" + q["like_key"])] if "like_key" in q else q.get("like")


def by_query(space, q, queries):
    """Of one query (or several that are one) all rows that may be hits, nearest first."""
    metric = space.split("_")[0]
    out = []
    for path, key, row, v in rows[space]:
        if path in (like_path(q), q.get("unlike")):
            continue
        if "under" in q and not path.startswith(q["under"] + "/"):
            continue
        if "where" in q and not WHERE[q["where"]](path, files[path]):
            continue
        out.append((min(distance(metric, x, v) for x in queries), path, key, row, v))
    out.sort(key=lambda h: h[0])
    if "max_distance" in q:
        out = [h for h in out if h[0] <= q["max_distance"]]
    share, taken, kept = q.get("per_file", 1), {}, []
    for h in out:
        taken[h[1]] = taken.get(h[1], 0) + 1
        if not share or taken[h[1]] <= share:
            kept.append(h)
    return kept


class TooClose(Exception):
    """Float32 and these doubles may differ in what is nearer."""


def diverse(space, pool, want, lam):
    metric, chosen, left = space.split("_")[0], [], list(pool)
    while left and len(chosen) < want:
        def score(h):
            return (1 - lam) * min(distance(metric, c[4], h[4]) for c in chosen) - lam * h[0]
        best = sorted(left, key=score)[-2:] if chosen else [left[0]]
        if len(best) > 1 and score(best[1]) - score(best[0]) < 1e-5:
            raise TooClose
        at = best[-1]
        chosen.append(at)
        left.remove(at)
    return chosen


def unit(v):
    s = math.sqrt(sum(x * x for x in v))
    return [x / s for x in v]


def mean(matrix, cosine):
    matrix = [unit(r) for r in matrix] if cosine else matrix
    m = [sum(c) / len(matrix) for c in zip(*matrix)]
    return unit(m) if cosine else m


def queries_of(space, q):
    """The vectors asked for, and whether they are one query."""
    cosine = space.startswith("cosine")
    if "like" in q:
        path, key = like_path(q), q.get("like_key")
        vectors = [v for p, k, _, v in rows[space] if p == path and (not key or k == key)]
    else:
        vectors = q.get("vectors") or [q["vector"]]
    if "unlike" in q:
        u = mean([v for p, _, _, v in rows[space] if p == q["unlike"]], cosine)
        if "like" in q:
            vectors = [mean(vectors, cosine)]
        vectors = [unit(v) if cosine else v for v in vectors]
        vectors = [[x - q.get("beta", 0.5) * y for x, y in zip(v, u)] for v in vectors]
    return vectors, "like" in q


def expected(space, q):
    vectors, one = queries_of(space, q)
    out = []
    for query in [vectors] if one else [[v] for v in vectors]:
        hits, offset = by_query(space, q, query), q.get("offset", 0)
        if "mmr" in q:
            hits = diverse(space, hits, q["k"] + offset, q["mmr"])
        ranged = "max_distance" in q and "k" not in q
        out.append(hits[offset:] if ranged else hits[offset:offset + q.get("k", 10)])
    return out

# ---- asking -------------------------------------------------------------------------------


def by_file(request):
    fd = os.open(mnt + "/.vexfs/query", os.O_RDWR)
    try:
        os.write(fd, json.dumps(request, ensure_ascii=False).encode())
        answer = b""
        while True:
            part = os.read(fd, 1 << 20)
            answer += part
            if not part:
                return json.loads(answer)
    finally:
        os.close(fd)


def option(name, v):
    flag = "-k" if name == "k" else "--" + name.replace("_", "-")
    if v is True:
        return [flag]
    return [flag, ",".join(map(repr, v)) if isinstance(v, list) else str(v)]


def by_cli(q):
    args, lines = [vexctl, "-m", mnt, "search", "--json"], None
    for name, v in q.items():
        if name == "vectors":
            lines = "\n".join(",".join(map(repr, r)) for r in v)
            args += ["--vector-file", "-"]
        elif name != "like_key":
            args += option(name, v)
    done = subprocess.run(args, input=lines, capture_output=True, text=True, cwd=mnt)
    return done.returncode, done.stdout, done.stderr


def bound_between(space, q):
    """A bound that no row is close to."""
    metric, asked = space.split("_")[0], queries_of(space, q)[0]
    all_of = sorted(distance(metric, x, v) for x in asked for _, _, _, v in rows[space])
    at = rnd.randrange(len(all_of) - 1)
    low, high = all_of[at], all_of[at + 1]
    if high - low > 1e-3 * max(1, abs(low), abs(high)):
        q["max_distance"] = struct.unpack("f", struct.pack("f", (low + high) / 2))[0]


def random_query(space):
    metric, t = space.split("_")
    q = {"space": space, "exact": True} if rnd.random() < 0.5 else {"space": space}
    there = sorted({p for p, _, _, _ in rows[space]})
    vector = [rnd.uniform(-1, 1) for _ in range(DIM)]
    kind = rnd.random()
    if kind < 0.25:
        q["like"] = rnd.choice(there)
        if any(p == q["like"] and k == "k" for p, k, _, _ in rows[space]) and rnd.random() < 0.5:
            q["like"] += ":k"
            q["like_key"] = "k"
    elif kind < 0.4:
        q["vectors"] = [[rnd.uniform(-1, 1) for _ in range(DIM)] for _ in range(3)]
    else:
        q["vector"] = vector
    if rnd.random() < 0.8:
        q["k"] = rnd.randint(1, 15)
    for name, values, share in (("per_file", (0, 1, 2, 3), 0.5), ("offset", (1, 3, 30), 0.3),
                                ("under", ("a", "a/b", "c"), 0.25), ("where", list(WHERE), 0.3),
                                ("fresh", (True,), 0.2), ("no_cache", (True,), 0.3)):
        if rnd.random() < share:
            q[name] = rnd.choice(values)
    if t == "f32" and metric != "l1" and rnd.random() < 0.2 and "like_key" not in q:
        q["unlike"] = rnd.choice([p for p in there if p != q.get("like")])
        if rnd.random() < 0.5:
            q["beta"] = rnd.choice((0.25, 2))
    if t == "f32" and rnd.random() < 0.25 and "k" in q and "vectors" not in q:
        q["mmr"] = rnd.choice((0, 0.3, 0.7, 1))
    if rnd.random() < 0.3:
        bound_between(space, q)
    return q


def near(a, b, scale):
    return abs(a - b) <= 2e-5 * max(1, abs(a), abs(b)) * scale


def same_hits(space, q, want, hits):
    metric, t = space.split("_")
    vectors, one = queries_of(space, q)
    if len(hits) != sum(map(len, want)):
        return "%d hits, not %d" % (len(hits), sum(map(len, want)))
    flat = [(i, h) for i, hs in enumerate(want) for h in hs]
    numbers = {(p, k, r): v for p, k, r, v in rows[space]}
    scale = 1e3 if t == "i16" and metric != "cosine" else 1
    for (i, w), h in zip(flat, hits):
        if h.get("query", 0) != i or h["space"] != space or h["stale"]:
            return "query, space or mark of %s" % h
        if not near(h["distance"], w[0], scale):
            return "distance of %s, wanted %s" % (h, w[:4])
        own = numbers.get((h["path"], h["key"] or "", h["row"]))
        if own is None or not near(h["distance"], min(
                distance(metric, x, own) for x in (vectors if one else [vectors[i]])), scale):
            return "%s is no such row" % h
    return None


for i in range(count):
    space = "%s_%s" % rnd.choice(KINDS)
    q = random_query(space)
    try:
        want = expected(space, q)
    except TooClose:
        continue
    code, out, err = by_cli(q)
    answer = by_file({k: v for k, v in q.items() if k != "like_key"})
    if code not in (0, 1) or "error" in answer:
        fail("error", q, err, answer)
        continue
    hits = json.loads(out)["hits"]
    if hits != answer["hits"]:
        fail("vexctl and query differ", q, hits, answer["hits"])
    why = same_hits(space, q, want, hits)
    if why:
        fail(q, why, "\n", [h[:4] for hs in want for h in hs], "\n", hits)

# ---- pages that fit together ----------------------------------------------------------------

for i in range(6):
    space = "%s_%s" % rnd.choice(KINDS)
    q = {"space": space, "vector": [rnd.uniform(-1, 1) for _ in range(DIM)], "per_file": 0}
    whole = by_file(dict(q, k=300))["hits"]
    pages, at = [], 0
    while True:
        page = by_file(dict(q, k=7, offset=at))["hits"]
        pages += page
        at += 7
        if len(page) < 7:
            break
    if pages != whole or len(whole) != len(rows[space]):
        fail("pages", space, len(pages), len(whole), len(rows[space]))

# ---- what is wrong, by the same word ---------------------------------------------------------

l2, v = "l2_f32", [1.0] * DIM
BAD = [
    {"space": "nope", "vector": v}, {"space": l2, "vector": [1.0, 2.0]}, {"vector": v},
    {"space": "cosine_f32", "vector": [0.0] * DIM}, {"space": l2, "vector": v, "k": 1 << 21},
    {"space": l2, "vector": v, "where": "size >"}, {"space": l2, "vector": v, "where": "no = 1"},
    {"space": l2, "vector": v, "under": "nope"}, {"space": l2, "like": "nope"},
    {"space": l2, "like": "a"}, {"space": l2, "vector": v, "unlike": "nope"},
    {"space": l2, "vector": v, "k": 5, "offset": 1 << 20}, {"vector": [1.0] * 99},
    {"space": l2, "vector": v, "min_similarity": 0.5}, {"space": l2, "vector": v, "mmr": 0.5, "k": 2000},
    {"space": l2, "vector": v, "under": min(f for f in files if "\n" not in f)},
]
for q in BAD:
    code, out, err = by_cli(q)
    e = by_file(q).get("error", {})
    if code != 2 or out or not e or errno.errorcode.get(e["errno"]) != e["name"] or \
            e["text"] not in err or err.count("\n") != 1:
        fail("wrong request", q, code, out, repr(err), e)
print("%d searches, %d failures" % (count, failed))
sys.exit(failed != 0)
