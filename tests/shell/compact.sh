#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# checkpoint, compact, and what removed vectors cost: files shrink while the mount is in
# use, churn does not make them grow, answers stay the same, and du tells the truth.
. "$(dirname "$0")/lib.sh"

N=900
DIM=256
packed=$((N * (DIM * 4 + 32)))

# rows SEED: N lines of {"path": ..., "vector": [...]} for import.
rows()
{
	awk -v n=$N -v dim=$DIM -v seed="$1" 'BEGIN {
		srand(seed)
		for (i = 0; i < n; i++) {
			printf "{\"path\":\"d/f%d\",\"vector\":[", i
			for (k = 0; k < dim; k++)
				printf "%s%d", k ? "," : "", int(rand() * 1000) + 1
			print "]}"
		}
	}'
}
slots()
{
	du -B1 --apparent-size -c "$STORE"/.vexfs/spaces/* | awk 'END { print $1 }'
}
on_disk()
{
	du -B1 -c "$STORE"/.vexfs/spaces/* | awk 'END { print $1 }'
}
answers()
{
	local i
	for i in 0 7 300 800; do
		vexctl search --space t -k 5 --like "d/f$i" 2>&1
	done
}

mkdir -p "$STORE/d"
for ((i = 0; i < N; i++)); do : >"$STORE/d/f$i"; done
vex_start -o sync_interval_ms=100
export VEXFS_MOUNT=$MNT
vexctl space create t --dim $DIM || die "space create"
for seed in 1 2 3 4 5 6 7 8 9 10; do
	rows $seed >"$T/rows.jsonl"
	vexctl import --space t "$T/rows.jsonl" >/dev/null 2>"$T/e" || die "import $seed: $(tail -3 "$T/e")"
done

# Ten times the live set went through it.
before=$(answers)
exits "compact" 0 vexctl compact
check "it says what it did" grep -q "rows moved" "$T/err"
equal "answers after" "$before" "$(answers)"
check "within 1.3 of packed on disk: $(on_disk) of $packed" \
	test "$(on_disk)" -lt $((packed * 13 / 10))
check "and in size: $(slots)" test "$(slots)" -lt $((packed * 13 / 10))
check "the whole of .vexfs too: $(du -sB1 "$STORE/.vexfs" | cut -f1)" \
	test "$(du -sB1 "$STORE/.vexfs" | cut -f1)" -lt $((packed * 13 / 10 + 4000000))

# Most is removed: the room comes back.
for ((i = 0; i < N; i++)); do
	[ $((i % 20)) -eq 0 ] || rm "$MNT/d/f$i"
done
before=$(vexctl search --space t -k 5 --like d/f300)
exits "compact after rm" 0 vexctl compact "$MNT/d"
equal "answers after rm" "$before" "$(vexctl search --space t -k 5 --like d/f300)"
check "a twentieth is left: $(on_disk) of $packed" test "$(on_disk)" -lt $((packed / 4))

exits "checkpoint" 0 vexctl checkpoint
equal "the log is empty" 0 "$(stat -c %s "$STORE/.vexfs/catalog.db-wal")"
exits "nothing left to do" 0 vexctl compact
exits "an unknown option" 2 vexctl compact --fast
exits "too many arguments" 2 vexctl checkpoint a b
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$T"
	vex_stop || die "stop"
	vex_start -o allow_other
	exits "not for others" 2 setpriv --reuid=1234 --regid=1234 --clear-groups \
		"$B/vexctl" -m "$MNT" compact
fi

# What is on the disk is whole, also when the daemon was killed in the middle.
vexctl compact 2>/dev/null &
sleep 0.05
vex_kill
wait $!
vex_start
equal "answers after a kill" "$before" "$(vexctl search --space t -k 5 --like d/f300)"
vex_stop || die "stop"
exits "fsck" 0 vexctl fsck "$STORE"
finish
