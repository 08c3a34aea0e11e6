#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Random searches by vexctl, by .vexfs/query and by brute force: oracle.py says which.
# ORACLE_N: how many.
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || skip "no python3"
vex_start
check "they agree" python3 "$(dirname "$0")/oracle.py" "$MNT" "$B/vexctl" "${ORACLE_N:-150}"
vex_stop || failures=$((failures + 1))
finish
