#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# SIGKILL of the daemon under concurrent writers, again and again: see kill.c.
# ROUNDS=1000 for a long run, SEED=N to repeat one.
. "$(dirname "$0")/../shell/lib.sh"

[ -c /dev/fuse ] || skip "no /dev/fuse"
rounds=${ROUNDS:-40}
seed=${SEED:-$((RANDOM << 15 | RANDOM))}
echo "seed $seed, $rounds rounds"
check "SEED=$seed survives" timeout -k 5 $((60 + rounds * 15)) \
	"$B/tests/crash/kill" "$VEXFS" "$T" "$rounds" "$seed"
finish
