#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Vectors and the content they were made for: stale, what a replacement takes away and
# reattach brings back, files that vanish behind the mount and return, scan.
. "$(dirname "$0")/lib.sh"

attach()
{
	setfattr -n "user.vexfs.$2" -v "$3" "$MNT/$1"
}
found()
{
	vexctl search --space t --vector 1,0 -k 100 -l "$@" | sort | tr '\n' ' '
}
stale()
{
	vexctl stale "$@" | tr '\n' ' '
}
info_stale()
{
	getfattr --only-values -n user.vexfs._info "$MNT/$1" | jq -r .stale
}

for f in a b c d e 'sp ace'; do echo "text $f" >"$STORE/$f"; done
mkdir "$STORE/dir"
echo x >"$STORE/dir/in"
vex_start
exits "nothing is stale in an empty store" 1 vexctl stale
for f in a b c d e 'sp ace' dir/in; do attach "$f" t 1,0; done
exits "nor right after attaching" 1 vexctl stale
equal "and nothing printed" "" "$(cat "$T/out")"

# ---- content that changed
echo more >>"$MNT/a"
equal "written" "a " "$(stale)"
truncate -s 2 "$MNT/b"
equal "truncated" "a b " "$(stale)"
echo behind >>"$STORE/dir/in"
equal "changed behind the mount" "a b dir/in " "$(stale)"
equal "info shows it" true "$(info_stale a)"
equal "a fresh one" false "$(info_stale c)"
equal "--fresh leaves them out" "c d e sp ace " "$(found --fresh)"
equal "-0" "a b dir/in " "$(vexctl stale -0 | tr '\0' ' ')"
exits "a space that is not there" 2 vexctl stale --space nosuch
exits "bad options" 2 vexctl stale --nosuch
attach a t 1,0
attach b t 1,0
attach dir/in t 1,0
exits "attached anew" 1 vexctl stale
touch -d '2020-01-01' "$MNT/a"
exits "touch moves the stamp along" 1 vexctl stale

# ---- replaced by a file without vectors
rows()
{
	vexctl space show t | sed -n 's/^rows: //p'
}
before=$(rows)
sed -i 's/text/TEXT/' "$MNT/c"
equal "sed -i: listed" "c " "$(stale)"
equal "and counted no more" $((before - 1)) "$(rows)"
equal "in no search" "a b d dir/in e sp ace " "$(found)"
equal "no attachment in its list" 0 "$(getfattr -d -m user.vexfs "$MNT/c" 2>/dev/null | grep -c =)"
equal "--space" "c " "$(stale --space t)"
attach e other 1,2,3
exits "another space" 1 vexctl stale --space other
exits "reattach" 0 vexctl reattach "$MNT/c"
equal "found again" "a b c d dir/in e sp ace " "$(found)"
equal "stale" true "$(info_stale c)"
equal "listed as changed" "c " "$(stale)"
equal "the same value, byte for byte" 1,0 "$(getfattr --only-values -n user.vexfs.t "$MNT/c")"
exits "nothing more is kept" 1 vexctl reattach c
attach c t 1,0
exits "attaching clears it" 1 vexctl stale

# What comes in its place brings its own: nothing is kept.
echo new >"$MNT/tmp"
attach tmp t 0,1
mv "$MNT/tmp" "$MNT/d"
exits "replaced by a file with vectors" 1 vexctl stale
equal "the new one's" 0,1 "$(getfattr --only-values -n user.vexfs.t "$MNT/d")"
# Attached anew after a replacement: settled.
printf 'x' >"$MNT/tmp" && mv "$MNT/tmp" "$MNT/d"
equal "replaced" "d " "$(stale)"
attach d t 1,0
exits "attached anew, in the same space" 1 vexctl stale
exits "so there is nothing to bring back" 1 vexctl reattach d
# Its own stay, the others come.
attach d 't.k2' 3,4
printf 'y' >"$MNT/tmp" && mv "$MNT/tmp" "$MNT/d"
attach d t 5,6
equal "one of two is missing" "d " "$(stale)"
exits "reattach of the other" 0 vexctl reattach d
equal "its own stays" 5,6 "$(getfattr --only-values -n user.vexfs.t "$MNT/d")"
equal "the other came" 3,4 "$(getfattr --only-values -n user.vexfs.t.k2 "$MNT/d")"
attach d t.k2 3,4
# Removed: that is deletion. Made again at once: a replacement (replaced.sh has more).
rm "$MNT/d"
exits "rm is deletion" 1 vexctl stale
echo again >"$MNT/d"
equal "made again" "d " "$(stale)"
attach d t 5,6
attach d t.k2 3,4
exits "attached anew" 1 vexctl stale
rm "$MNT/d"
exits "rm is deletion, again" 1 vexctl stale
exits "nothing to bring back" 2 vexctl reattach d
exits "no such file" 2 vexctl reattach nosuch
exits "no path" 2 vexctl reattach

# A write in place by an editor, names with blanks, directories that move.
sed -i 's/text/x/' "$MNT/sp ace"
mkdir "$MNT/e2" && sed -i 's/x/y/' "$MNT/dir/in" && mv "$MNT/dir" "$MNT/e2/dir"
equal "the place moves with its directory" "e2/dir/in sp ace " "$(stale)"

# ---- it all survives
vex_kill
vex_start
equal "after SIGKILL" "e2/dir/in sp ace " "$(stale)"
exits "reattach after it" 0 vexctl reattach e2/dir/in "sp ace"
attach e2/dir/in t 1,0
attach 'sp ace' t 1,0
exits "well" 1 vexctl stale

# ---- restored without xattrs: path, size and mtime agree
cp -p "$STORE/a" "$T/saved"
sed -i 's/$/ and more/' "$MNT/a"
equal "replaced" "a " "$(stale)"
rm "$STORE/a"
cp -p "$T/saved" "$STORE/a"
equal "back with its content" "a b c e e2/dir/in sp ace " "$(found)"
equal "and fresh" false "$(info_stale a)"
exits "not listed" 1 vexctl stale

# ---- vanished behind the mount
mv "$STORE/b" "$T/b.saved"
equal "in no search" "a c e e2/dir/in sp ace " "$(found)"
equal "listed" "b " "$(stale)"
exits "scan" 0 vexctl scan
equal "counts it" "missing 1" "$(grep missing "$T/out")"
equal "files" "files 6" "$(grep files "$T/out")"
equal "no damage" "damaged 0" "$(grep damaged "$T/out")"
cp -p "$T/b.saved" "$STORE/b"
exits "scan again" 0 vexctl scan
equal "it is back" "missing 0 returned 1 " "$(grep -E 'missing|returned' "$T/out" | tr '\n' ' ')"
equal "found" "a b c e e2/dir/in sp ace " "$(found)"

# tar's own format has whole seconds.
touch -d '2020-01-01 00:00:00.5' "$MNT/b"
tar -C "$STORE" --format=gnu -cf "$T/b.tar" b
rm "$STORE/b"
equal "gone again" "a c e e2/dir/in sp ace " "$(found)"
tar -C "$STORE" -xf "$T/b.tar"
equal "it came back" "a b c e e2/dir/in sp ace " "$(found)"
equal "stale, as its time is another" "b " "$(stale)"
sleep 1.1 # what changes behind the mount shows after a second
attach b t 1,0

# ---- the end of keeping
sed -i 's/x/y/' "$MNT/e"
equal "kept" "e " "$(stale)"
exits "scan before its time" 0 vexctl scan --quick
equal "purges nothing" "purged 0" "$(grep purged "$T/out")"
exits "no days" 0 vexctl config keep_days=0
exits "no longer listed" 1 vexctl stale
exits "scan after its time" 0 vexctl scan --quick
equal "purges it" "purged 1" "$(grep purged "$T/out")"
exits "gone" 1 vexctl reattach e
exits "keep_days back" 0 vexctl config keep_days=30

# ---- who may know
if [ "$(id -u)" = 0 ]; then
	vex_stop
	vex_start -o allow_other
	chmod 755 "$T" "$MNT" "$STORE"
	for f in open closed; do
		echo 1 >"$MNT/$f"
		attach $f t 1,0
	done
	chmod 644 "$MNT/open"
	chmod 600 "$MNT/closed"
	sed -i 's/1/2/' "$MNT/open" "$MNT/closed"
	chmod 644 "$MNT/closed"
	nobody()
	{
		setpriv --reuid 65534 --regid 65534 --clear-groups "$B/vexctl" -m "$MNT" "$@"
	}
	equal "root sees both" "closed open " "$(stale)"
	equal "another the readable one" "open " "$(nobody stale | tr '\n' ' ')"
	exits "who may not write" 2 nobody reattach open
	chmod 666 "$MNT/open" "$MNT/closed"
	exits "who could not read the old one" 1 nobody reattach closed
	exits "scan is for the owner" 2 nobody scan
	exits "who may" 0 nobody reattach open
fi
vex_stop || failures=$((failures + 1))
exits "fsck finds nothing" 0 vexctl fsck "$STORE"
finish
