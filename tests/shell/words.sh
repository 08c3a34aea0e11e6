#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The 20,000 words, from the files in tests/data through the mount and back: what is
# imported is what is attached and exported, bit for bit; a search gives what plain
# python computes from the same numbers; words that are no file names find their way.
. "$(dirname "$0")/lib.sh"

"$TOP/scripts/words-decode" "$TOP/tests/data/words20k" "$T/w" || die "words-decode"
equal "20,000 rows of 100" $((20000 * 404)) "$(stat -c %s "$T/w.fvecs")"
equal "20,000 names" 20000 "$(wc -l <"$T/w.names")"
equal "no name is on the list twice" 20000 "$(sort -u "$T/w.names" | wc -l)"

vex_start
check "import" vexctl import --space words --dir words --names "$T/w.names" "$T/w.fvecs"
equal "a file for each word" 20000 "$(find "$MNT/words" -type f | wc -l)"
for name in %2E %2F %25 the python; do
	check "words/$name" test -f "$MNT/words/$name"
done

# The values: the third word is ".", its row begins at byte 808.
getfattr --only-values -n user.vexfs.words "$MNT/words/%2E" >"$T/got" 2>"$T/err"
check "the row of '.' is attached to %2E" \
	cmp <(tail -c +813 "$T/w.fvecs" | head -c 400) "$T/got"

# Oracle: cosine distances in double precision, nearest first.
cat >"$T/oracle.py" <<'PY'
import array, math, sys
names = open(sys.argv[1] + ".names", encoding="utf-8").read().split("\n")[:-1]
data = array.array("f", open(sys.argv[1] + ".fvecs", "rb").read())
rows = [data[i * 101 + 1:(i + 1) * 101] for i in range(len(names))]
norms = [math.sqrt(sum(x * x for x in row)) for row in rows]
for word in sys.argv[2:]:
    at = names.index(word)
    q = rows[at]
    near = sorted((1 - sum(map(float.__mul__, q, row)) / (norms[at] * norm), name)
                  for name, row, norm in zip(names, rows, norms) if name != word)
    for distance, name in near[:10]:
        print("%s\t%.9g\twords/%s" % (word, distance, name))
PY
python3 "$T/oracle.py" "$T/w" king python %2E >"$T/wanted" || die "oracle"
for word in king python %2E; do
	vexctl search --exact --like "words/$word" -k 10 | sed "s/^/$word\t/"
done >"$T/found"
equal "30 lines of search" 30 "$(wc -l <"$T/found")"
check "the same neighbours as python's, in the same order" \
	diff <(cut -f 1,3 "$T/wanted") <(cut -f 1,3 "$T/found")
check "at the same distances" awk -F '\t' -v OFMT=%.9g '
	NR == FNR { wanted[FNR] = $2; next }
	{ d = wanted[FNR] - $2; if (d > 1e-5 || d < -1e-5) { print FNR ": " d; bad = 1 } }
	END { exit bad }' "$T/wanted" "$T/found"
check "queen is near king" grep -q '^king.*words/queen$' "$T/found"

vexctl search --vector-file <(tail -c +813 "$T/w.fvecs" | head -c 400) -k 1 -l >"$T/one"
equal "a raw vector finds its file" words/%2E "$(cat "$T/one")"

# Out again, in any order: each path has the row that was imported for its name.
check "export" vexctl export --space words --paths "$T/out.paths" "$T/out.fvecs"
cat >"$T/same.py" <<'PY'
import sys
def load(vectors, names, prefix):
    names = open(names, encoding="utf-8").read().split("\n")[:-1]
    data = open(vectors, "rb").read()
    assert len(data) == 404 * len(names), (len(data), len(names))
    return {prefix + n: data[i * 404:i * 404 + 404] for i, n in enumerate(names)}
a = load(sys.argv[1] + "/w.fvecs", sys.argv[1] + "/w.names", "words/")
b = load(sys.argv[1] + "/out.fvecs", sys.argv[1] + "/out.paths", "")
sys.exit(a != b)
PY
check "what comes out is what went in" python3 "$T/same.py" "$T"

mkdir "$MNT/kept"
mv "$MNT/words/queen" "$MNT/kept/her majesty"
check "unmount" vex_stop
vex_start
vexctl search --like words/king -k 10 -l >"$T/moved"
check "found where it is now, after a remount" grep -qx 'kept/her majesty' "$T/moved"
check "and not where it was" test -z "$(grep -x words/queen "$T/moved")"
finish
