#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl attach, get, detach: the same as setfattr, getfattr and setfattr -x; paths by
# every way of saying them; names of any bytes.
. "$(dirname "$0")/lib.sh"

mkdir -p "$STORE/dir/sub"
for f in a b c dir/a dir/sub/x ':odd:'; do : >"$STORE/$f"; done
ln -s dir "$STORE/link"
ln -s a "$STORE/alias"
mkdir "$T/elsewhere"
vex_start

value()
{
	getfattr --only-values -n "user.vexfs.$1" "$2" 2>/dev/null
}

# ---- attach is setxattr ----------------------------------------------------------
check "attach makes the space" vexctl attach a --space t --vector '1, 2.5,-3e-2'
equal "text stays byte for byte" '1, 2.5,-3e-2' "$(value t "$MNT/a")"
equal "get prints it" '1, 2.5,-3e-2' "$(vexctl get a)"
check "without --space: the only one of dimension 3" vexctl attach b --vector 0,1,0
equal "it is in t" 0,1,0 "$(value t "$MNT/b")"
check "with a key" vexctl attach b --vector 0,0,1 --key 'k 1.x'
equal "under the key" 0,0,1 "$(value 't.k 1.x' "$MNT/b")"
check "a vector may begin with -" vexctl attach c --space t --vector -1,0,0
equal "it did" -1,0,0 "$(value t "$MNT/c")"
printf '1 0 0\n0 1 0\n' >"$T/rows"
check "a matrix from a file" vexctl attach c --space t --key m --vector-file "$T/rows"
equal "as it was" "$(cat "$T/rows")" "$(vexctl get c --space t --key m)"
printf '[[1,2,3],\n [4,5,6]]' | vexctl attach c --key j --vector-file -
equal "JSON on stdin" '[[1,2,3],
 [4,5,6]]' "$(vexctl get c --space t --key j)"
check "a directory" vexctl attach dir --vector 3,2,1
equal "carries it" 3,2,1 "$(value t "$MNT/dir")"

python3 - "$T" <<'PY'
import array, sys
array.array("f", [0.1, -1.5, 1e-8, 7, 8, 9]).tofile(open(sys.argv[1] + "/raw6", "wb"))
array.array("f", [0.1, -1.5, 1e-8]).tofile(open(sys.argv[1] + "/raw3", "wb"))
array.array("f", [1, float("nan"), 0]).tofile(open(sys.argv[1] + "/nan", "wb"))
PY
check "raw float32" vexctl attach dir/a --vector-file "$T/raw3"
check "stays binary" cmp "$T/raw3" <(vexctl get dir/a --raw)
equal "get decodes" 0.100000001,-1.5,9.99999994e-09 "$(vexctl get dir/a)"
check "two raw rows, the space named" vexctl attach dir/a --space t --vector-file "$T/raw6"
equal "a row a line" 2 "$(vexctl get dir/a | wc -l)"
check "raw makes a space: one row" vexctl attach dir/a --space six --vector-file "$T/raw6"
equal "of dimension 6" 'dim: 6' "$(vexctl space show six | grep '^dim')"

# ---- get, detach -----------------------------------------------------------------
equal "several: each line named" 3 "$(vexctl get dir/a | wc -l)"
equal "names" 'six t' "$(vexctl get --list dir/a | sort | tr '\n' ' ' | sed 's/ $//')"
equal "lines begin with the name" 'six t t' "$(vexctl get dir/a | cut -f 1 | sort | xargs)"
exits "raw of several" 2 vexctl get dir/a --raw
exits "get of nothing" 1 vexctl get dir/sub/x
exits "get of a missing space" 1 vexctl get a --space nope
exits "get of a missing file" 2 vexctl get missing
check "detach one" vexctl detach dir/a --space six
equal "the other is left" t "$(vexctl get --list dir/a)"
exits "detach again: nothing there" 1 vexctl detach dir/a --space six
check "detach by key" vexctl detach c --key m
equal "only that" 't t.j' "$(vexctl get --list c | sort | xargs)"
check "detach everything, of two files" vexctl detach c b
exits "c is bare" 1 vexctl get c
exits "all or none" 1 vexctl detach a c
equal "a was left alone" '1, 2.5,-3e-2' "$(vexctl get a)"
exits "detach of a missing file" 2 vexctl detach missing

# ---- what must fail, and change nothing --------------------------------------------
for bad in '' ',' 1,,2 '1,2,x' nan inf 1e999 '[1,2' '1,2,3]' '0x1' '1;2'; do
	exits "vector '$bad'" 2 vexctl attach c --space t --vector "$bad"
	equal "one line says so" 1 "$(wc -l <"$T/err")"
done
exits "rows of two lengths" 2 vexctl attach c --space t --vector $'1,2,3\n1,2'
exits "another dimension" 2 vexctl attach c --space t --vector 1,2
exits "all zeros under cosine" 2 vexctl attach c --space t --vector 0,0,0
exits "NaN" 2 vexctl attach c --space t --vector-file "$T/nan"
exits "no vector" 2 vexctl attach c --space t
exits "two vectors" 2 vexctl attach c --space t --vector 1,2,3 --vector-file "$T/rows"
exits "no path" 2 vexctl attach --space t --vector 1,2,3
exits "two paths" 2 vexctl attach a c --space t --vector 1,2,3
exits "a missing file" 2 vexctl attach nope --space t --vector 1,2,3
exits "no space of that dimension" 2 vexctl attach c --vector 1,2
check "it asks for --space" grep -q -- --space "$T/err"
for bad in T 't x' t.k _near '' -t "$(printf 'x%.0s' {1..49})"; do
	exits "space '$bad'" 2 vexctl attach c --space "$bad" --vector 1,2,3
done
exits "a key with a slash" 2 vexctl attach c --space t --key a/b --vector 1,2,3
exits "nothing came of all that" 1 vexctl get c
check "a second space of dimension 3" vexctl attach c --space u --vector 1,2,3
exits "now it is ambiguous" 2 vexctl attach a --vector 1,2,3
check "the choices are named" grep -q 't u\|u t' "$T/err"

# ---- paths ---------------------------------------------------------------------------
wants()
{
	equal "$1" "$2" "$(value p "$MNT/$3")"
}
unset VEXFS_MOUNT
check "absolute" vexctl attach "$MNT/dir/a" --space p --vector 1
wants "absolute" 1 dir/a
(cd "$MNT/dir" && vexctl attach a --space p --vector 2)
wants "relative to a directory in the mount" 2 dir/a
(cd "$MNT/dir/sub" && vexctl attach ../a --space p --vector 3)
wants "with .." 3 dir/a
(cd "$MNT/dir/sub" && vexctl attach .././sub//x --space p --vector 4)
wants "with . and //" 4 dir/sub/x
(cd "$T" && vexctl attach mnt/dir/a --space p --vector 5)
wants "into the mount from outside" 5 dir/a
(cd "$T/elsewhere" && vexctl -m "$MNT" attach dir/a --space p --vector 6)
wants "-m and relative to the root" 6 dir/a
(cd "$T/elsewhere" && vexctl attach dir/a --space p --vector 7 -m ../mnt)
wants "-m behind the command" 7 dir/a
(cd "$T/elsewhere" && VEXFS_MOUNT=$MNT vexctl attach dir/a --space p --vector 8)
wants "VEXFS_MOUNT" 8 dir/a
(cd "$MNT/link" && vexctl attach a --space p --vector 9)
wants "below a link to a directory" 9 dir/a
check "the root" vexctl attach "$MNT" --space p --vector 10
wants "the root" 10 .
(cd "$MNT/dir" && vexctl attach . --space p --vector 11)
wants "." 11 dir
(cd "$MNT" && vexctl attach :odd: --space p --vector 12)
wants "colons" 12 :odd:
name=$'tab\tnew\nline \xff "q" \\ %s'
: >"$MNT/dir/$name"
(cd "$MNT" && vexctl attach "dir/$name" --space p --vector 13)
wants "any bytes" 13 "dir/$name"
equal "get of any bytes" 13 "$(vexctl get "$MNT/dir/$name")"
deep=$(printf 'd%.0s' {1..200})
mkdir -p "$MNT/$deep/$deep/$deep" && : >"$MNT/$deep/$deep/$deep/f"
check "a long path" vexctl attach "$MNT/$deep/$deep/$deep/f" --space p --vector 14
wants "a long path" 14 "$deep/$deep/$deep/f"
exits "outside the mount" 2 vexctl -m "$MNT" attach "$T/elsewhere" --space p --vector 1
exits "outside, by .." 2 bash -c "cd '$MNT' && '$B/vexctl' attach ../x --space p --vector 1"
exits "no mount at all" 2 bash -c "cd / && '$B/vexctl' get /etc/passwd"
exits "-m of no mount" 2 vexctl -m "$T" get a
exits "-m below the root of one" 2 vexctl -m "$MNT/dir" get a
exits "the control directory" 2 vexctl -m "$MNT" attach .vexfs/control --space p --vector 1
finish
