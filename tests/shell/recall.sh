#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# recall as a promise, from the shell: search --recall, space recall=, recall, rebuild.
. "$(dirname "$0")/lib.sh"

vex_start
DIM=1024 FILES=258 # x 16 rows: just large enough for a graph
vexctl space create s --dim $DIM --metric l2 --recall 0.9 || die "no space"
perl -e 'srand(7); for $f (0 .. $ARGV[1] - 1) { open F, ">", "$ARGV[2]/$f";
	print F pack("f<*", map { rand() - 0.5 } 1 .. 16 * $ARGV[0]); close F }' \
	$DIM $FILES "$T" || die "no data"
for ((i = 0; i < FILES; i++)); do
	: >"$MNT/f$i"
	vexctl attach "$MNT/f$i" --space s --vector-file "$T/$i" || die "attach $i"
done

state()
{
	vexctl space show s | sed -n "s/^$1: //p"
}
await()
{
	for _ in $(seq 1200); do
		[ "$(state "$1")" != "$2" ] || return 0
		sleep 0.1
	done
	return 1
}
check "the graph is ready" await index_state ready
check "show tells the aim" test "$(state recall)" = 0.9
check "and what is reached" test -n "$(state index_recall)"
check "script makes it again" grep -q -- "--recall 0.9" <(vexctl space list --script)

head -c $((DIM * 4)) "$T/3" >"$T/q"
for r in 0.95 1; do
	check "--recall $r finds the file itself" \
		test "$(vexctl search --space s --recall $r --vector-file "$T/q" -l -k 1)" = f3
done
check "1 is exact" grep -q exact <(vexctl search --space s --recall 1 --vector-file "$T/q" \
	--explain 2>&1 >/dev/null)
for bad in 0 -1 1.5 x; do
	vexctl search --space s --recall $bad --vector-file "$T/q" >"$T/out" 2>"$T/err"
	check "--recall $bad: exit 2" test $? = 2
	check "one line" test "$(wc -l <"$T/err")" = 1 -a ! -s "$T/out"
done
vexctl search --space s --recall 0.5 --ef 3 --vector-file "$T/q" 2>/dev/null
check "recall and ef: exit 2" test $? = 2
for with in '--recall 0.5' '--ef 3'; do
	# shellcheck disable=SC2086
	check "--exact makes $with idle" grep -q '^plan: exact$' \
		<(vexctl search --space s --exact $with --vector-file "$T/q" --explain 2>&1)
done

out=$(vexctl recall s --sample 64)
check "recall prints three fields" test "$(printf '%s' "$out" | awk -F'\t' '{print NF, $2, $3}')" = "3 64 graph"
check "a recall" awk -v r="${out%%	*}" 'BEGIN { exit !(r > 0.5 && r <= 1) }'
vexctl recall none 2>/dev/null
check "no such space: exit 2" test $? = 2
vexctl recall s --sample 0 2>/dev/null
check "sample 0: exit 2" test $? = 2

check "rebuild returns when it is done" vexctl rebuild s
check "it was built" test "$(state index_builds)" = 1
check "all" vexctl rebuild
check "again" test "$(state index_builds)" = 2
vexctl rebuild none 2>/dev/null
check "no such space: exit 2" test $? = 2
check "set" vexctl space set s recall=1
check "recall of an exact space" test "$(vexctl recall s --sample 10 | cut -f1,3)" = "$(printf '1.0000\texact')"
vexctl space set s recall=2 2>/dev/null
check "recall=2: exit 2" test $? = 2
finish
