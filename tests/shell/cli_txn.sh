#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl txn: many puts and deletes, all of them or none; two at once; searches between.
. "$(dirname "$0")/lib.sh"

for f in a b c 'with blank'; do : >"$STORE/$f"; done
mkdir "$STORE/many"
for i in $(seq 1 40); do : >"$STORE/many/$i"; done
vex_start
vexctl space create t --dim 2 --metric l2
vexctl space create u --dim 2 --metric l2

txn()
{
	printf '%b' "$1" | vexctl txn >"$T/out" 2>"$T/err"
}
rows()
{
	vexctl space show "$1" | sed -n 's/^rows: //p'
}

# ---- all of it ---------------------------------------------------------------------
check "puts" txn 'put\ta\tt\t1,2\nput\tb\tt.key.x\t3\t4\n\nput\twith blank\tt\t[5, 6]'
equal "as it was given" 1,2 "$(getfattr --absolute-names --only-values -n user.vexfs.t "$MNT/a")"
equal "tabs among the numbers" $'3\t4' "$(getfattr --absolute-names --only-values -n user.vexfs.t.key.x "$MNT/b")"
equal "three rows" 3 "$(rows t)"
check "deletes and puts, two spaces" txn \
	'delete\ta\tt\nput\ta\tu\t1,1\nput\tc\tt\t7,8\ndelete\tb\tt.key.x\nput\tc\tnew\t1,2,3\n'
equal "two left" 'c
with blank' "$(vexctl search --space t --vector 0,0 -l | sort)"
equal "in u" a "$(vexctl search --space u --vector 0,0 -l)"
equal "a space it made" c "$(vexctl search --vector 1,2,3 -l)"
check "put, then delete, then put the same" txn \
	'put\tb\tu\t1,1\ndelete\tb\tu\nput\tb\tu\t2,2\n'
equal "the last one holds" 2,2 "$(vexctl get b --space u)"
check "nothing is nothing" txn ''
check "absolute paths" txn "delete\t$MNT/b\tu\n"
(cd "$MNT/many" && printf 'put\t1\tu\t4,4\n' | vexctl txn)
equal "relative to the folder" 4,4 "$(vexctl get many/1 --space u)"
check "and away again" txn 'delete\tmany/1\tu\n'

# ---- or none -------------------------------------------------------------------------
before=$(vexctl export --space t --format jsonl - | sort)
refused()
{
	exits "$1" 2 txn "$3"
	check "$1: said why ($(cat "$T/err"))" grep -q -- "$2" "$T/err"
	equal "$1: one line" 1 "$(wc -l <"$T/err")"
	equal "$1: nothing done" "$before" "$(vexctl export --space t --format jsonl - | sort)"
}
good='put\ta\tt\t9,9\n'
refused "nothing to delete" 'line 2:.*b' "${good}delete\tb\tt\n"
refused "no such file" 'line 2: missing' "${good}put\tmissing\tt\t1,1\n"
refused "no such space to delete from" 'line 2' "${good}delete\ta\tnope\n"
refused "dimension" 'line 2' "${good}put\tb\tt\t1,2,3\n"
refused "no number" 'line 2' "${good}put\tb\tt\t1,x\n"
refused "no verb" 'line 2' "${good}patch\tb\tt\t1,2\n"
refused "a field short" 'line 1' "put\tb\tt\n${good}"
refused "no tabs" 'line 1' "put b t 1,2\n${good}"
refused "a field too many" 'line 2' "${good}delete\tb\tt\tx\n"
refused "a bad space" 'line 2' "${good}put\tb\tT\t1,2\n"
refused "a NUL" 'line 2' "${good}put\tb\tt\t1,\\00002\n"
refused "an empty path" 'line 1' "put\t\tt\t1,2\n"
exits "arguments" 2 vexctl txn x
exits "help" 0 vexctl txn --help

# ---- ended before its end --------------------------------------------------------------
# More lines than a batch, so that some are with the daemon.
staged()
{
	for i in $(seq 1 1100); do printf 'put\tmany/%d\tt\t1,%d\n' $((i % 40 + 1)) "$i"; done
}
mkfifo "$T/pipe"
"$B/vexctl" txn <"$T/pipe" &
client=$!
exec 9>"$T/pipe"
staged >&9
check "an open one blocks nobody" timeout 10 "$B/vexctl" attach c --space t --vector 7,7
kill -KILL $client
wait $client 2>/dev/null
exec 9>&-
equal "killed: nothing of it" 2 "$(rows t)"
mkfifo "$T/pipe2"
"$B/vexctl" txn <"$T/pipe2" 2>"$T/err" &
client=$!
exec 9>"$T/pipe2"
staged >&9
sleep 0.2
vex_kill
exec 9>&-
rc=0
wait $client || rc=$?
equal "the daemon killed under it" 2 $rc
vex_start
equal "nothing of it there" 2 "$(rows t)"

# ---- two at once, a search between -------------------------------------------------------
mover()
{
	for r in $(seq 1 25); do
		for i in $(seq 1 40); do
			printf 'put\tmany/%d\tu\t%d,0\n' "$i" "$(($1 + 2 * r))"
		done | vexctl txn || echo failed >>"$T/mover-failed"
	done
}
vexctl detach a --space u
mover 1 &
one=$!
mover 2 &
two=$!
torn=0 seen=0
while kill -0 $one 2>/dev/null || kill -0 $two 2>/dev/null; do
	vexctl search --space u --vector 0,0 -k 100 --exact | cut -f 1 | sort | uniq -c >"$T/seen"
	[ -s "$T/seen" ] || continue
	seen=$((seen + 1))
	[ "$(awk '{ print $1 }' "$T/seen")" = 40 ] || { torn=$((torn + 1)); cat "$T/seen" >&2; }
done
wait $one $two
equal "no search saw a part" 0 $torn
check "searches saw some ($seen)" test $seen -gt 0
check "all were applied" test ! -e "$T/mover-failed"
equal "40 in the end" 40 "$(rows u)"
# ---- SIGKILL amid commits ------------------------------------------------------------------
# Each transaction sets all 40 to its number; $T/acked has the last that was acknowledged.
counter()
{
	local r=$1
	while :; do
		r=$((r + 1))
		for i in $(seq 1 40); do
			printf 'put\tmany/%d\tu\t%d,0\n' "$i" "$r"
		done | "$B/vexctl" txn 2>/dev/null || return 0
		echo $r >"$T/acked"
	done
}
seed=${VEX_SEED:-$RANDOM}
RANDOM=$seed
echo "VEX_SEED=$seed"
echo 1000 >"$T/acked"
counter 1000 &
client=$!
sleep 0.3
for round in 1 2 3 4 5 6; do
	sleep 0.$((RANDOM % 9))
	vex_kill
	wait $client
	vex_start
	vexctl search --space u --vector 0,0 -k 100 --exact | cut -f 1 | sort | uniq -c >"$T/seen"
	equal "round $round: whole" 1 "$(wc -l <"$T/seen")"
	read -r n value <"$T/seen"
	acked=$(cat "$T/acked")
	check "round $round: all 40 ($n), none lost: $value, acknowledged $acked" \
		test "$n" = 40 -a "$value" -ge "$acked" -a "$value" -le $((acked + 1))
	counter "$value" &
	client=$!
done
vex_kill
wait $client
exits "and a check finds nothing" 0 vexctl fsck "$STORE"
finish
