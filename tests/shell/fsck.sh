#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl fsck on stores that are well, live, crashed, and hurt in every way it knows:
# what it says, its exit codes, that it changes nothing unasked and that a second run
# after a repair finds nothing.
. "$(dirname "$0")/lib.sh"

mkdir -p "$STORE/d/e" "$STORE/f" "$STORE/tags"
for i in 1 2 3 4 5 6; do
	echo "$i" >"$STORE/d/$i"
	echo "x$i" >"$STORE/f/$i"
done
ln "$STORE/d/1" "$STORE/hard"

# Every byte and every time below .vexfs.
traces()
{
	find "$STORE/.vexfs" -type f -printf '%P %s %T@\n' -exec sha256sum {} \; | sort
}
# fsck WHAT CODE: without repair; leaves no trace.
looks()
{
	local before
	before=$(traces)
	exits "$1" "$2" vexctl fsck "$STORE"
	equal "$1: nothing was changed" "$before" "$(traces)"
}
says()
{
	check "it says: $1 ($(head -c 600 "$T/out"))" grep -q -- "$1" "$T/out"
}
# Repaired whole: says so, and then there is nothing.
repairs()
{
	exits "$1: repair" 1 vexctl fsck --repair "$STORE"
	check "$1: says it" grep -q ': repaired$' "$T/out"
	exits "$1: again" 0 vexctl fsck --repair "$STORE"
	looks "$1: a look" 0
}

# ---- usage --------------------------------------------------------------------------
exits "no argument" 16 vexctl fsck
exits "two" 16 vexctl fsck a b
exits "unknown option" 16 vexctl fsck -x "$STORE"
exits "unknown option of vexfs" 16 "$VEXFS" --fsck --force "$STORE"
exits "help" 0 vexctl fsck --help
exits "no such folder" 8 vexctl fsck "$T/none"
exits "no store" 8 vexctl fsck "$STORE"
check "one line" test "$(wc -l <"$T/err")" = 1
check "nothing was made" test ! -e "$STORE/.vexfs"

# ---- live, well, crashed --------------------------------------------------------------
vex_start
vexctl space create t --dim 2 --metric l2
for i in 1 2 3 4 5 6; do
	vexctl attach "d/$i" --space t --vector "$i,1"
	printf 'put\tf/%d\tt.k\t1,%d\ndelete\tf/%d\tt.k\nput\tf/%d\tt.k\t2,%d\n' \
		"$i" "$i" "$i" "$i" "$i" | vexctl txn
done
python3 -c 'import array,sys; array.array("f",[3.5,1]).tofile(open(sys.argv[1],"wb"))' "$T/raw"
vexctl attach d/6 --space t --key raw --vector-file "$T/raw"
vexctl attach d --space t --vector 5,5
mv "$MNT/d/2" "$MNT/d/e/two"
ln "$MNT/d/3" "$MNT/d/e/three"
mv "$MNT/f" "$MNT/g"
rm "$MNT/g/6"
exits "live" 8 vexctl fsck --repair "$STORE"
check "says who has it" grep -q "served by vexfs pid" "$T/err"
exits "a mount" 8 vexctl fsck "$MNT"
fusermount3 -u "$MNT"
exits "a daemon that closes is waited for" 0 vexctl fsck "$STORE"
wait "$daemon" || die "exit code"
daemon=
looks "well" 0
says ': 1 space, 13 attachments, 13 rows: clean$'
vex_start
vexctl attach d/4 --space t --vector 9,9
mv "$MNT/d/5" "$MNT/five" # the old name is dropped by a commit that nobody waits for
vex_kill
looks "crashed" 0
says '13 attachments'
exits "nothing to repair" 0 vexctl fsck --repair "$STORE"
cp -a "$STORE" "$T/good"

# ---- behind our back -------------------------------------------------------------------
mv "$STORE/d/4" "$STORE/moved"
looks "a file moved" 4
says '^moved: moved here behind VexFS.*can be repaired'
says '^d/4: no longer a name of node'
repairs "a file moved"
mv "$STORE/g" "$STORE/gg"
looks "a directory moved" 4
says '^gg: moved here'
repairs "a directory moved"
cp -a "$STORE/gg/1" "$STORE/copy"
looks "a copy" 4
says '^copy: has the mark of gg/1: copied'
repairs "a copy"
cp -a "$STORE/moved" "$T/x"
mv "$T/x" "$STORE/moved"
looks "restored" 4
says '^moved: another inode than recorded'
repairs "restored"
setfattr -x user.vexfs._id "$STORE/d/3"
looks "a mark lost" 4
says ': its mark is missing'
repairs "a mark lost"
python3 - "$STORE" <<'PY'
import os, sys
s = sys.argv[1]
m = bytearray(os.getxattr(s + "/moved", "user.vexfs._id"))
m[20] ^= 1
open(s + "/foreign", "w").close()
os.setxattr(s + "/foreign", "user.vexfs._id", bytes(m))
m[8:16] = (123456789).to_bytes(8, "little")
os.setxattr(s + "/tags", "user.vexfs._id", bytes(m))
PY
looks "foreign marks" 4
says '^foreign: carries the mark of node .*, which no node has'
says '^tags: carries the mark of node 123456789'
repairs "foreign marks"
equal "the marks are gone" '' "$(getfattr --absolute-names -m - "$STORE/foreign" "$STORE/tags")"
mkdir "$T/aside"
mv "$STORE/gg/2" "$T/aside/"
looks "a file is gone" 0
says '1 file not there (what they had is kept)'
mv "$T/aside/2" "$STORE/gg/2"

# ---- what is in .vexfs -------------------------------------------------------------------
rows=$STORE/.vexfs/spaces/1.rows
recs=$STORE/.vexfs/spaces/1.recs
echo x >"$STORE/.vexfs/spaces/77.recs"
looks "a stray file" 4
says '^.vexfs/spaces/77.recs: no space has it'
repairs "a stray file"
# Text is in the catalog too: rows are computed again from it.
printf 'zz' | dd of="$rows" bs=1 seek=4096 conv=notrunc status=none
printf 'zz' | dd of="$recs" bs=1 seek=$((4096 + 32 * 3)) conv=notrunc status=none
looks "damaged rows of text" 4
says '^.vexfs/spaces/1.rows: slot 0 (row 0 of change 2, hard\|d/1.*): checksum mismatch'
says '^.vexfs/spaces/1.recs: slot 3 '
repairs "damaged rows of text"
vex_start
equal "the answer is whole" 14 "$(vexctl search --space t --vector 0,0 -k 50 -l --per-file 0 | wc -l)"
equal "value" 1,1 "$(vexctl get d/1 --space t)"
equal "the moved one" 9,9 "$(vexctl get moved)"
equal "the copy has its own" 2,1 "$(vexctl get copy)"
vexctl attach copy --space t --key k --vector 8,8
equal "and the original keeps its" 2,1 "$(vexctl get gg/1)"
vex_stop || die "exit code"
# Of a binary value there is no other copy: named, left, the rest served.
python3 - "$rows" <<'PY'
import struct, sys
f = open(sys.argv[1], "r+b")
data = f.read()
at = data.index(struct.pack("<2f", 3.5, 1), 4096)
f.seek(at)
f.write(b"\0\0\0\1")
PY
looks "a damaged binary row" 4
says 'd/6): checksum mismatch$'
exits "cannot be repaired" 4 vexctl fsck --repair "$STORE"
exits "still not" 4 vexctl fsck --repair "$STORE"
rm -rf "$STORE"
cp -a "$T/good" "$STORE"
looks "a copy of the store" 0
truncate -s 5000 "$STORE/.vexfs/spaces/1.rows"
looks "rows cut short" 0
truncate -s 4110 "$STORE/.vexfs/spaces/1.rows"
looks "rows cut shorter" 4
says 'cut short before it'
rm "$STORE/.vexfs/spaces/1.recs"
looks "a file is missing" 4
says '^.vexfs/spaces/1.recs: No such file'

# ---- the catalog ---------------------------------------------------------------------------
rm -rf "$STORE"
cp -a "$T/good" "$STORE"
# A page that is whole in the log of a crash is no damage: so without one.
vex_start
vex_stop || die "exit code"
printf 'z' | dd of="$STORE/.vexfs/catalog.db" bs=1 seek=9000 conv=notrunc status=none
looks "a page of the catalog" 4
says '^.vexfs/catalog.db: page 3 does not match its checksum'
exits "what can be read is rescued" 1 vexctl fsck --repair "$STORE"
check "the old one is kept" test -s "$STORE/.vexfs/catalog.db.damaged"
looks "and then it is well" 0
: >"$STORE/.vexfs/catalog.db"
looks "an empty catalog" 4
says '^.vexfs/catalog.db: missing or empty'
exits "not repaired either" 4 vexctl fsck --repair "$STORE"
check "no new one was made" test ! -s "$STORE/.vexfs/catalog.db"
finish
