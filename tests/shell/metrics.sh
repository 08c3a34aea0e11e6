#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# .vexfs/metrics is what Prometheus reads (checked by its own promtool), counts what was
# done, and is for administrators; vexctl stats tells the same.
. "$(dirname "$0")/lib.sh"
vex_start -o allow_other,threshold_op_ms=0,threshold_search_ms=0,threshold_storage_ms=0,threshold_sync_ms=0

metric()
{
	awk -v m="$1" '$1 == m { print $2 }' "$MNT/.vexfs/metrics"
}

for i in 1 2 3 4 5; do
	echo "file $i" >"$MNT/f$i"
	setfattr -n user.vexfs.text -v "1,$i,3" "$MNT/f$i"
done
vexctl search --vector 1,2,3 >/dev/null
vexctl search --vector 1,2,3 >/dev/null
vexctl search --max-distance 0.5 --vector 1,2,3 >/dev/null
vexctl search --like f1 >/dev/null
vexctl search --vector 1,2,3,4 >/dev/null 2>&1 # no such space
cat "$MNT/nothing" 2>/dev/null
vexctl sync

cp "$MNT/.vexfs/metrics" "$T/metrics"
if command -v promtool >/dev/null; then
	check "promtool finds nothing" promtool check metrics <"$T/metrics" >"$T/out" 2>&1
	equal "and says nothing" '' "$(cat "$T/out")"
else
	echo "no promtool: the format is not checked by it" >&2
fi
for word in search stack error pending memory; do
	check "a metric of $word" grep -q "^vexfs_[a-z_]*${word}[a-z_]*[ {]" "$T/metrics"
done
equal "HELP and TYPE go together" "$(grep -c '^# HELP' "$T/metrics")" \
	"$(grep -c '^# TYPE' "$T/metrics")"
equal "no family twice" '' "$(grep '^# TYPE' "$T/metrics" | sort | uniq -d)"
equal "searches" 2 "$(metric 'vexfs_searches_total{mode="knn",plan="exact"}')"
equal "range" 1 "$(metric 'vexfs_searches_total{mode="range",plan="exact"}')"
equal "like" 1 "$(metric 'vexfs_searches_total{mode="like",plan="exact"}')"
equal "failed" 1 "$(metric 'vexfs_searches_total{mode="any",plan="none"}')"
equal "puts" 5 "$(metric 'vexfs_operations_total{op="put",class="vector"}')"
equal "rows" 5 "$(metric 'vexfs_space_rows{space="text"}')"
equal "rows written" 5 "$(metric vexfs_rows_written_total)"
check "lookups that failed" test \
	"$(metric 'vexfs_operation_errors_total{op="lookup",errno="ENOENT"}')" -ge 1
check "syncs took time" test \
	"$(metric 'vexfs_operation_duration_seconds_count{op="sync",class="storage"}')" -ge 1
check "memory" test "$(metric vexfs_memory_resident_bytes)" -gt 1000000

# ---- vexctl stats -----------------------------------------------------------------------
check "stats" vexctl stats >"$T/stats"
check "stats names the plan" grep -q '^knn/exact  *2 ' "$T/stats"
check "stats --json" vexctl stats --json >"$T/json"
equal "stats --json is JSON" 5 "$(python3 -c '
import json, sys
ops = {o["op"]: o for o in json.load(open(sys.argv[1]))["ops"]}
put = ops["put"]
assert 0 < put["min_ns"] <= put["p50_ns"] <= put["p95_ns"] <= put["p99_ns"] <= put["max_ns"]
assert put["min_ns"] <= put["avg_ns"] <= put["max_ns"]
assert put["avg_ns"] == put["total_ns"] // put["count"]
print(put["count"])' "$T/json")"
check "stats --save" vexctl stats --save "$T/base"
sed 's/"avg_ns":[0-9]*/"avg_ns":1/' "$T/base" >"$T/faster"
sed 's/"avg_ns":[0-9]*/"avg_ns":100000000000/' "$T/base" >"$T/slower"
exits "--compare: all is slower" 1 vexctl stats --compare "$T/faster"
check "and says by how much" grep -q '^put: [0-9.]* times as slow' "$T/out"
exits "--compare: nothing is slower" 0 vexctl stats --compare "$T/slower"
equal "and says nothing" '' "$(cat "$T/out")"
exits "--compare: no baseline" 2 vexctl stats --compare "$T/log"
exits "--compare: no file" 2 vexctl stats --compare "$T/none"
exits "--save and --compare" 2 vexctl stats --save "$T/x" --compare "$T/base"
exits "--slow: none" 1 vexctl stats --slow

# ---- not for strangers ---------------------------------------------------------------------
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$T" "$STORE"
	stranger()
	{
		setpriv --reuid 4242 --regid 4242 --clear-groups "$@"
	}
	check "strangers read no metrics" not stranger cat "$MNT/.vexfs/metrics"
	exits "nor stats" 2 stranger "$B/vexctl" stats
	check "but the facts of the mount" stranger cat "$MNT/.vexfs/status" >"$T/out"
	check "without totals" not grep -q '"slow"\|"thresholds"\|"last_error"' "$T/out"
fi
vex_stop
finish
