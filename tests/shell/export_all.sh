#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A whole store out as one .jsonl and into an empty one: the same spaces, and every
# attachment byte for byte as it was set; exported again it is the same file.
. "$(dirname "$0")/lib.sh"

vex_start
vexctl space create f --dim 3 --metric l2 --m 20 --ef-construction 150 --recall 0.9
vexctl space create h --dim 3 --type f16 --index flat
vexctl space create q --dim 3 --type i8 --scale 0.25 --metric ip
vexctl space create i --dim 3 --type i16 --metric l1
vexctl space create b --dim 11 --type bit --metric jaccard
vexctl space create empty --dim 7
mkdir -p "$MNT/d/e" "$MNT/bare"
cat >"$T/set.py" <<'PY'
import os, struct, sys
m = sys.argv[1]
def put(path, attr, value):
    p = os.path.join(os.fsencode(m), path)
    if not os.path.exists(p):
        open(p, "wb").close()
    os.setxattr(p, b"user.vexfs." + attr, value)
for n in range(40):
    put(b"d/f%d" % n, b"f", struct.pack("3f", n / 7, 1e-30, -n))
put(b"d/e/t", b"f", b"[1, 2.50,\t3]\n[4,5,6]\r\n")
put(b"d/e/t", b"f.k1", b"1e0 2 3")
put(b"d/e/\xff\n\"odd", b"f.\xfe,\"k", struct.pack("6f", 1, 2, 3, 4, 5, 6))
put(b"d", b"f", b"9,9,9")
put(b"bare", b"h", struct.pack("3e", 1, 2, 0.1))
put(b"x", b"h", b"0.1,0.2,0.3")
put(b"x", b"q", struct.pack("3b", -128, 5, 127))
put(b"x", b"q.text", b"[0.25,0.5,-1]")
put(b"x", b"i", struct.pack("<3h", -30000, 5, 30000))
put(b"x", b"b", b"\x05\x02")
put(b"y", b"b.t", b"[1,0,1,0,1,0,1,0,1,0,1]")
PY
python3 "$T/set.py" "$MNT"

# Every attachment's bytes.
cat >"$T/dump.py" <<'PY'
import os, sys
m = os.fsencode(sys.argv[1])
for at, dirs, files in sorted(os.walk(m)):
    for p in [at] + [os.path.join(at, f) for f in files]:
        for a in sorted(os.listxattr(p)):
            if a.startswith("user.vexfs."):
                print(os.path.relpath(p, m), os.path.isdir(p), ascii(a), os.getxattr(p, a))
PY
python3 "$T/dump.py" "$MNT" | sort >"$T/before"
vexctl space list --script >"$T/spaces.before"
check "export" vexctl export -q --all "$T/all.jsonl"
check "each line is JSON" python3 -c 'import json,sys
for line in open(sys.argv[1]): json.loads(line)' "$T/all.jsonl"
equal "a line each" "$((6 + $(wc -l <"$T/before")))" "$(wc -l <"$T/all.jsonl")"
exits "--all and --space" 2 vexctl export --all --space f "$T/no.jsonl"
exits "--all as .npy" 2 vexctl export --all "$T/no.npy"
exits "needs one of them" 2 vexctl export "$T/no.jsonl"

vex_stop || die "stop"
rm -rf "$STORE"
mkdir "$STORE"
vex_start
exits "nothing in it: done" 0 vexctl export -q --all "$T/none.jsonl"
check "import" vexctl import -q "$T/all.jsonl"
python3 "$T/dump.py" "$MNT" | sort >"$T/after"
check "the same attachments, byte for byte" cmp "$T/before" "$T/after"
vexctl space list --script >"$T/spaces.after"
check "the same spaces" cmp "$T/spaces.before" "$T/spaces.after"
check "export again" vexctl export -q --all "$T/again.jsonl"
check "the same file" cmp "$T/all.jsonl" "$T/again.jsonl"
check "import into what is there" vexctl import -q "$T/all.jsonl"
python3 "$T/dump.py" "$MNT" | sort >"$T/after"
check "still the same" cmp "$T/before" "$T/after"

# A space that is there and another: refused, not mixed.
vexctl space drop b
vexctl space create b --dim 5 --metric l2
exits "another space of that name" 2 vexctl import -q "$T/all.jsonl"
echo '{"create":"../x --dim 3"}' >"$T/bad.jsonl"
exits "a bad name" 2 vexctl import -q "$T/bad.jsonl"
echo '{"create":"ok --dim zzz"}' >"$T/bad.jsonl"
exits "a bad number" 2 vexctl import -q "$T/bad.jsonl"
vex_stop || die "stop"
finish
