#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Marks of staleness against a record of what was done: freshness.py says how.
# FRESHNESS_STEPS: how many.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "no python3"
vex_start
maps=false
# Through the daemon stores of a mapping come late; a tmpfs moves no time for them.
grep -q '"passthrough": true' "$MNT/.vexfs/status" && [ "$(stat -f -c %T "$STORE")" != tmpfs ] &&
	maps=true
check "they agree" python3 "$(dirname "$0")/freshness.py" "$MNT" "$STORE" "$B/vexctl" \
	"${FRESHNESS_STEPS:-150}" $maps
vex_stop || failures=$((failures + 1))
finish
