#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Settings: read, set while mounted, kept in vexfs.conf; the command line over that file
# over the defaults; the audit log; a limit on running searches.
. "$(dirname "$0")/lib.sh"
vex_start -o allow_other,sync_interval_ms=500

equal "a default" lazy "$(vexctl config sync)"
equal "the command line" 500 "$(vexctl config sync_interval_ms)"
equal "documented defaults" 'batch_size=50 index_sync=lazy auto_rebuild=off' \
	"$(vexctl config | grep -E '^(batch_size|index_sync|auto_rebuild)=' | xargs)"
check "the file says the same" cmp "$MNT/.vexfs/config" <(vexctl config)
check "--explain says where from" grep -q '^sync_interval_ms=500	command line	' \
	<(vexctl config --explain)

check "set" vexctl config sync=always mem=1048576
equal "set it is" 'always 1M' "$(vexctl config sync mem | xargs)"
check "status has it" grep -q '"sync": "always"' "$MNT/.vexfs/status"
check "set by the file" bash -c "echo batch_size=77 >'$MNT/.vexfs/config'"
equal "set by the file it is" 77 "$(vexctl config batch_size)"
check "several lines" bash -c "printf 'sync=lazy\nmem=0\n' >'$MNT/.vexfs/config'"
equal "all of them" 'lazy 0' "$(vexctl config sync mem | xargs)"

bad()
{
	exits "config $*" 2 vexctl config "$@"
	equal "config $*: one line" 1 "$(wc -l <"$T/err")"
}
bad nonsense
bad nonsense=1
bad sync=sometimes
bad batch_size=0
bad batch_size=-1
bad batch_size=1000001
bad mem=12Q
bad strict=maybe
bad sync_interval_ms=
bad threads=2
bad "=3"
bad --save
bad batch_size=60 nonsense=1
bad batch_size=60 mem=12Q
bad batch_size=60 threads=2
equal "all are checked first" 77 "$(vexctl config batch_size)"
printf 'batch_size=9\nthreads=2\n' >"$T/lines"
check "a line that cannot be is refused" \
	not dd if="$T/lines" of="$MNT/.vexfs/config" status=none
printf 'batch_size=9\nsync=x\n' >"$T/lines"
check "a bad line is refused" not dd if="$T/lines" of="$MNT/.vexfs/config" status=none
equal "and nothing of it counts" 77 "$(vexctl config batch_size)"

# ---- in force at once --------------------------------------------------------------------
touch "$MNT/a"
vexctl config strict=on
check "strict: no space unasked" not setfattr -n user.vexfs.new -v 1,2 "$MNT/a"
vexctl config strict=off metric=l2
check "not strict" setfattr -n user.vexfs.new -v 1,2 "$MNT/a"
equal "metric of new spaces" l2 "$(vexctl space show new | sed -n 's/^metric: //p')"
vexctl config sync=always
setfattr -n user.vexfs.new -v 2,2 "$MNT/a"
equal "always: durable when acknowledged" "$(sed -n 's/.*"lsn": //p' "$MNT/.vexfs/status")" \
	"$(sed -n 's/.*"durable_lsn": //p' "$MNT/.vexfs/status")"
vexctl config max_concurrent_ops=1
for i in 1 2 3 4 5 6 7 8; do
	vexctl search --vector 1,2 -l >"$T/r$i" &
	pids="${pids:-} $!"
done
# shellcheck disable=SC2086
wait $pids
equal "one search at a time, all of them answered" 'a a a a a a a a' "$(cat "$T"/r? | xargs)"

# ---- where .vec files go -----------------------------------------------------------------
equal "by their dimension" '' "$(vexctl config vec_space)"
check "elsewhere from now on" vexctl config vec_space=mine
equal "that is it" mine "$(vexctl config vec_space)"
echo 1,2,3 >"$MNT/v.vec"
check "there it went" test "$(getfattr --only-values -n user.vexfs.mine "$MNT/v.vec")" = 1,2,3
check "and back, kept" vexctl config vec_space= --save
echo 1,2,3,4 >"$MNT/w.vec"
check "by dimension again" getfattr -n user.vexfs.vec4 "$MNT/w.vec" >/dev/null
bad vec_space=No
bad vec_space=_x
equal "passthrough is told" auto "$(vexctl config passthrough)"
bad passthrough=off

# ---- audit ----------------------------------------------------------------------------------
check "nothing was audited" not grep -q 'audit:' "$T/log"
vexctl config audit=on
setfattr -n user.vexfs.new -v 3,3 "$MNT/a"
setfattr -n user.vexfs.new -v 3,3,3 "$MNT/a" 2>/dev/null
vexctl search --vector 1,2 >/dev/null
setfattr -x user.vexfs.new "$MNT/a"
vexctl config audit=off
setfattr -n user.vexfs.new -v 4,4 "$MNT/a"
equal "who, what, how it ended" 'attach:ok attach:EINVAL search:ok detach:ok' "$(sed -n \
	"s/.*audit: uid:gid $(id -u):$(id -g) \([a-z]*\) .*: \([A-Za-z]*\)$/\1:\2/p" "$T/log" |
	grep -v config | xargs)"

# ---- kept ---------------------------------------------------------------------------------
check "--save" vexctl config batch_size=123 threshold_search_ms=7 vec_space=kept --save
vexctl config batch_size=5
vex_stop
printf '# mine\nmetric = l2\n' >>"$STORE/.vexfs/vexfs.conf"
vex_start -o threshold_search_ms=9
equal "what was kept, and what not" 123 "$(vexctl config batch_size)"
equal "a name, too" kept "$(vexctl config vec_space)"
equal "the command line wins" 9 "$(vexctl config threshold_search_ms)"
equal "a line written by hand" l2 "$(vexctl config metric)"
check "and where from" grep -q '^metric=l2	vexfs.conf	' <(vexctl config --explain)
vexctl config --save batch_size=124
check "saving keeps the lines of others" grep -q '^# mine$' "$STORE/.vexfs/vexfs.conf"
equal "and replaces its own" 'batch_size=124' \
	"$(grep batch_size "$STORE/.vexfs/vexfs.conf")"
vex_stop
echo 'batch_size=none' >>"$STORE/.vexfs/vexfs.conf"
exits "a bad line refuses the mount" 1 "$VEXFS" "$STORE" "$MNT"
check "by file and line" grep -q 'vexfs.conf:[0-9]*: bad value' "$T/err"
equal "in one line" 1 "$(wc -l <"$T/err")"
finish
