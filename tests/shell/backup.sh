#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# backup and restore: the restored store answers as the one that was backed up, while
# writes went on; again into the same DEST; what is interrupted or damaged is told.
. "$(dirname "$0")/lib.sh"

D=$T/dest
vec()
{
	awk -v s="$1" 'BEGIN { srand(s); for (i = 0; i < 16; i++) printf "%s%d", i ? "," : "", 1 + rand() * 999 }'
}
# Every attachment of a tree, and what the files are.
tree()
{
	(cd "$1" && find . -path ./.vexfs -prune -o -printf '%y %p %m %s %T@ %l\n' | sort
	find . -type f -exec sha256sum {} + | sort
	find . -exec getfattr -h -d -m '^user\.[^v]' {} + 2>/dev/null | sort)
}
vectors()
{
	(cd "$1" && find . \( -type f -o -type d \) -exec getfattr -d -e hex -m '^user\.vexfs\.' {} + \
		2>/dev/null | sort)
}
answers()
{
	local i
	for i in 3 40 111 179; do
		vexctl -m "$1" search --space t -k 7 --vector "$(vec "$i")"
		vexctl -m "$1" search --space u -k 3 --like "d/f$i" 2>/dev/null
	done
}

mkdir -p "$STORE/d/deep/er" "$STORE/empty"
vex_start -o sync_interval_ms=200
export VEXFS_MOUNT=$MNT
vexctl space create t --dim 16 --metric l2 || die "space"
for i in $(seq 1 180); do
	echo "content $i" >"$MNT/d/f$i"
	setfattr -n user.vexfs.t -v "$(vec "$i")" "$MNT/d/f$i"
	[ $((i % 3)) -ne 0 ] || setfattr -n user.vexfs.u.key -v "$(vec $((i + 500)))" "$MNT/d/f$i"
done
for i in 3 40 111 179; do setfattr -n user.vexfs.u -v "$(vec $((i + 900)))" "$MNT/d/f$i"; done
ln "$MNT/d/f1" "$MNT/d/deep/er/link"
ln -s ../f2 "$MNT/d/deep/sym"
mkfifo "$MNT/d/pipe"
setfattr -n user.note -v "a note" "$MNT/d/f2"
setfattr -n user.vexfs.t -v "$(vec 777)" "$MNT/d/deep"
setfattr -n user.vexfs.t.k -v "$(vec 1)
$(vec 2)" "$MNT/d/f9"
chmod 640 "$MNT/d/f3"
chmod 444 "$MNT/d/f4"
touch -d '2001-02-03 04:05:06.123456789' "$MNT/d/f5" "$MNT/d"
truncate -s 10M "$MNT/d/sparse"

exits "backup" 0 vexctl backup "$D"
check "it says how much" grep -q "files" "$T/err"
want_tree=$(tree "$MNT")
want_vectors=$(vectors "$MNT")
want=$(answers "$MNT")
check "something is there" test "$(wc -l <<<"$want_vectors")" -gt 300
check "holes stay holes" test "$(du -B1 "$D/tree/d/sparse" | cut -f1)" -lt 1000000

# As equal, of much text: what differs is printed, not all of it.
alike()
{
	diff <(echo "$2") <(echo "$3") | cut -c 1-200 | head -n 20 >&2
	equal "$1" "$(sha256sum <<<"$2")" "$(sha256sum <<<"$3")"
}
# same WHAT STORE: mounted, it is what was backed up.
same()
{
	vex_stop || die "stop"
	STORE=$2
	vex_start
	alike "$1: files" "$want_tree" "$(tree "$MNT")"
	alike "$1: vectors" "$want_vectors" "$(vectors "$MNT")"
	equal "$1: answers" "$want" "$(answers "$MNT")"
	equal "$1: nothing is stale" "" "$(vexctl search --space t -k 200 --vector "$(vec 1)" --jsonl |
		grep '"stale":true')"
	vex_stop || die "stop"
	exits "$1: fsck" 0 vexctl fsck "$STORE"
	STORE=$T/store
	vex_start
}
exits "restore" 0 vexctl restore "$D" "$T/r1"
same "restored" "$T/r1"
exits "into what is not empty" 2 vexctl restore "$D" "$T/r1"
check "says so" grep -q "not empty" "$T/err"

# Again, after changes.
for i in $(seq 1 20); do rm "$MNT/d/f$((i + 100))"; done
for i in $(seq 1 30); do setfattr -n user.vexfs.t -v "$(vec $((i + 3000)))" "$MNT/d/f$i"; done
for i in $(seq 1 30); do echo new >"$MNT/d/n$i" && setfattr -n user.vexfs.t -v "$(vec $((i + 4000)))" "$MNT/d/n$i"; done
mv "$MNT/d/f50" "$MNT/empty/moved"
rm "$MNT/d/deep/sym" && mkdir "$MNT/d/deep/sym"
vexctl compact 2>/dev/null
full=$(du -sb "$D/store/spaces" | cut -f1)
exits "again" 0 vexctl backup "$D"
check "as an increment" grep -q "what changed" "$T/err"
check "of few files: $(cat "$T/err")" grep -Eq ' ([1-5]?[0-9]) of them copied' "$T/err"
want_tree=$(tree "$MNT")
want_vectors=$(vectors "$MNT")
want=$(answers "$MNT")
exits "restore the second" 0 vexctl restore "$D" "$T/r2"
same "second" "$T/r2"
check "sizes alike: $full" test "$full" -gt 0

# While writes go on: all that was acknowledged before it is there.
(
	i=0
	while [ ! -e "$T/enough" ]; do
		i=$((i + 1))
		echo $i >"$MNT/d/w$i" 2>/dev/null
		setfattr -n user.vexfs.t -v "$(vec $i)" "$MNT/d/w$i" 2>/dev/null
		setfattr -n user.vexfs.t -v "$(vec $i)" "$MNT/d/f$((i % 90 + 1))" 2>/dev/null
	done
) &
writer=$!
sleep 0.5
seen=$(find "$MNT/d" -name 'w*' | wc -l)
exits "while writes go on" 0 vexctl backup "$D"
touch "$T/enough"
wait $writer
exits "restore that" 0 vexctl restore "$D" "$T/r3"
check "nothing was lost: $seen" test "$(find "$T/r3/d" -name 'w*' | wc -l)" -ge "$seen"
exits "and it is whole" 0 vexctl fsck "$T/r3"

# Interrupted.
sed -i 's/^state complete/state running/' "$D/manifest"
exits "an interrupted one" 2 vexctl restore "$D" "$T/r4"
check "says so" grep -q "interrupted" "$T/err"
check "nothing was made" test ! -e "$T/r4"
exits "is made whole" 0 vexctl backup "$D"
exits "and restored" 0 vexctl restore "$D" "$T/r4"

# Damaged: named, exit 2.
printf 'x' | dd of="$D/store/spaces/1.rows" bs=1 seek=5000 conv=notrunc 2>/dev/null
exits "a damaged one" 2 vexctl restore "$D" "$T/r5"
check "named" grep -q "spaces/1.rows: slot" "$T/err"

mkdir "$T/full" && touch "$T/full/x"
exits "not into anything" 2 vexctl backup "$T/full"
exits "not into the mount" 2 vexctl backup "$MNT/b"
exits "no backup" 2 vexctl restore "$T/full" "$T/r6"
exits "no DEST" 2 vexctl backup
exits "one argument" 2 vexctl restore "$D"
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	vex_stop || die "stop"
	chmod 755 "$T"
	vex_start -o allow_other
	mkdir "$T/other" && chown 1234 "$T/other"
	exits "not for others" 2 setpriv --reuid=1234 --regid=1234 --clear-groups \
		"$B/vexctl" -m "$MNT" backup "$T/other/b"
fi
vex_stop || die "stop"
finish
