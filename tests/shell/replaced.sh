#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Files that are replaced by the programs people use: what they had attached is in no
# search, listed by stale and brought back by reattach; rm alone is deletion.
. "$(dirname "$0")/lib.sh"

attach()
{
	setfattr -n "user.vexfs.$2" -v "$3" "$MNT/$1"
}
stale()
{
	vexctl stale | sort | tr '\n' ' '
}
found()
{
	vexctl search --space t --vector 1,0 -k 100 -l | sort | tr '\n' ' '
}
rows()
{
	vexctl space show t | sed -n 's/^rows: //p'
}
# Everything is there again, as it was, and stale.
brings_back()
{
	exits "$1: reattach" 0 vexctl reattach "${@:2}"
	for f in "${@:2}"; do
		equal "$1: the value of $f" 1,0 \
			"$(getfattr --absolute-names --only-values -n user.vexfs.t "$MNT/$f")"
		attach "$f" t 1,0
	done
	exits "$1: well" 1 vexctl stale
}

vex_start
mkdir "$MNT/dir"
for f in a b dir/c; do
	echo "one $f" >"$MNT/$f"
	attach $f t 1,0
done

# ---- rm
rm "$MNT/a"
exits "rm lists nothing" 1 vexctl stale
equal "rm removes" "b dir/c " "$(found)"
equal "rm removes rows" 2 "$(rows)"
echo "two a" >"$MNT/other"
exits "another name" 1 vexctl stale
rm "$MNT/other"
exits "still nothing" 1 vexctl stale
echo "one a" >"$MNT/a"
equal "made again" "a " "$(stale)"
brings_back rm a
rm -r "$MNT/dir"
exits "rm -r" 1 vexctl stale
mkdir "$MNT/dir"
echo "one dir/c" >"$MNT/dir/c"
exits "in another directory" 1 vexctl stale
attach dir/c t 1,0

# ---- git
if command -v git >/dev/null; then
	git_()
	{
		git -C "$MNT" -c user.name=x -c user.email=x@example.com \
			-c init.defaultBranch=main -c advice.detachedHead=false "$@" \
			>>"$T/git" 2>&1
	}
	check "git init" git_ init
	check "git add" git_ add a b dir/c
	check "git commit" git_ commit -m one
	check "git branch" git_ checkout -b two
	for f in a dir/c; do echo "two $f, changed" >"$MNT/$f"; done
	check "git commit" git_ commit -a -m two
	for f in a dir/c; do attach $f t 1,0; done
	exits "nothing stale so far" 1 vexctl stale
	check "git checkout" git_ checkout main
	equal "git checkout: content" "one a" "$(cat "$MNT/a")"
	equal "git checkout" "a dir/c " "$(stale)"
	equal "git checkout: searches" "b " "$(found)"
	equal "git checkout: rows" 1 "$(rows)"
	brings_back "git checkout" a dir/c
	check "git checkout back" git_ checkout two
	equal "git checkout back" "a dir/c " "$(stale)"
	vex_kill
	vex_start
	equal "after SIGKILL" "a dir/c " "$(stale)"
	brings_back "git checkout back" a dir/c
	echo "not committed" >"$MNT/a"
	attach a t 1,0
	check "git stash" git_ stash
	equal "git stash" "a " "$(stale)"
	brings_back "git stash" a
	check "git stash pop" git_ stash pop
	equal "git stash pop" "a " "$(stale)"
	brings_back "git stash pop" a
	check "git reset" git_ reset --hard
	equal "git reset --hard" "a " "$(stale)"
	brings_back "git reset --hard" a
	check "git rm" git_ rm -q a
	exits "git rm is deletion" 1 vexctl stale
	check "git reset" git_ reset --hard
	rm -rf "$MNT/.git"
	attach a t 1,0
fi

# ---- editors
printf 'x\n' | sed -i 's/o/0/' "$MNT/b"
equal "sed -i" "b " "$(stale)"
brings_back "sed -i" b
if command -v vim >/dev/null; then
	for how in no yes auto; do
		check "vim" timeout 60 vim -u NONE -es -c "set backupcopy=$how nobackup writebackup" \
			-c 'normal Ahello' -c wq "$MNT/b" </dev/null >>"$T/vim" 2>&1
		check "vim wrote" grep -q hello "$MNT/b"
		equal "vim, backupcopy=$how" "b " "$(stale)"
		[ "$(getfattr --absolute-names --only-values -n user.vexfs.t "$MNT/b" 2>/dev/null)" ] ||
			brings_back "vim, backupcopy=$how" b
		attach b t 1,0
	done
fi
# As vim does it: away, a new one, the old one removed.
mv "$MNT/b" "$MNT/b~"
echo new >"$MNT/b"
exits "the backup has them" 1 vexctl stale
rm "$MNT/b~"
equal "away and removed" "b " "$(stale)"
brings_back "away and removed" b
# As emacs: the backup stays, and so do they, with it.
mv "$MNT/b" "$MNT/b~"
echo newer >"$MNT/b"
exits "emacs: nothing is lost" 1 vexctl stale
equal "emacs: with the backup" "a b~ dir/c " "$(found)"
# The next session makes another backup of a file that has none over it.
mv "$MNT/b" "$MNT/b~"
equal "emacs, again" "b~ " "$(stale)"
rm "$MNT/b~"
echo newest >"$MNT/b"
attach b t 1,0

# ---- rsync
if command -v rsync >/dev/null; then
	mkdir "$T/from"
	echo "from rsync, longer" >"$T/from/a"
	check "rsync" rsync -a "$T/from/" "$MNT/"
	equal "rsync without -X" "a " "$(stale | sed 's/b~ //')"
	exits "rsync: reattach" 0 vexctl reattach a
	attach a t 1,0
	echo "from rsync, once more" >"$T/from/a"
	check "rsync --delete-before" rsync -a --inplace "$T/from/a" "$MNT/a"
	equal "rsync --inplace: changed" "a " "$(stale | sed 's/b~ //')"
	attach a t 1,0
fi

# ---- made and attached, again and again: nothing of before fills the store
for i in 1 2 3 4 5 6 7 8; do
	rm "$MNT/a"
	echo "$i" >"$MNT/a"
	attach a t "$i,1"
done
equal "attached anew" "" "$(stale | sed 's/b~ //')"
vex_stop || failures=$((failures + 1))
exits "fsck finds nothing" 0 vexctl fsck "$STORE"
cat "$T/out" "$T/err"
rows=$(sed -n 's/^.*, \([0-9]*\) rows.*/\1/p' "$T/out" "$T/err" | head -n 1)
check "as many rows as there are files, and one kept ($rows)" test "${rows:-99}" -le 4
finish
