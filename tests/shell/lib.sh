# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What shell tests share; sourced by them, never run by itself:
#
#	#!/usr/bin/env bash
#	. "$(dirname "$0")/lib.sh"
#	vex_start                 # or: vex_start -o strict
#	setfattr -n user.vexfs.t -v 1,0 "$MNT/a"
#	check "finds a" test "$(vexctl search --vector 1,0 -l)" = a
#	finish
#
# A test is a script in tests/shell/ that exits 0 when it passed, 77 when it cannot
# run here (no FUSE), anything else when it failed. scripts/run-tests runs it with B,
# the build directory. It owns a temporary folder $T with $STORE and $MNT inside, and
# whatever happens, also on a signal, the trap below ends the daemon, unmounts and
# removes the folder. Only the daemon started here is ever signalled, by its pid.

set -u
LC_ALL=C
export LC_ALL
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/limits.sh
. "$TOP/tests/limits.sh"
B=${B:-$TOP/build}
case $B in
/*) ;;
*) B=$TOP/$B ;;
esac
VEXFS=$B/vexfs
T=$(mktemp -d "${TMPDIR:-/tmp}/vexfs-test.XXXXXX") || exit 1
STORE=$T/store
MNT=$T/mnt
export VEXFS_MOUNT=$MNT
mkdir "$STORE" "$MNT"
checks=0
failures=0
daemon=

# One line on stderr and the end of the test.
die()
{
	echo "$0: $*" >&2
	exit 1
}

skip()
{
	echo "$0: skipped: $*" >&2
	exit 77
}

# The tool under test, never one that happens to be installed.
vexctl()
{
	"$B/vexctl" "$@"
}

vex_mounted()
{
	grep -q -F " $MNT " /proc/self/mountinfo
}

# Waits, at most $1 seconds, for a command to succeed.
wait_for()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

vex_gone()
{
	! kill -0 "$daemon" 2>/dev/null
}

# Starts the daemon on $STORE at $MNT with the options given and waits until it is
# usable. In the foreground form, so that its pid is known and its log is kept.
# $VEX_UNDER is a command to run it under, as "taskset -c 0".
vex_start()
{
	[ -c /dev/fuse ] || skip "no /dev/fuse"
	# shellcheck disable=SC2086 # a command and its arguments
	${VEX_UNDER:-} "$VEXFS" -f "$@" "$STORE" "$MNT" >>"$T/log" 2>&1 &
	daemon=$!
	wait_for 40 vex_up || die "the daemon did not mount: $(tail -n 5 "$T/log")"
	vex_mounted || die "the daemon ended: $(tail -n 5 "$T/log")"
}

# Usable, or ended already (vex_start tells the two apart).
vex_up()
{
	vex_gone || { vex_mounted && [ -e "$MNT/.vexfs/control" ]; }
}

# Unmounts and waits for the daemon; its exit code is the result.
vex_stop()
{
	fusermount3 -u "$MNT" || return 1
	if ! wait_for 60 vex_gone; then
		echo "the daemon did not end after the unmount" >&2
		return 1
	fi
	local pid=$daemon
	daemon=
	wait "$pid"
}

# The daemon dies as it stands; what it left mounted is cleared away.
vex_kill()
{
	kill -KILL "$daemon" 2>/dev/null
	wait "$daemon" 2>/dev/null
	daemon=
	fusermount3 -uz "$MNT" 2>/dev/null || umount -l "$MNT" 2>/dev/null
	return 0
}

vex_cleanup()
{
	local rc=$?
	trap - EXIT
	[ -z "$daemon" ] || fusermount3 -u "$MNT" 2>/dev/null
	if [ -n "$daemon" ] && ! wait_for 20 vex_gone; then
		kill -KILL "$daemon" 2>/dev/null
	fi
	[ -z "$daemon" ] || wait "$daemon" 2>/dev/null
	! vex_mounted || fusermount3 -uz "$MNT" 2>/dev/null || umount -l "$MNT"
	if [ $rc -ne 0 ] && [ $rc -ne 77 ] && [ -s "$T/log" ]; then
		echo "---- log of the daemon" >&2
		tail -n 40 "$T/log" >&2
	fi
	vex_mounted || rm -rf "$T"
	exit $rc
}
trap vex_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# check WHAT COMMAND...: the command must succeed.
check()
{
	local what=$1
	shift
	checks=$((checks + 1))
	"$@" && return 0
	failures=$((failures + 1))
	echo "FAILED: $what ($*)" >&2
	return 1
}

# equal WHAT WANTED GOT
equal()
{
	checks=$((checks + 1))
	[ "$2" = "$3" ] && return 0
	failures=$((failures + 1))
	printf 'FAILED: %s\n  wanted: %q\n  got:    %q\n' "$1" "$2" "$3" >&2
	return 1
}

# not COMMAND...: the command must fail.
not()
{
	! "$@" 2>/dev/null
}

# exits WHAT CODE COMMAND...: the exit code, exactly. Output goes to $T/out, $T/err.
exits()
{
	local what=$1 wanted=$2 rc=0
	shift 2
	"$@" >"$T/out" 2>"$T/err" || rc=$?
	equal "$what: exit code of $* ($(head -c 300 "$T/err"))" "$wanted" $rc
}

# The last line of every test: the counts, and the exit code.
finish()
{
	echo "$checks checks, $failures failed"
	[ $failures -eq 0 ] && [ $checks -gt 0 ]
	exit
}
