#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Changes made in STORE while it is mounted: files and directories that move, swap, get and
# lose links, are replaced. Attachments follow their file, wherever it is found; a file in
# the place of another never has the other's.
. "$(dirname "$0")/lib.sh"

value()
{
	getfattr --absolute-names --only-values -n user.vexfs.t "$MNT/$1" 2>/dev/null
}
# The path of the file with that value; nothing where there is none so near.
at()
{
	vexctl search --space t --vector "$1,0" -k 1 --max-distance 0.1 -l
}
make()
{
	echo "content of $2" >"$MNT/$1"
	setfattr -n user.vexfs.t -v "$2,0" "$MNT/$1"
}

vex_start -o metric=l2
mkdir "$MNT/d" "$MNT/e" "$MNT/d/sub"
n=0
for f in a b c l d/x d/y d/sub/z e/u e/v; do
	n=$((n + 1))
	make $f $n
done

for i in 1 2 3 4 5 6 7 8 9; do at $i >/dev/null; done # known by search

# ---- moved
mv "$STORE/a" "$STORE/a2"
equal "a file renamed" a2 "$(at 1)"
mv "$STORE/d/x" "$STORE/e/x"
equal "a file moved to another directory" e/x "$(at 5)"
mv "$STORE/d" "$STORE/e/moved"
equal "a directory moved" e/moved/y "$(at 6)"
equal "what is below it" e/moved/sub/z "$(at 7)"
mv "$STORE/e/moved/sub" "$STORE/sub"
equal "out of it again" sub/z "$(at 7)"
equal "the rest stays" e/moved/y "$(at 6)"

# ---- swapped
mv "$STORE/b" "$STORE/t" && mv "$STORE/c" "$STORE/b" && mv "$STORE/t" "$STORE/c"
equal "swapped: one" c "$(at 2)"
equal "swapped: the other" b "$(at 3)"
sleep 1.1 # the attribute timeout
equal "swapped: attributes" 2,0 "$(value c)"
equal "swapped: of the other" 3,0 "$(value b)"
mv "$STORE/e" "$STORE/t" && mv "$STORE/sub" "$STORE/e" && mv "$STORE/t" "$STORE/sub"
equal "directories swapped" sub/u "$(at 8)"
equal "directories swapped, the other" e/z "$(at 7)"

# ---- hard links
ln "$STORE/l" "$STORE/l2"
equal "two links: one hit" 1 "$(vexctl search --space t --vector 4,0 --max-distance 0.1 -l | wc -l)"
rm "$STORE/l"
equal "the first name is gone" l2 "$(at 4)"
ln "$STORE/l2" "$STORE/e/l3"
sleep 1.1
rm "$MNT/l2"
equal "gone through the mount" e/l3 "$(at 4)"
equal "attributes by the last name" 4,0 "$(value e/l3)"
mv "$STORE/e/l3" "$STORE/l"
equal "and renamed" l "$(at 4)"

# ---- replaced
echo "another file" >"$STORE/new"
mv "$STORE/new" "$STORE/b"
equal "a file replaced is not found" "" "$(at 3)"
sleep 1.1
equal "it has no attributes" "" "$(value b)"
equal "stale says so" b "$(vexctl stale)"
rm "$STORE/c" && echo "content of 2" >"$STORE/c"
equal "the same content, another file and time" "" "$(at 2)"
sleep 1.1
equal "no attributes either" "" "$(value c)"
cp "$STORE/l" "$STORE/copy"
mv "$STORE/copy" "$STORE/l"
equal "a copy in its place" "" "$(at 4)"

# ---- copied with its mark
cp -a "$STORE/a2" "$STORE/a3"
sleep 1.1
equal "a copy with xattrs has them too" 1,0 "$(value a3)"
equal "both are found" "a2 a3 " \
	"$(vexctl search --space t --vector 1,0 -k 9 --max-distance 0.1 -l | sort | tr '\n' ' ')"
setfattr -n user.vexfs.t -v 9.5,0 "$MNT/a3"
equal "they are two" 1,0 "$(value a2)"

# ---- gone, and all of it after a restart
rm -r "$STORE/sub"
equal "a directory removed" "" "$(at 8)"
vex_kill
vex_start -o metric=l2
equal "after SIGKILL: moved" a2 "$(at 1)"
equal "after SIGKILL: swapped" e/z "$(at 7)"
equal "after SIGKILL: replaced" "" "$(at 3)$(at 4)"
exits "scan" 0 vexctl scan
vex_stop || failures=$((failures + 1))
exits "fsck" 0 vexctl fsck "$STORE"
cat "$T/out"
finish
