#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl import and export: every format in and out, bit for bit; names; going on where
# an import stopped; what is wrong in a file, and where.
. "$(dirname "$0")/lib.sh"

cat >"$T/make.py" <<'PY'
import array, json, random, struct, sys
T = sys.argv[1]
seed = 20260211
print("seed", seed)
random.seed(seed)
N, D = 500, 7
f32 = lambda x: struct.unpack("f", struct.pack("f", x))[0]
rows = [[f32(random.gauss(0, 1) * 10 ** random.randint(-20, 20)) for _ in range(D)] for _ in range(N)]
flat = array.array("f", [x for r in rows for x in r])
def npy(name, descr, data, shape, extra=b""):
    head = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (descr, shape)).encode()
    head += b" " * (118 - len(head) - 1) + b"\n"
    open(T + "/" + name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data + extra)
with open(T + "/r.fvecs", "wb") as f:
    for r in rows:
        f.write(struct.pack("<i", D) + array.array("f", r).tobytes())
npy("r.npy", "<f4", flat.tobytes(), (N, D))
npy("d.npy", "<f8", array.array("d", flat).tobytes(), (N, D))
npy("one.npy", "<f4", flat.tobytes()[:28], "(7,)")
npy("short.npy", "<f4", flat.tobytes()[:-1], (N, D))
npy("int.npy", "<i8", array.array("q", [1] * 7).tobytes(), (1, 7))
half = [0.5, -1.5, 65504.0, 6e-8, 0.0, 1.0, -2.0]
npy("h.npy", "<f2", struct.pack("<7e", *half), (1, 7))
npy("u.npy", "|u1", bytes(range(1, 8)), (1, 7))
npy("i.npy", "|i1", struct.pack("7b", -128, 127, 0, 1, 2, 3, 4), (1, 7))
with open(T + "/b.bvecs", "wb") as f:
    for i in range(10):
        f.write(struct.pack("<i", 7) + bytes((i * 7 + j) % 255 + 1 for j in range(7)))
with open(T + "/r.jsonl", "w") as f:
    for i, r in enumerate(rows):
        f.write(json.dumps({"id": i, "path": "deep/%d/f%d" % (i % 5, i), "x": [{"y": "]"}], "vector": r}) + "\n\n")
with open(T + "/r.csv", "w") as f:
    f.write("path," + ",".join("v%d" % i for i in range(D)) + "\r\n")
    for i, r in enumerate(rows):
        f.write('"q,""%d"",%s",' % (i, "x") + ",".join(map(repr, r)) + "\r\n")
with open(T + "/p.csv", "w") as f:
    for i, r in enumerate(rows[:20]):
        f.write("n%d," % i + ", ".join(map(repr, r)) + "\n")
PY
python3 "$T/make.py" "$T" || die "make.py"
vex_start

# What is attached to all files below $2 in space $1, in the order of names, as bytes.
attached()
{
	find "$MNT/$2" -type f -print0 | sort -zV | while IFS= read -r -d '' f; do
		getfattr --only-values -n "user.vexfs.$1" "$f" 2>/dev/null
	done
}
flat=$T/flat && tail -c +129 "$T/r.npy" >"$flat"

# ---- in ------------------------------------------------------------------------------
check "fvecs" vexctl import --space f --dir f "$T/r.fvecs"
check "its rows, bit for bit" cmp "$flat" <(attached f f)
equal "numbered" 0000001 "$(ls "$MNT/f" | head -n 1)"
check "npy" vexctl import --space n --dir n "$T/r.npy"
check "its rows" cmp "$flat" <(attached n n)
check "npy of doubles" vexctl import --space d --dir d "$T/d.npy"
check "its rows" cmp "$flat" <(attached d d)
check "jsonl" vexctl import --space j --dir j "$T/r.jsonl"
equal "500 files in 5 directories" '500 5' \
	"$(find "$MNT/j" -type f | wc -l) $(find "$MNT/j/deep" -mindepth 1 -type d | wc -l)"
equal "row 7 is where its path says" "$(tail -c +197 "$flat" | head -c 28 | sha1sum)" \
	"$(vexctl get --raw j/deep/2/f7 | sha1sum)"
check "csv" vexctl import --space c --dir c "$T/r.csv"
equal "row 7 is where its path says" "$(tail -c +197 "$flat" | head -c 28 | sha1sum)" \
	"$(vexctl get --raw 'c/q,"7",x' | sha1sum)"
check "csv without a header" vexctl import --space p --dir p "$T/p.csv"
check "its rows" cmp <(head -c 560 "$flat") <(attached p p)
check "stdin" vexctl import --space s --dir s --format npy - <"$T/r.npy"
check "its rows" cmp "$flat" <(attached s s)
check "a pipe of fvecs" vexctl import --space s --dir s2 --format fvecs <(cat "$T/r.fvecs")
check "one row" vexctl import --space s --dir o "$T/one.npy"
equal "is one row" 1 "$(ls "$MNT/o" | wc -l)"
check "halves" vexctl import --space s --dir h "$T/h.npy"
equal "as numbers" '0.5,-1.5,65504,5.96046448e-08,0,1,-2' "$(vexctl get h/0000001)"
check "bytes" vexctl import --space s --dir u "$T/u.npy"
equal "as numbers" '1,2,3,4,5,6,7' "$(vexctl get u/0000001)"
check "signed bytes" vexctl import --space s --dir i "$T/i.npy"
equal "as numbers" '-128,127,0,1,2,3,4' "$(vexctl get i/0000001)"
check "bvecs" vexctl import --space b --dir b "$T/b.bvecs"
equal "as numbers" '1,2,3,4,5,6,7' "$(vexctl get b/0000001)"

# ---- out, and in again ------------------------------------------------------------------
check "export fvecs" vexctl export -q --space f --paths "$T/o.paths" "$T/o.fvecs"
check "the same bytes" cmp "$T/r.fvecs" "$T/o.fvecs"
equal "a path a row" 'f/0000001 500' "$(head -n 1 "$T/o.paths") $(wc -l <"$T/o.paths")"
check "export npy" vexctl export -q --space f "$T/o.npy"
check "the same numbers" cmp "$flat" <(tail -c +129 "$T/o.npy")
equal "python's reading of its header" "{'descr': '<f4', 'fortran_order': False, 'shape': (500, 7)}" \
	"$(python3 -c 'import ast,sys; print(ast.literal_eval(open(sys.argv[1],"rb").read(128)[10:].decode()))' "$T/o.npy")"
check "export bvecs" vexctl export -q --space b "$T/o.bvecs"
check "the same bytes" cmp "$T/b.bvecs" "$T/o.bvecs"
exits "bvecs of numbers that are no bytes" 2 vexctl export --space f "$T/no.bvecs"
equal "leaves no file" "" "$(find "$T" -maxdepth 1 -name "no.bvecs*")"

# Matrices, keys, odd paths: all of it survives jsonl and csv.
name=$'o"d, \\\xff\n1'
: >"$MNT/$name" && : >"$MNT/plain"
check "a matrix" vexctl attach "$MNT/$name" --space m --vector $'1,2\n3,4\n5,6'
check "a key" vexctl attach "$MNT/$name" --space m --key $'k,"\xfe' --vector 7,8
check "a vector" vexctl attach plain --space m --vector 0.1,1e-30
vexctl space create back --dim 2
for form in jsonl csv; do
	check "export $form" vexctl export -q --space m "$T/m.$form"
	# --space wins over what the rows say: an export of one space goes into another.
	check "import $form" vexctl import -q --space back --dir "back$form" "$T/m.$form"
	equal "matrix by $form" $'1,2\n3,4\n5,6' "$(vexctl get "$MNT/back$form/$name" --space back)"
	equal "key by $form" 7,8 "$(vexctl get "$MNT/back$form/$name" --space back --key $'k,"\xfe')"
	equal "vector by $form" 0.100000001,1.00000000e-30 \
		"$(vexctl get "back$form/plain" | sed 's/1e-30/1.00000000e-30/')"
done
# Several rows and keys of one file, through forms that have no room for either.
vexctl space create several --dim 2 --metric l2
: >"$MNT/one" && : >"$MNT/two"
check "rows" vexctl attach one --space several --vector $'1,2\n3,4\n5,6'
check "rows of a key" vexctl attach one --space several --key k1 --vector $'7,8\n9,10'
check "another key" vexctl attach one --space several --key k2 --vector 11,12
check "another file" vexctl attach two --space several --vector 13,14
for form in npy fvecs; do
	check "export $form" vexctl export -q --space several --paths "$T/s.paths" "$T/s.$form"
	equal "a line a row" 7 "$(wc -l <"$T/s.paths")"
	check "import $form" vexctl import -q --space several --dir "s$form" --paths "$T/s.paths" "$T/s.$form"
	equal "rows by $form" $'1,2\n3,4\n5,6' "$(vexctl get "s$form/one" --space several)"
	equal "key by $form" $'7,8\n9,10' "$(vexctl get "s$form/one" --space several --key k1)"
	equal "other key by $form" 11,12 "$(vexctl get "s$form/one" --space several --key k2)"
	equal "other file by $form" 13,14 "$(vexctl get "s$form/two" --space several)"
	for f in one two; do
		rm "$MNT/s$form/$f"
	done
done
equal "export to stdout is jsonl" 3 "$(vexctl export -q --space m - | wc -l)"
exits "paths with line ends have no list" 2 vexctl export --space m --paths "$T/l" "$T/m.fvecs"
exits "npy to a pipe" 2 bash -c "'$B/vexctl' export --space m --format npy - | cat; exit \${PIPESTATUS[0]}"
exits "an empty space" 1 bash -c "'$B/vexctl' space create none --dim 2 && '$B/vexctl' export --space none '$T/none.jsonl'"
exits "an unknown space" 2 vexctl export --space nope "$T/x.jsonl"
exits "no --space" 2 vexctl export "$T/x.jsonl"
exits "an unknown ending" 2 vexctl export --space m "$T/x.txt"
exits "a folder that is not there" 2 vexctl export --space m "$T/none/x.jsonl"

# A matrix as the first row of a space tells the columns, not one long row.
echo '{"path":"first","vector":[[1,2,3],[4,5,6]]}' | check "a matrix first" \
	vexctl import --space fresh --format jsonl -
equal "3 columns" 'dim: 3' "$(vexctl space show fresh | grep ^dim)"
echo '{"path":"plain","space":"fresh","key":"z","vector":[1,2,3]}' | check "a line's own space" \
	vexctl import --format jsonl -
equal "and key" 1,2,3 "$(vexctl get plain --space fresh --key z)"

# A row that does not parse is one row, not the end.
printf '%s\n' '{"path":"sb1","vector":[1,2]}' '{"path":"sb2","vector":[1,"x"]}' '{"path":"sb3","vector":[]}' \
	'{"path":"sb4","vector":[1,3]}' >"$T/sb.jsonl"
exits "skip bad jsonl rows" 2 vexctl import --space sb --skip-bad "$T/sb.jsonl"
equal "the others are in" 1,3 "$(vexctl get sb4 --space sb)"
printf '%s\n' sc1,1,2 sc2,1 sc3,1,x sc4,1,3 >"$T/sc.csv"
exits "skip bad csv lines" 2 vexctl import --space sb --skip-bad "$T/sc.csv"
equal "the others too" 1,3 "$(vexctl get sc4 --space sb)"
exits "without it, the first bad row ends it" 2 vexctl import --space sb2 "$T/sb.jsonl"

# ---- names ---------------------------------------------------------------------------------
head -c 160 "$T/r.fvecs" >"$T/five.fvecs"
mkdir "$MNT/w" "$MNT/w/sub" && : >"$MNT/w/sub/there"
printf '%s\n' . .. / 'a/b%c' sub/there >"$T/names"
check "names that are none" vexctl import --space w --dir w --names "$T/names" "$T/five.fvecs"
equal "are encoded, unless a file is there" '%2E %2E%2E %2F a%2Fb%25c sub' \
	"$(ls -A "$MNT/w" | sort | xargs)"
exits "which is it" 0 vexctl get w/sub/there
printf '%s\n' 'a b' '100%' '%2F' - 'new/file' >"$T/paths"
check "paths" vexctl import --space w --dir w2 --paths "$T/paths" "$T/five.fvecs"
equal "as they are" '%2F - 100% a b new' "$(ls -A "$MNT/w2" | sort | xargs)"
check "directories are made" test -f "$MNT/w2/new/file"
for bad in ../x /x a//b a/./b a/ .; do
	printf '%s\n' "$bad" 1 2 3 4 >"$T/paths"
	exits "path '$bad'" 2 vexctl import --space w --dir w3 --paths "$T/paths" "$T/five.fvecs"
done
check "nothing came of them" test ! -e "$T/x" -a ! -e "$MNT/x"
ln -s "$T" "$MNT/out"
exits "no link leads out" 2 vexctl import --space w --dir out "$T/five.fvecs"
check "nothing was made outside" test ! -e "$T/0000001"
head -n 4 "$T/names" >"$T/few"
exits "too few names" 2 vexctl import --space w --dir w4 --names "$T/few" "$T/five.fvecs"
check "nothing done" test ! -e "$MNT/w4"
printf 'a\n\nb\nc\nd\n' >"$T/few"
exits "an empty name" 2 vexctl import --space w --dir w4 --names "$T/few" "$T/five.fvecs"
check "nothing done" test ! -e "$MNT/w4"

# ---- again, from where it stopped --------------------------------------------------------------
vexctl import --space f --dir f "$T/r.fvecs" 2>"$T/err"
check "again: all were there" grep -q '^0 rows attached, 500 were there' "$T/err"
vexctl import --all --space f --dir f "$T/r.fvecs" 2>"$T/err"
check "--all: all again" grep -q '^500 rows attached, 0 were' "$T/err"
vexctl detach f/0000003 && setfattr -n user.vexfs.f -v 1,1,1,1,1,1,1 "$MNT/f/0000009"
vexctl import --space f --dir f "$T/r.fvecs" 2>"$T/err"
check "only what is missing or differs" grep -q '^2 rows attached, 498 were' "$T/err"
check "complete" cmp "$flat" <(attached f f)
python3 - "$T/big.fvecs" <<'PY'
import array, random, sys
random.seed(3)
with open(sys.argv[1], "wb") as f:
    for i in range(20000):
        f.write((16).to_bytes(4, "little") + array.array("f", [random.random() for _ in range(16)]).tobytes())
PY
"$B/vexctl" import --space big --dir big "$T/big.fvecs" 2>"$T/err" &
pid=$!
wait_for 20 test -e "$MNT/big/0001500"
kill -INT $pid
wait $pid
equal "interrupted: exit code" 2 $?
check "it says so" grep -q interrupted "$T/err"
in=$(sed -n 's/^\([0-9,]*\) rows attached.*/\1/p' "$T/err" | tr -d ,)
equal "as many as it says are in" "$in" "$(vexctl export -q --space big - | wc -l)"
check "it had begun and not ended" test "$in" -gt 0 -a "$in" -lt 20000
check "again" vexctl import --space big --dir big "$T/big.fvecs"
equal "all of it is in" 20000 "$(vexctl export -q --space big - | wc -l)"

# ---- what is wrong in a file -------------------------------------------------------------------
bad()
{
	local what=$1
	shift
	exits "$what" 2 vexctl import --space z --dir z "$@"
	equal "$what: one line" 1 "$(grep -vc 'rows attached' "$T/err")"
}
bad "cut short" "$T/short.npy"
bad "an element type we cannot take" "$T/int.npy"
head -c 1000 "$T/r.fvecs" >"$T/cut.fvecs"
bad "fvecs cut short" "$T/cut.fvecs"
bad "fvecs from a pipe, cut short" --format fvecs <(cat "$T/cut.fvecs")
bad "no fvecs at all" --format fvecs "$T/make.py"
bad "no npy at all" --format npy "$T/make.py"
bad "a missing file" "$T/nope.npy"
bad "a directory" --format csv "$T"
bad "an unknown ending" "$T/make.py"
bad "an unknown format" --format xml "$T/make.py"
for line in 'x' '{}' '[1,2]' '{"vector":[1,2}' '{"vector":"1,2"}' '{"vector":[1,"2"]}' \
	'{"vector":[[1,2],[3]]}' '{"vector":[1,2]} x' '{"path":1,"vector":[1,2]}' \
	'{"path":"a\u0000b","vector":[1,2]}' '{"path":"\ud800","vector":[1,2]}' \
	'{"path":"../x","vector":[1,2]}' '{"path":"/x","vector":[1,2]}' \
	'{"vector":[1,NaN]}' '{"vector":[1e999,1]}' '{"vector":[]}' '{"key":"a/b","vector":[1]}' \
	'{"space":"B","vector":[1]}' '{"vector":[1,2],"vector":[1,2]}' '{"vector":[1,2]' '{"a":}'; do
	printf '%s\n' "$line" >"$T/bad.jsonl"
	bad "jsonl: $line" "$T/bad.jsonl"
done
printf 'a,1,2\nb,1\n' >"$T/bad.csv"
bad "csv: a field short" "$T/bad.csv"
printf 'a,1,2\nb,1,x\n' >"$T/bad.csv"
bad "csv: no number" "$T/bad.csv"
printf 'a,1,2\n"b,1,2\n' >"$T/bad.csv"
bad "csv: a quote that does not end" "$T/bad.csv"
vexctl space create two --dim 2
printf '{"path":"ok1","vector":[1,2]}\n{"path":"ko","vector":[1,2,3]}\n{"path":"ok2","vector":[3,4]}\n{"path":"zero","vector":[0,0]}\n' >"$T/mixed.jsonl"
exits "a row of another dimension" 2 vexctl import --space two --dir mixed "$T/mixed.jsonl"
check "the row is named" grep -q 'row 1: 3 numbers' "$T/err"
equal "what came before is in" 1,2 "$(vexctl get mixed/ok1)"
check "what comes behind is not" test ! -e "$MNT/mixed/ok2"
exits "--skip-bad" 2 vexctl import --skip-bad --space two --dir mixed "$T/mixed.jsonl"
equal "goes on" 3,4 "$(vexctl get mixed/ok2)"
equal "naming each bad row" 2 "$(grep -c 'row [13]: ' "$T/err")"
exits "no space" 2 vexctl import --dir z "$T/r.fvecs"
exits "an empty file is no error" 0 vexctl import --space z --format csv /dev/null
finish
