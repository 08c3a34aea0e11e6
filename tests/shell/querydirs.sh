#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2010,SC2011,SC2012 # what ls and xargs make of these directories is the test
# Query directories: .vexfs/near/SPACE/K/FILE and saved searches in .vexfs/search, with
# ls, cp -L, find, xargs; as other users; after a remount.
. "$(dirname "$0")/lib.sh"

mkdir -p "$STORE/d/e"
chmod 755 "$STORE" "$STORE/d" "$STORE/d/e"
for f in a b c d/x d/e/y 'd/per%cent' $'d/new\nline'; do echo "text of $f" >"$STORE/$f"; done
chmod 755 "$T"
allow=
[ "$(id -u)" != 0 ] || allow='-o allow_other'
# shellcheck disable=SC2086
vex_start $allow
put()
{
	setfattr -n user.vexfs.t -v "$2" "$MNT/$1" || die "setfattr $1"
}
put a 1,0 && put b 0.9,0.1 && put c 0,1 && put d/x 0.8,0.2 && put d/e/y 0.7,0.3
put 'd/per%cent' 0.1,0.9 && put $'d/new\nline' 0.2,0.8
near=$MNT/.vexfs/near
saved=$MNT/.vexfs/search

# ---- near ---------------------------------------------------------------------------
equal "ls" "001-b 002-x 003-y" "$(ls "$near/t/3/a" | xargs)"
equal "the same by vexctl" "$(vexctl search --like a -k 3 -l)" \
	"$(for l in "$near"/t/3/a/*; do realpath --relative-to="$MNT" "$l"; done)"
equal "read through a link" "text of d/x" "$(cat "$near/t/3/a/002-x")"
equal "an encoded path" "001-x 002-b" "$(ls "$near/t/2/d%2Fe%2Fy" | xargs)"
equal "an encoded percent" "001-c" "$(ls "$near/t/1/d%2fper%25cent")"
equal "a newline in a name" "002-new?line" "$(ls -q "$near/t/2/c" | tail -n 1)"
mkdir "$T/copy"
check "cp -L" cp -L "$near/t/3/a/"* "$T/copy/"
equal "copied" "text of b" "$(cat "$T/copy/001-b")"
check "cp -rL" cp -rL "$near/t/3/a" "$T/copy/dir"
equal "copied as a folder" "text of d/e/y" "$(cat "$T/copy/dir/003-y")"
equal "find and xargs" 3 "$(find -L "$near/t/3/a/" -type f -print0 | xargs -0 cat | wc -l)"
equal "ls -l shows targets" 3 "$(ls -l "$near/t/3/a" | grep -c -- '-> ../../../../../')"
put c 0.99,0.01
equal "an answer is of now" "001-c 002-b" "$(ls "$near/t/2/a" | xargs)"
rm "$MNT/b"
equal "without what is gone" "001-c 002-x" "$(ls "$near/t/2/a" | xargs)"
for p in none t/0 t/01 t/1001 t/x t/3/none t/3/d t/3/d%2 t/3/%00 t/3/a/001-none t/3/a/.git; do
	check "not there: $p" test ! -e "$near/$p"
done
check "nothing is listed above" test -z "$(ls -A "$near" "$near/t/" | grep -v : | xargs)"
exits "nothing is made there" 1 mkdir "$near/t/3/new"
exits "nor written" 1 touch "$near/t/3/a/new"
check "hidden from the root" test -z "$(find "$MNT" -name near)"

# ---- saved --------------------------------------------------------------------------
check "mkdir" mkdir "$saved/mine"
equal "empty at first" "" "$(ls "$saved/mine")"
check "its request" setfattr -n user.vexfs._query \
	-v '{"vector":[1,0],"k":2,"under":"d"}' "$saved/mine"
equal "ls" "001-x 002-y" "$(ls "$saved/mine" | xargs)"
equal "read through a link" "text of d/e/y" "$(cat "$saved/mine/002-y")"
equal "it can be read" '{"vector":[1,0],"k":2,"under":"d"}' \
	"$(getfattr --absolute-names --only-values -n user.vexfs._query "$saved/mine")"
equal "it is listed" 1 "$(getfattr --absolute-names -d "$saved/mine" | grep -c _query)"
exits "no JSON" 1 setfattr -n user.vexfs._query -v '{"vector":[1,0' "$saved/mine"
exits "an unknown field" 1 setfattr -n user.vexfs._query -v '{"vektor":[1,0]}' "$saved/mine"
exits "several queries" 1 setfattr -n user.vexfs._query -v '{"vectors":[[1,0],[0,1]]}' "$saved/mine"
equal "the old one stays" "001-x 002-y" "$(ls "$saved/mine" | xargs)"
exits "made twice" 1 mkdir "$saved/mine"
exits "a dot" 1 mkdir "$saved/.x"
exits "another attribute" 1 setfattr -n user.x -v 1 "$saved/mine"
mkdir "$saved/all"
setfattr -n user.vexfs._query -v '{"vector":[1,0],"max_distance":2}' "$saved/all"
equal "a range" 6 "$(find "$saved/all/" -type l -printf x | wc -c)"
equal "listed" "all mine" "$(ls "$saved" | xargs)"
mkdir "$saved/later"
setfattr -n user.vexfs._query -v '{"vector":[1,0,0],"space":"later"}' "$saved/later"
exits "a space to come" 2 ls "$saved/later"
vex_stop || die "stop"
# shellcheck disable=SC2086
vex_start $allow
equal "after a remount" "001-x 002-y" "$(ls "$saved/mine" | xargs)"
mkdir "$T/copy2" && vex_stop && cp -a "$STORE" "$T/copy2/store"
equal "a plain file in the store" '{"vector":[1,0],"k":2,"under":"d"}' \
	"$(cat "$T/copy2/store/.vexfs/search/mine")"
check "fsck has nothing against it" "$VEXFS" --fsck "$STORE"
# shellcheck disable=SC2086
vex_start $allow

# ---- who asks -----------------------------------------------------------------------
if [ "$(id -u)" = 0 ]; then
	as()
	{
		setpriv --reuid 12345 --regid 12345 --clear-groups "$@"
	}
	chmod 600 "$MNT/d/x"
	ls "$near/t/2/a" >/dev/null
	equal "root sees it" "001-c 002-x" "$(ls "$near/t/2/a" | xargs)"
	equal "another does not" "001-c 002-y" "$(as ls "$near/t/2/a" | xargs)"
	check "nor by the name root saw" test "$(as cat "$near/t/2/a/002-x" 2>/dev/null)" = ""
	equal "nor by a saved search" "001-y" "$(as ls "$saved/mine" | head -1 | sed 's/.*-/001-/')"
	chmod 600 "$MNT/a"
	exits "nor asks for what is like it" 2 as ls "$near/t/2/a"
	check "anyone saves" as mkdir "$saved/theirs"
	check "and says what" as setfattr -n user.vexfs._query -v '{"vector":[1,0],"k":1}' "$saved/theirs"
	equal "it is theirs" 12345 "$(stat -c %u "$saved/theirs")"
	exits "not what is another's" 1 as rmdir "$saved/mine"
	exits "nor its request" 1 as setfattr -n user.vexfs._query -v '{"vector":[1,0]}' "$saved/mine"
	check "their own goes" as rmdir "$saved/theirs"
fi
check "rmdir" rmdir "$saved/mine"
check "it is gone" test ! -e "$saved/mine"
exits "rmdir of none" 1 rmdir "$saved/mine"
exits "a fixed one stays" 1 rmdir "$MNT/.vexfs/search"
check "a clean end" vex_stop
finish
