#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SIGKILL of the daemon under concurrent writers, again and again: see kill.c.
#
# scripts/check makes 500 rounds or more: 300 of the plain build, 200 of the one with
# sanitizers. In each build every fourth round runs with sync=always, another fourth with
# syncs 20 ms apart, the rest lazily; in every fourth, by chance, a second kill hits the
# recovery. On a machine under load it ends after KILL_SECONDS with what it has.
# ROUNDS=1000 KILL_SECONDS=3600 for a long run, SEED=N to repeat one.
. "$(dirname "$0")/../shell/lib.sh"

[ -c /dev/fuse ] || skip "no /dev/fuse"
case ${B##*/} in
build) rounds=${ROUNDS:-300} ;;
*) rounds=${ROUNDS:-200} ;;
esac
seconds=${KILL_SECONDS:-180}
seed=${SEED:-$((RANDOM << 15 | RANDOM))}
echo "seed $seed, $rounds rounds"
start=$SECONDS
check "SEED=$seed survives" timeout -k 5 $((seconds + 300)) \
	"$B/tests/crash/kill" "$VEXFS" "$T" "$rounds" "$seed" "$seconds" >"$T/rounds" 2>&1
tail -n 30 "$T/rounds"
echo "$((SECONDS - start)) s"
finish
