#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/examples/search.c and search.py: what SPEC section 5 promises of them, and that
# both say the same; also through more hits than a struct holds, and past the
# dimension that fits one.
. "$(dirname "$0")/lib.sh"

command -v python3 >/dev/null || skip "no python3"
c=$B/examples/search
py=$TOP/docs/examples/search.py
[ -x "$c" ] || die "$c was not built: make examples"
vex_start

floats()
{
	python3 -c 'import struct, sys
sys.stdout.buffer.write(struct.pack("<%df" % len(sys.argv[1:]), *map(float, sys.argv[1:])))' "$@"
}

# Exit code and output of each example, against what is wanted.
both()
{
	local what=$1 code=$2 wanted=$3 stdin=$4 got rc
	shift 4
	for prog in "$c" "$py"; do
		got=$("$prog" "$@" <"$stdin" 2>"$T/err")
		rc=$?
		equal "$what: exit code of $prog" "$code" $rc
		equal "$what: $prog" "$wanted" "$got"
		[ "$code" -ne 2 ] || check "$what: $prog says why" test -s "$T/err"
	done
}

mkdir "$MNT/notes"
for i in 1 2 3; do
	: >"$MNT/notes/$i.txt"
	python3 - "$MNT/notes/$i.txt" "$i" <<'PY'
import os, struct, sys
if sys.argv[2] == "2":
    os.setxattr(sys.argv[1], "user.vexfs.t", b"2, 0")
else:
    os.setxattr(sys.argv[1], "user.vexfs.t", struct.pack("<2f", 1, float(sys.argv[2])))
PY
done
floats 1 0 >"$T/q"
wanted=$(printf '0\tnotes/2.txt\n0.292893231\tnotes/1.txt\n0.683772206\tnotes/3.txt')
both "three files" 0 "$wanted" "$T/q" "$MNT" t 10
both "the nearest" 0 "$(printf '0\tnotes/2.txt')" "$T/q" "$MNT" t 1
both "the only space of that dimension" 0 "$(printf '0\tnotes/2.txt')" "$T/q" "$MNT" "" 1
both "unknown space" 2 "" "$T/q" "$MNT" none 1
both "no k" 2 "" "$T/q" "$MNT" t 0
both "k is no number" 2 "" "$T/q" "$MNT" t x
both "too few words" 2 "" "$T/q" "$MNT" t
both "no mount" 2 "" "$T/q" "$T" t 1
floats 1 >"$T/short"
both "wrong dimension" 2 "" "$T/short" "$MNT" t 1
head -c 7 "$T/q" >"$T/short"
both "cut short" 2 "" "$T/short" "$MNT" t 1
: >"$T/short"
both "no query" 2 "" "$T/short" "$MNT" t 1
for i in 1 2 3; do
	setfattr -x user.vexfs.t "$MNT/notes/$i.txt"
done
both "nothing found" 1 "" "$T/q" "$MNT" t 10

# 4,096 dimensions are past any struct, 1,000 hits past any reply.
python3 - "$MNT" "$T/big" <<'PY'
import os, struct, sys
os.mkdir(sys.argv[1] + "/big")
for i in range(1000):
    path = "%s/big/%04d" % (sys.argv[1], i)
    open(path, "w").close()
    os.setxattr(path, "user.vexfs.big", struct.pack("<4096f", i + 1, *[1] * 4095))
open(sys.argv[2], "wb").write(struct.pack("<4096f", 0, *[1] * 4095))
PY
"$c" "$MNT" big 1000 <"$T/big" >"$T/c.out"
"$py" "$MNT" big 1000 <"$T/big" >"$T/py.out"
equal "all thousand" 1000 "$(wc -l <"$T/c.out")"
check "both say the same" cmp "$T/c.out" "$T/py.out"
equal "nearest first" "$(seq -f big/%04g 0 999)" "$(cut -f2 "$T/c.out")"
check "distances rise" sort -c -g -k1,1 "$T/c.out"
check "unmount" vex_stop
finish
