#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl space, status, sync, umount, and the command line itself.
. "$(dirname "$0")/lib.sh"
vex_start

# ---- the command line ------------------------------------------------------------------
commands='search attach detach get import export space txn status health top stale stats config events sync umount scan reattach'
exits "--help" 0 vexctl --help
for c in $commands; do
	check "help names $c" grep -q "^  $c " "$T/out"
done
for c in $commands 'space create' 'space list'; do
	# shellcheck disable=SC2086
	exits "$c --help" 0 vexctl $c --help
	check "$c --help: usage on stdout" grep -q '^usage: vexctl' "$T/out"
	equal "$c --help: nothing on stderr" 0 "$(wc -c <"$T/err")"
	# shellcheck disable=SC2086
	exits "$c --nope" 2 vexctl $c --nope
	equal "$c --nope: one line" 1 "$(wc -l <"$T/err")"
	equal "$c --nope: no output" 0 "$(wc -c <"$T/out")"
done
for c in '' frob 'txn a' 'stale --nope' reattach -z --nope 'space frob' space 'status a b' 'sync a b'; do
	# shellcheck disable=SC2086
	exits "vexctl $c" 2 vexctl $c
	equal "vexctl $c: one line" 1 "$(wc -l <"$T/err")"
done
exits "-m without a value" 2 vexctl sync -m
exits "--version" 0 vexctl --version

# ---- space ------------------------------------------------------------------------------
check "create" vexctl space create a --dim 4
check "create, all said" vexctl space create b-2_x --dim 16384 --metric l2 --type f32 \
	--index flat --m 12 --ef-construction 90 --ef-search 70
check "ip" vexctl -m "$MNT" space create c --metric=ip --dim=1
equal "list: a line each" 'a b-2_x c' "$(vexctl space list | awk '{print $1}' | xargs)"
equal "list: columns" 'b-2_x 16384 l2 f32 flat 0' "$(vexctl space list | grep ^b | xargs)"
check "show" vexctl space show b-2_x
equal "show: KEY: VALUE" 'dim: 16384 metric: l2 m: 12 ef_construction: 90 ef_search: 70' \
	"$(vexctl space show b-2_x | grep -E '^(dim|metric|m|ef_.*):' | xargs)"
check "set" vexctl space set a ef_search=99 m=20
equal "set it is" 'm: 20 ef_search: 99' "$(vexctl space show a | grep -E '^(m|ef_search):' | xargs)"
equal "quant: sq8 by default" 'quant: sq8' "$(vexctl space show a | grep ^quant)"
for q in f16 sq8 bit none; do
	check "create, quant $q" vexctl space create "q-$q" --dim 3 --quant "$q"
	equal "quant $q it is" "quant: $q" "$(vexctl space show "q-$q" | grep ^quant)"
done
check "set quant" vexctl space set q-bit quant=f16
equal "set quant it is" 'quant: f16' "$(vexctl space show q-bit | grep ^quant)"
for q in f16 sq8 none; do
	check "drop q-$q" vexctl space drop "q-$q"
done
vexctl space list --script >"$T/script"
vexctl space show a >"$T/a.show"
for s in a b-2_x c q-bit; do
	check "drop $s" vexctl space drop $s
done
equal "none left" 0 "$(vexctl space list | wc -l)"
(PATH=$B:$PATH && . "$T/script")
check "the script makes them again" cmp "$T/script" <(vexctl space list --script)
check "with all their settings" cmp "$T/a.show" <(vexctl space show a)
check "drop q-bit" vexctl space drop q-bit
bad()
{
	exits "space $*" 2 vexctl space "$@"
	equal "space $*: one line" 1 "$(wc -l <"$T/err")"
}
bad create a --dim 4
bad create n
bad create n --dim 4 --quant 8bit
bad set a quant=
bad create n --dim 0
bad create n --dim 16385
bad create n --dim 4x
bad create n --dim 4 --metric manhattan
bad create n --dim 4 --type f33
bad create n --dim 4 --index tree
bad create n --dim 4 --m 0
bad create 'N n' --dim 4
bad create _n --dim 4
bad create --dim 4
bad create n o --dim 4
bad show nope
bad show
bad drop nope
bad drop
bad set a
bad set a dim=5
bad set a ef_search=0
bad set a ef_search=x
bad set nope ef_search=5
bad list x
equal "none of that made one" 'a b-2_x c' "$(vexctl space list | awk '{print $1}' | xargs)"

# ---- status, sync -------------------------------------------------------------------------
: >"$MNT/f" && setfattr -n user.vexfs.a -v 1,2,3,4 "$MNT/f"
exits "status" 0 vexctl status
check "names its spaces" bash -c "'$B/vexctl' status | grep -q 'name=a dim=4'"
check "and its pid" bash -c "'$B/vexctl' status | grep -qx 'pid: $daemon'"
equal "--json is the file" "$(grep -v uptime "$MNT/.vexfs/status" | sed 's/[0-9]\{2,\}//g')" \
	"$(vexctl status --json | grep -v uptime | sed 's/[0-9]\{2,\}//g')"
check "and JSON" python3 -c 'import json,sys; json.load(sys.stdin)' < <(vexctl status --json)
check "of a path" env -u VEXFS_MOUNT "$B/vexctl" status "$MNT/f"
check "sync" vexctl sync
check "sync of a path" env -u VEXFS_MOUNT "$B/vexctl" sync "$MNT"

# ---- another user ----------------------------------------------------------------------------
if [ "$(id -u)" = 0 ] && id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null; then
	vex_stop && vex_start -o allow_other
	chmod 755 "$T" "$MNT"
	as()
	{
		setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
	}
	if as test -x "$B/vexctl"; then
		chmod 600 "$MNT/f"
		equal "another user lists spaces" 3 "$(as "$B/vexctl" space list | wc -l)"
		equal "without counts" - "$(as "$B/vexctl" space list | awk '$1 == "a" {print $6}')"
		exits "but does not see what he may not read" 1 as "$B/vexctl" search --space a --vector 1,2,3,4
		exits "nor exports it" 1 as "$B/vexctl" export --space a -
		exits "nor makes spaces" 2 as "$B/vexctl" space create x --dim 2
		exits "nor attaches" 2 as "$B/vexctl" attach f --vector 1,2,3,5
		exits "nor unmounts" 2 as "$B/vexctl" umount
		equal "the file is as it was" 1,2,3,4 "$(vexctl get f)"
	fi
fi

# ---- umount -------------------------------------------------------------------------------------
(cd "$MNT" && exec 9<"$MNT/f" && exits "busy" 2 vexctl umount && [ $failures -eq 0 ]) ||
	failures=$((failures + 1))
mkdir "$T/other"
exits "a path elsewhere, with VEXFS_MOUNT" 2 vexctl umount "$T/other"
(cd "$MNT" && env -u VEXFS_MOUNT "$B/vexctl" umount "$T/other" 2>/dev/null)
equal "a path elsewhere, from within" 2 $?
check "it is still there" test -e "$MNT/.vexfs/control"
check "umount" vexctl umount
check "nothing is mounted" test ! -e "$MNT/f"
check "the daemon is gone" vex_gone
wait "$daemon"
equal "it ended well" 0 $?
daemon=
exits "umount again" 2 vexctl umount
vex_start
equal "everything is still there" 1,2,3,4 "$(vexctl get f)"
(cd "$MNT" && exec env -u VEXFS_MOUNT "$B/vexctl" umount)
equal "from within: its own directory does not hold it" 0 $?
check "nothing is mounted" test ! -e "$MNT/f"
wait "$daemon"
vex_start
check "umount by a path in it" env -u VEXFS_MOUNT "$B/vexctl" umount "$MNT/f"
wait "$daemon"
daemon=
vex_start
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null
daemon=
exits "a dead mount can be unmounted" 0 vexctl umount
check "nothing is mounted" test ! -e "$MNT/f"
finish
