#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Element types and metrics by vexctl: spaces that come back from their script, attach,
# get, import, export, txn, and stores that are copied with all of it.
. "$(dirname "$0")/lib.sh"

for f in a b c; do : >"$STORE/$f"; done
vex_start

# ---- spaces --------------------------------------------------------------------------
check "f16" vexctl space create h --dim 3 --type f16 --metric l2
check "i8" vexctl space create i --dim 3 --type i8 --metric l1
check "i8 with a scale" vexctl space create s --dim 3 --type i8 --metric ip --scale 0.1
check "i16 with an odd scale" vexctl space create w --dim 3 --type i16 --scale 0.30000000000000004
check "bit is hamming" vexctl space create b --dim 11 --type bit
check "bit, jaccard, flat" vexctl space create j --dim 11 --type bit --metric jaccard --index flat
exits "hamming of i8" 2 vexctl space create x --dim 3 --type i8 --metric hamming
exits "l1 of bit" 2 vexctl space create x --dim 3 --type bit --metric l1
for bad in 0 -1 nan 0x1 '' 1e400; do
	exits "scale '$bad'" 2 vexctl space create x --dim 3 --type i8 --scale "$bad"
	equal "one line says so" 1 "$(wc -l <"$T/err")"
done
exits "a scale of f16" 2 vexctl space create x --dim 3 --type f16 --scale 1
exits "no such type" 2 vexctl space create x --dim 3 --type f64
exits "no such metric" 2 vexctl space create x --dim 3 --metric euclid
exits "nothing was made" 2 vexctl space show x
equal "list" 'b bit hamming
h f16 l2
i i8 l1
j bit jaccard
s i8 ip
w i16 cosine' "$(vexctl space list | awk '{ print $1, $4, $3 }' | sort)"
equal "show" 'type: i16
scale: 0.30000000000000004' "$(vexctl space show w | grep -e ^type -e ^scale)"
vexctl space list --script >"$T/script"
grep -q -- '--type i16 --index hnsw --scale 0.30000000000000004 ' "$T/script" ||
	die "script: $(cat "$T/script")"
grep -q 'create s .*--scale 0.1 ' "$T/script" || die "script: $(cat "$T/script")"

# ---- attach, get ----------------------------------------------------------------------
check "numbers to i8" vexctl attach a --space i --vector 1,-128,127
equal "bytes" '01 80 7f' "$(vexctl get a --space i --raw | od -An -tx1 | xargs)"
equal "get decodes" 1,-128,127 "$(vexctl get a --space i)"
check "text in brackets stays" vexctl attach b --space i --vector '[1, 2, 3]'
equal "as text" '[1, 2, 3]' "$(vexctl get b --space i)"
for bad in 128,0,0 -129,0,0 0.5,0,0 '[200,0,0]'; do
	exits "i8 of $bad" 2 vexctl attach c --space i --vector "$bad"
	grep -q 'rows of 3 i8, whole numbers' "$T/err" || die "no sentence: $(cat "$T/err")"
done
exits "c has none" 1 vexctl get c
check "scaled" vexctl attach a --space s --vector 0.14,-12.8,12.74
equal "rounded" 0.100000001,-12.8000002,12.6999998 "$(vexctl get a --space s)"
exits "past the scale" 2 vexctl attach a --space s --vector 12.76,0,0
check "f16 text" vexctl attach a --space h --vector 1,2.5,65504
check "f16 numbers" vexctl attach b --space h --vector-file <(printf '\0\0\200?\0\0\0@\0\0@@')
equal "two bytes each" 6 "$(vexctl get b --space h --raw | wc -c)"
equal "get" 1,2,3 "$(vexctl get b --space h)"
exits "f16 overflows" 2 vexctl attach c --space h --vector 65520,0,0
check "bits" vexctl attach a --space b --vector 1,0,1,0,0,0,0,0,1,-1,0.5
equal "from the least significant" '05 05' "$(vexctl get a --space b --raw | od -An -tx1 | xargs)"
equal "get" 1,0,1,0,0,0,0,0,1,0,1 "$(vexctl get a --space b)"
check "bits, spare ones set" setfattr -n user.vexfs.b -v 0x05fd "$MNT/b"
equal "spare bits count for nothing" '0	a
0	b' "$(vexctl search --space b --vector 1,0,1,0,0,0,0,0,1,0,1)"
equal "hamming" '4	a' "$(vexctl search --space b --vector 0,0,0,0,0,0,0,0,0,0,0 -k 1)"
check "nothing" vexctl attach a --space j --vector 0,0,0,0,0,0,0,0,0,0,0
check "all" vexctl attach b --space j --vector 1,1,1,1,1,1,1,1,1,1,1
equal "jaccard: nothing is near nothing" '0	a
1	b' "$(vexctl search --space j --vector 0,0,0,0,0,0,0,0,0,0,0)"
equal "l1" '0	a
254	b' "$(vexctl search --space i --vector 1,-128,127)"
equal "json names the metric" '"metric":"l1"' \
	"$(vexctl search --space i --vector 1,2,3 --json | grep -o '"metric":"[a-z0-9]*"')"

# ---- txn: lines are numbers, whatever the space stores ---------------------------------
printf 'put\tc\ti\t1 2 3\nput\tc\tb\t1,1,1,1,1,1,1,1,1,1,1\nput\tc\ti.k\t[4,5,6]\n' >"$T/lines"
check "txn" vexctl txn <"$T/lines"
raw_i()
{
	getfattr --only-values -n user.vexfs.i "$MNT/c" 2>/dev/null | od -An -tx1 | xargs
}
equal "numbers" '01 02 03' "$(raw_i)"
equal "text in brackets" '[4,5,6]' "$(vexctl get c --space i --key k)"
printf 'put\tc\ti\t7 8 9\nput\tc\ti\t1 2 300\n' >"$T/lines"
exits "all or none" 2 vexctl txn <"$T/lines"
equal "none" '01 02 03' "$(raw_i)"

# ---- import, export --------------------------------------------------------------------
python3 - "$T" <<'PY'
import struct, sys
T = sys.argv[1]
def npy(name, descr, data, n):
    head = ("{'descr': '%s', 'fortran_order': False, 'shape': (%d, 3), }" % (descr, n)).encode()
    head += b" " * (118 - len(head) - 1) + b"\n"
    open(T + "/" + name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)
npy("i1.npy", "|i1", struct.pack("300b", *[(i * 37) % 256 - 128 for i in range(300)]), 100)
npy("i2.npy", "<i2", struct.pack("<300h", *[(i * 997) % 65536 - 32768 for i in range(300)]), 100)
npy("f2.npy", "<f2", struct.pack("<300e", *[(i - 150) / 8 for i in range(300)]), 100)
npy("b1.npy", "|b1", bytes((i * 7) % 5 < 2 for i in range(300)), 100)
PY
vexctl space create t8 --dim 3 --type i8 --metric l2 || die "t8"
vexctl space create t16 --dim 3 --type i16 --metric l2 || die "t16"
vexctl space create th --dim 3 --type f16 --metric l2 || die "th"
vexctl space create tb --dim 3 --type bit || die "tb"
for x in t8:i1 t16:i2 th:f2; do
	s=${x%:*} f=${x#*:}
	check "import $f" vexctl import -q --space "$s" --dir "$s" "$T/$f.npy"
	equal "again: all there" '0 rows attached, 100 were there already' \
		"$(vexctl import --space "$s" --dir "$s" "$T/$f.npy" 2>&1 | cut -d, -f 1,2)"
	check "export $f" vexctl export -q --space "$s" "$T/out.npy"
	check "the same elements" cmp <(tail -c +129 "$T/$f.npy") <(tail -c +129 "$T/out.npy")
done
check "import bools to bits" vexctl import -q --space tb --dir tb "$T/b1.npy"
check "export" vexctl export -q --space tb "$T/out.npy"
check "a byte each" cmp <(tail -c +129 "$T/b1.npy") <(tail -c +129 "$T/out.npy")
exits "i2 into i8: out of range" 2 vexctl import -q --space t8 --dir no "$T/i2.npy"
vexctl export -q --space th "$T/h.jsonl" || die "jsonl"
check "jsonl of f16" vexctl import -q --space th --dir again "$T/h.jsonl"
equal "the same again" "$(vexctl export -q --space th - | sed -n '101,200s/again.//p')" \
	"$(cat "$T/h.jsonl")"
check "bvecs of bits" vexctl export -q --space tb "$T/b.bvecs"

# The longest values, whose float32 would be too long for one read.
vexctl space create big --dim 16384 --type bit --metric jaccard || die "big"
head -c 65536 /dev/urandom >"$T/bits"
python3 -c 'import os, sys; os.setxattr(sys.argv[1], "user.vexfs.big", open(sys.argv[2], "rb").read())' \
	"$MNT/a" "$T/bits" || die "big value"
check "export of 2 MiB of numbers" vexctl export -q --space big "$T/big.npy"
vexctl space create big2 --dim 16384 --type bit --metric jaccard || die "big2"
check "and back" vexctl import -q --space big2 --dir big "$T/big.npy"
equal "32 rows" 32 "$(find "$MNT/big" -type f | wc -l)"
check "the same bits" cmp "$T/bits" <(find "$MNT/big" -type f | sort | while read -r f; do
	getfattr --only-values -n user.vexfs.big2 "$f" 2>/dev/null
done)

# No plain filesystem need hold such values.
vexctl space drop big && vexctl space drop big2 || die "drop"

# ---- another store ---------------------------------------------------------------------
vexctl space list --script >"$T/script"
(cd "$MNT" && getfattr -R -d -e hex . >"$T/dump1")
cp -a "$MNT/." "$T/plain" 2>/dev/null || die "cp out"
check "vexfs ends well" vex_stop
check "fsck" "$B/vexfs" --fsck "$STORE"
mkdir "$T/second" && STORE=$T/second
vex_start -o strict
(vexctl() { "$B/vexctl" "$@"; } && . "$T/script") || die "the script fails"
cp -a "$T/plain/." "$MNT" || die "cp in"
(cd "$MNT" && getfattr -R -d -e hex . >"$T/dump2")
check "every attachment is the same" cmp "$T/dump1" "$T/dump2"
vexctl space list --script >"$T/script2"
check "and every space" cmp "$T/script" "$T/script2"
finish
