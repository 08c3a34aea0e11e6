#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl search --where and --explain, through the mount: attributes as programs set
# them, against find(1); k hits whenever k files match; errors with their place.
. "$(dirname "$0")/lib.sh"

mkdir -p "$STORE/d/e"
vex_start
put()
{
	setfattr -n user.vexfs.t -v "$2" "$MNT/$1" || die "setfattr $1"
}
printf '12345' >"$MNT/a.txt" && put a.txt 1,0
printf '1234567890' >"$MNT/b.md" && put b.md 2,0
: >"$MNT/d/a.txt" && put d/a.txt 3,0
printf '123' >"$MNT/d/e/c.txt" && put d/e/c.txt 4,0
put d 5,0
find_where()
{
	vexctl search --space l --vector 0,0 -l --where "$@" | xargs
}
vexctl space create l --dim 2 --metric l2 || die "space"
for f in a.txt b.md d/a.txt d/e/c.txt d; do
	setfattr -n user.vexfs.l -v "$(getfattr --absolute-names --only-values -n user.vexfs.t "$MNT/$f")" "$MNT/$f"
done
setfattr -n user.lang -v en "$MNT/a.txt"
setfattr -n user.lang -v de "$MNT/b.md"
setfattr -n user.my-tag.x -v '7' "$MNT/d/a.txt"
setfattr -n 'user.two words' -v 'it'\''s' "$MNT/d"
touch -d '2001-09-09 01:46:40 UTC' "$MNT/a.txt"
chmod 640 "$MNT/a.txt"

equal "xattr" a.txt "$(find_where "xattr.lang = 'en'")"
equal "IN" 'a.txt b.md' "$(find_where "xattr.lang IN ('en', 'de')")"
equal "IS NULL" 'd/a.txt d/e/c.txt d' "$(find_where 'xattr.lang IS NULL')"
equal "a name with dots and a hyphen" d/a.txt "$(find_where 'xattr.my-tag.x = 7')"
equal "a quoted name" d "$(find_where "\"xattr.two words\" = 'it''s'")"
equal "name" 'a.txt d/a.txt' "$(find_where "name = 'a.txt'")"
equal "path" 'd/a.txt d/e/c.txt' "$(find_where "path GLOB 'd/*'")"
equal "size" 'a.txt b.md' "$(find_where "size > 4 AND size < 4096")"
equal "mtime" a.txt "$(find_where 'mtime = 1000000000')"
equal "mode, octal" a.txt "$(find_where 'mode = 0640')"
equal "uid" 5 "$(vexctl search --space l --vector 0,0 --where "uid = $(id -u) AND gid = $(id -g)" | wc -l)"
equal "under and where" 'd/e/c.txt' "$(find_where "name LIKE '%.txt' AND size > 0" --under d)"
equal "like and where" 'd/a.txt d/e/c.txt' "$(vexctl search --space l --like b.md -l -k 2 \
	--where "name LIKE '%.txt' AND NOT name = 'x' AND path LIKE 'd/%'" | xargs)"
exits "nothing matches" 1 vexctl search --space l --vector 0,0 --where 'size > 1000000'
setfattr -x user.lang "$MNT/a.txt"
equal "an xattr that goes" b.md "$(find_where 'xattr.lang IS NOT NULL')"
mv "$MNT/b.md" "$MNT/d/b.md"
equal "a new path" d/b.md "$(find_where "path = 'd/b.md'")"

# Batches: the expression travels beside staged queries.
printf '0,0\n9,0\n' >"$T/two"
equal "several queries" '# query 0 a.txt # query 1 d/e/c.txt' "$(vexctl search --space l \
	--vector-file "$T/two" -k 1 --where "size > 0 AND size < 4096 AND name LIKE '%.txt'" |
	cut -f 2 | xargs)"

# ---- what is wrong, and where ------------------------------------------------------------
bad()
{
	exits "--where $1" 2 vexctl search --space l --vector 0,0 --where "$1"
	equal "--where $1: one line" 1 "$(wc -l <"$T/err")"
	check "--where $1: its place, $2, not $(cat "$T/err")" grep -q "at offset $2:" "$T/err"
	equal "--where $1: no output" 0 "$(wc -c <"$T/out")"
}
bad 'size >' 6
bad 'sise > 5' 0
bad 'size > 5 AND nope = 1' 13
bad 'name = "a.txt"' 7
bad "name = 'a" 7
bad '(size > 5' 9
bad "uid = 1; DROP TABLE node" 7
bad 'uid = (SELECT 1)' 6
bad 'length(name) = 1' 0
bad "xattr.vexfs._id IS NULL" 0
bad "$(printf 'size > 1 AND %.0s' {1..400})size > 1" 4096
exits "longer than a call can be" 2 vexctl search --space l --vector 0,0 \
	--where "$(printf '%20000s' x)"

# ---- many: k hits whenever k files match, with and without a graph -----------------------------
python3 - "$MNT/many" <<'PY'
import os, random, sys
random.seed(11)
os.mkdir(sys.argv[1])
for i in range(3000):
    p = "%s/%04d" % (sys.argv[1], i)
    open(p, "w").close()
    v = ",".join("%.4f" % random.gauss(0, 1) for _ in range(8))
    os.setxattr(p, "user.vexfs.m", v.encode())
    os.setxattr(p, "user.class", str(i % 300).encode())
PY
query='0.3,1,-1,0.5,0,0,2,1'
wanted()
{
	vexctl search --space m --vector "$query" --exact -k 3000 -l |
		python3 -c 'import os, sys
for p in sys.stdin.read().split():
    if os.getxattr(sys.argv[1] + "/" + p, "user.class") == sys.argv[2].encode():
        print(p)' "$STORE" "$1"
}
for class in 0 7 299; do
	w=$(wanted $class | xargs)
	equal "class $class has 10" 10 "$(echo "$w" | wc -w)"
	equal "1 of 300, exact" "$w" "$(vexctl search --space m --vector "$query" --exact -l \
		--where "xattr.class = $class" | xargs)"
	equal "1 of 300" "$w" "$(vexctl search --space m --vector "$query" -k 10 -l \
		--where "xattr.class = $class" | xargs)"
done

# ---- --explain -----------------------------------------------------------------------------------
exits "--explain" 0 vexctl search --space m --vector "$query" --exact --explain
equal "hits on stdout" 10 "$(wc -l <"$T/out")"
equal "what it cost on stderr" 'plan: exact rows: 3000 candidates: 3000 distances: N nanoseconds: N' \
	"$(sed 's/^\(distances\|nanoseconds\): [1-9][0-9]*$/\1: N/' "$T/err" | xargs)"
exits "--explain of nothing found" 1 vexctl search --space m --vector "$query" --explain \
	--where 'size > 1'
equal "all the same" 5 "$(wc -l <"$T/err")"
exits "--explain --json" 0 vexctl search --space m --vector "$query" --explain --json
check "JSON alone on stdout" python3 -c 'import json,sys; json.load(open(sys.argv[1]))' "$T/out"

# ---- another user -----------------------------------------------------------------------------------
if [ "$(id -u)" = 0 ] && vex_stop && chmod 755 "$T" "$STORE"; then
	mkdir "$T/other" && cp "$B/vexctl" "$T/other/" && chmod -R a+rX "$T/other"
	vex_start -o allow_other
	chmod 600 "$MNT/d/e/c.txt" && chmod 644 "$MNT/a.txt" && chmod 755 "$MNT/d" "$MNT/d/e"
	as_other()
	{
		setpriv --reuid 65534 --regid 65534 --clear-groups "$T/other/vexctl" -m "$MNT" "$@"
	}
	equal "what one may not read matches nothing" 'a.txt d/a.txt' \
		"$(as_other search --space l --vector 0,0 -l --where "name LIKE '%.txt'" | xargs)"
	equal "not even NOT" 'a.txt d/b.md d/a.txt d' \
		"$(as_other search --space l --vector 0,0 -l --where "NOT name = 'x'" | xargs)"
	as_other search --space l --vector 0,0 --explain >"$T/out" 2>"$T/err"
	equal "no totals for others" 'rows: 0 candidates: 0 distances: 0' \
		"$(grep -E '^(rows|candidates|distances):' "$T/err" | xargs)"
fi
finish
