#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl search: every form of query, every bound, every form of output; numbers
# against python's. Exit codes as of grep.
. "$(dirname "$0")/lib.sh"

mkdir -p "$STORE/x/y" "$STORE/x2"
for f in a b c d x/e x/y/f x2/g; do : >"$STORE/$f"; done
vex_start
hex()
{
	od -An -v -tx1 | tr -d ' \n'
}

put()
{
	setfattr -n "user.vexfs.$2" -v "$3" "$MNT/$1" || die "setfattr $1"
}
put a t 1,0 && put b t 0.9,0.1 && put c t 0,1 && put d t -1,0
put x/e t 0.8,0.2 && put x/y/f t 0.7,0.3 && put x2/g t 0.6,0.4
put a t.k '-0.5,-0.5'
check "an l2 space" vexctl space create e --dim 2 --metric l2
check "an ip space" vexctl space create p --dim 2 --metric ip
put a e 0,0 && put b e 3,4 && put c e 6,8
put a p 1,1 && put b p 2,2

# ---- lines ---------------------------------------------------------------------------
paths()
{
	vexctl search "$@" -l | xargs
}
equal "several spaces of a dimension: named" 2 "$(vexctl search --vector 1,0 2>"$T/err"; echo $?)"
check "the choices are named" grep -q 't' "$T/err"
S='--space t'
equal "nearest first" 'a b x/e x/y/f x2/g c d' "$(paths $S --vector 1,0)"
equal "a line" $'0\ta' "$(vexctl search $S --vector 1,0 -k 1)"
equal "key and row follow" $'a\tk\t0' "$(vexctl search $S --vector -1,-1 -k 1 | cut -f 2-)"
python3 - >"$T/wanted" <<'PY'
import math, struct
f = lambda x: struct.unpack("f", struct.pack("f", x))[0]
for path, v in ("a", (1, 0)), ("b", (.9, .1)), ("x/e", (.8, .2)):
    print("%.6f %s" % (1 - v[0] / math.hypot(*v), path))
PY
equal "distances" "$(cat "$T/wanted")" \
	"$(vexctl search $S --vector 1,0 -k 3 | awk -F '\t' '{printf "%.6f %s\n", $1, $2}')"
equal "l2 is Euclidean, not squared" $'0\ta 5\tb 10\tc' \
	"$(vexctl search --space e --vector 0,0 | paste -s -d ' ')"
equal "ip is negated" $'-4\tb -2\ta' "$(vexctl search --space p --vector 1,1 | paste -s -d ' ')"
equal "-k 2" 2 "$(vexctl search $S --vector 1,0 -k 2 | wc -l)"
equal "-k2" 2 "$(vexctl search $S --vector 1,0 -k2 | wc -l)"
equal "--offset" 'x/e x/y/f' "$(paths $S --vector 1,0 -k 2 --offset 2)"
exits "offset past the end" 1 vexctl search $S --vector 1,0 --offset 100
equal "--exact, --ef, --fresh" 'a b' "$(paths $S --vector 1,0 -k 2 --exact --ef 100 --fresh)"

# ---- bounds, place, rows ----------------------------------------------------------------
equal "--max-distance: all of them" 'a b x/e x/y/f' "$(paths $S --vector 1,0 --max-distance 0.1)"
equal "with -k" 'a b' "$(paths $S --vector 1,0 --max-distance 0.1 -k 2)"
equal "--min-similarity" 'a b x/e x/y/f' "$(paths $S --vector 1,0 --min-similarity 0.9)"
equal "both: the stricter" 'a b' \
	"$(paths $S --vector 1,0 --min-similarity 0.9 --max-distance 0.01)"
equal "both, the other way" 'a b' \
	"$(paths $S --vector 1,0 --min-similarity 0.99 --max-distance 0.1)"
exits "nothing that near" 1 vexctl search $S --vector -1,1 --max-distance 0.01
equal "prints nothing" 0 "$(wc -c <"$T/out")"
exits "similarity is for cosine" 2 vexctl search --space e --vector 1,1 --min-similarity 0.5
equal "a negative bound" b "$(paths --space p --vector 1,1 --max-distance -3)"
equal "--under" 'x/e x/y/f' "$(paths $S --vector 1,0 --under x)"
equal "--under from within" 'x/y/f' "$(cd "$MNT/x" && paths $S --vector 1,0 --under y)"
equal "--under the root" 7 "$(vexctl search $S --vector 1,0 --under "$MNT" | wc -l)"
exits "--under nothing" 2 vexctl search $S --vector 1,0 --under nope
equal "one row of a file" 1 "$(vexctl search $S --vector 1,0 -k 20 | grep -c $'\ta\\b')"
equal "--per-file 0: all" 2 "$(vexctl search $S --vector 1,0 -k 20 --per-file 0 | cut -f 2 | grep -cx a)"
equal "--per-file 2" 2 "$(vexctl search $S --vector 1,0 -k 20 --per-file 2 | cut -f 2 | grep -cx a)"

equal "--mmr 1 is nearest first" 'a b x/e' "$(paths $S --vector 1,0 -k 3 --mmr 1)"
equal "--mmr 0: far apart" 'a d' "$(paths $S --vector 1,0 -k 2 --mmr 0)"
equal "a page of it" d "$(paths $S --vector 1,0 -k 1 --offset 1 --mmr 0)"
# ---- queries ------------------------------------------------------------------------------
equal "JSON text" a "$(paths $S --vector '[1, 0]' -k 1)"
equal "blanks" a "$(paths $S --vector $' 1 \t 0\r\n' -k 1)"
printf '1,0\n' >"$T/one"
equal "--vector-file" a "$(paths $S --vector-file "$T/one" -k 1)"
equal "stdin" a "$(printf '1 0' | paths $S --vector-file - -k 1)"
python3 -c 'import array,sys; array.array("f",[1,0,0,1]).tofile(sys.stdout.buffer)' >"$T/raw"
equal "raw rows of the space" 'a c' "$(paths $S --vector-file "$T/raw" -k 1)"
equal "raw, one row" a "$(head -c 8 "$T/raw" | paths $S --vector-file - -k 1)"
exits "raw without --space is one row" 2 vexctl search --vector-file "$T/raw"
exits "raw cut short" 2 vexctl search $S --vector-file <(head -c 7 "$T/raw")
exits "an empty file" 2 vexctl search $S --vector-file /dev/null
exits "a missing file" 2 vexctl search $S --vector-file "$T/nope"
equal "--like" 'b x/e' "$(paths $S --like a -k 2)"
equal "never the file itself" 6 "$(vexctl search $S --like a -k 20 | wc -l)"
equal "--like PATH:KEY" 'd' "$(paths $S --like a:k -k 1)"
equal "--like from within" 'x/y/f' "$(cd "$MNT/x" && paths $S --like e --under y)"
exits "--like nothing" 2 vexctl search $S --like nope
: >"$MNT/a:k" && put 'a:k' t 0.1,0.9
equal "the longest path wins over :" c "$(paths $S --like a:k -k 1)"
rm "$MNT/a:k"

# Several queries: groups.
printf '1,0\n0,1\n-1,0\n' >"$T/three"
equal "groups" $'# query 0\n0\ta\n# query 1\n0\tc\n# query 2\n0\td' \
	"$(vexctl search $S --vector-file "$T/three" -k 1)"
equal "groups with nothing in them" $'# query 0\n0\ta\n# query 1\n# query 2\n0\td' \
	"$(vexctl search $S --vector-file "$T/three" --max-distance 0.0001 |
		sed 's/^[0-9.e-]*\tc$/X/' | grep -v X)"
equal "JSON names the query" '0 1 2' "$(vexctl search $S --vector-file "$T/three" -k 1 --jsonl |
	python3 -c 'import json,sys; print(*[json.loads(l)["query"] for l in sys.stdin])')"

# ---- output -----------------------------------------------------------------------------------
name=$'n\t\xff"\n\\'
: >"$MNT/$name" && put "$name" t 0.5,0.5
equal "-0 is raw bytes" "$(printf '%s' "$name" | hex)" \
	"$(vexctl search $S --vector 0.5,0.5 -k 1 -0 | head -c -1 | hex)"
equal "ended by NUL" 00 "$(vexctl search $S --vector 0.5,0.5 -k 1 -0 | tail -c 1 | hex)"
cat >"$T/hits.py" <<'PY'
import json, os, sys
hits = [json.loads(l) for l in sys.stdin] if sys.argv[1] == "l" else json.load(sys.stdin)["hits"]
h = hits[0]
assert set(h) == {"distance", "similarity", "path", "space", "key", "row", "stale"}, h
assert abs(h["distance"] + h["similarity"] - 1) < 1e-6 and h["space"] == "t"
assert h["key"] is None and h["row"] == 0 and h["stale"] is False
os.write(1, h["path"].encode("utf-8", "surrogateescape"))
PY
for form in l o; do
	option=--json$( [ $form = o ] || echo l)
	equal "$option" "$(printf '%s' "$name" | hex)" \
		"$(vexctl search $S --vector 0.5,0.5 -k 3 $option | python3 "$T/hits.py" $form | hex)"
done
rm "$MNT/$name"
equal "no similarity in l2" null "$(vexctl search --space e --vector 0,0 -k 1 --jsonl |
	sed 's/.*"similarity":\([a-z]*\),.*/\1/')"
equal "key and row in JSON" '"k",0' "$(vexctl search $S --vector -1,-1 -k 1 --jsonl |
	sed 's/.*"key":\("k"\),"row":\(0\).*/\1,\2/')"
exits "--json of nothing" 1 vexctl search $S --vector -1,1 --max-distance 0.001 --json
equal "is an object all the same" '[]' \
	"$(python3 -c 'import json,sys; print(json.load(sys.stdin)["hits"])' <"$T/out")"
exits "a full disk" 2 bash -c "'$B/vexctl' search $S --vector 1,0 >/dev/full"

# ---- many hits, many queries, large queries -----------------------------------------------------
mkdir "$T/many" && python3 - "$T/many" <<'PY'
import array, random, sys
random.seed(7)
rows = [[random.gauss(0, 1) for _ in range(8)] for _ in range(3000)]
with open(sys.argv[1] + "/m.fvecs", "wb") as f:
    for r in rows:
        f.write((8).to_bytes(4, "little") + array.array("f", r).tobytes())
array.array("f", sum(rows[:500], [])).tofile(open(sys.argv[1] + "/q", "wb"))
PY
check "3,000 rows" vexctl import -q --space m --dir many "$T/many/m.fvecs"
equal "all of them come back" 3000 "$(vexctl search --vector 1,1,1,1,1,1,1,1 -k 5000 | wc -l)"
equal "in order" "" "$(vexctl search --vector 1,1,1,1,1,1,1,1 -k 5000 | cut -f 1 | sort -g -c 2>&1)"
equal "each once" 3000 "$(vexctl search --vector 1,1,1,1,1,1,1,1 -k 5000 -l | sort -u | wc -l)"
equal "a range of all" 3000 "$(vexctl search --vector 1,1,1,1,1,1,1,1 --max-distance 2.1 | wc -l)"
equal "500 raw queries find themselves" 500 "$(vexctl search --space m --vector-file "$T/many/q" -k 1 -l |
	awk '$0 == sprintf("many/%07d", NR)' | wc -l)"
python3 -c 'print(",".join(["1"] + ["0"] * 16383))' >"$T/long"
check "16,384 dimensions" vexctl attach a --space long --vector-file "$T/long"
equal "are searched, staged" a "$(paths --vector-file "$T/long" -k 1)"

# ---- bad input: one line, nothing done --------------------------------------------------------------
bad()
{
	exits "search $*" 2 vexctl search "$@"
	equal "search $*: one line" 1 "$(wc -l <"$T/err")"
	equal "search $*: no output" 0 "$(wc -c <"$T/out")"
}
for k in 0 -3 10x 1.5 '' ' 1' 4294967296 99999999999999999999 0x10; do
	bad $S --vector 1,0 -k "$k"
done
for d in nan inf -inf 1e999 x '' 1,5 0x1 '1 '; do
	bad $S --vector 1,0 --max-distance "$d"
	bad $S --vector 1,0 --min-similarity "$d"
done
bad $S --vector 1,0 -k 4000000000
bad $S --vector 1,0 --nope
bad $S --vector 1,0 --exac
bad $S --vector 1,0 -z
bad $S --vector 1,0 --exact=1
bad $S --vector
bad $S
bad $S --vector 1,0 --like a
bad $S --vector 1,0 a
bad $S --vector 1,0 --json -l
bad $S --vector 1,0 --offset -1
bad $S --vector 1,0 --per-file x
bad $S --vector 1,nan
bad $S --vector 1,2,3
bad $S --vector 0,0
bad --space nope --vector 1,0
bad --space 'B AD' --vector 1,0
bad --vector 1,2,3,4,5
for later in --text --recall; do
	bad $S --vector 1,0 $later x
done
bad $S --vector 1,0 --explain=1
bad $S --vector 1,0 --mmr 1.5
bad $S --vector 1,0 --mmr -0.5
bad $S --vector 1,0 --mmr x
bad $S --vector 1,0 --mmr 0.5 --max-distance 1
bad $S --vector 1,0 --mmr 0.5 -k 2000
bad $S --vector 1,0 --where ''

# ---- asked again: by the rows judged before, judged anew ------------------------------------
cached()
{
	vexctl search $S "$@" --explain 2>&1 >/dev/null | grep -c '^cached: yes$'
}
again=(--vector "0.3,0.7" -k 2)
equal "the first time it is made" 0 "$(cached "${again[@]}")"
equal "then it is not" 1 "$(cached "${again[@]}")"
equal "it says the same" "$(vexctl search $S "${again[@]}" --no-cache)" "$(vexctl search $S "${again[@]}")"
equal "unless told to" 0 "$(cached "${again[@]}" --no-cache)"
check "it is counted" grep -q '^vexfs_search_cache_hits_total [1-9]' "$MNT/.vexfs/metrics"
exits "off" 0 vexctl config search_cache=0
equal "off: it is made" 0 "$(cached "${again[@]}")"
equal "each time" 0 "$(cached "${again[@]}")"
finish
