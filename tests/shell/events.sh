#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Events: each kind, in order, replayed from a number, followed, delivered at least once,
# withheld from those who may not read the file.
. "$(dirname "$0")/lib.sh"
vex_start -o allow_other,threshold_op_ms=0,threshold_search_ms=0,threshold_storage_ms=0,threshold_sync_ms=0

# Fields of the events so far: "EVENT PATH EXTRA".
told()
{
	vexctl events | python3 -c '
import json, sys
last = 0
for line in sys.stdin:
    e = json.loads(line)
    assert e["seq"] > last, "numbers rise"
    last = e["seq"]
    print(e["event"], e.get("path", "-"), e.get("space") or e.get("name") or "-",
          e.get("key") or e.get("action") or e.get("from") or e.get("value") or "-")'
}

quiet()
{
	vexctl sync
	sleep 0.2
}

echo one >"$MNT/a"
mkdir "$MNT/d"
setfattr -n user.vexfs.t -v 1,2 "$MNT/a"
setfattr -n user.vexfs.t.k -v 1,3 "$MNT/a"
mv "$MNT/a" "$MNT/d/b"
quiet
echo two >>"$MNT/d/b"
echo three >>"$MNT/d/b"
vexctl config batch_size=60
setfattr -x user.vexfs.t.k "$MNT/d/b"
quiet
rm "$MNT/d/b"
quiet
told >"$T/told"
equal "the kinds, in order" "$(cat <<'END'
space - t create
attach d/b t -
attach d/b t k
rename d/b - a
write d/b - -
stale d/b - -
write d/b - -
config - batch_size 60
detach d/b t k
END
)" "$(sed 's/^attach [^ ]*/attach d\/b/' "$T/told" | head -9)"
check "unlink" grep -q '^unlink d/b ' "$T/told"
check "what it had is detached" grep -q '^detach .* t -$' "$T/told"

# ---- from a number, now, following -------------------------------------------------------
seq=$(vexctl events | sed -n '3s/^{"seq":\([0-9]*\),.*/\1/p')
equal "--from" "$seq" "$(vexctl events --from "$seq" | sed -n '1s/^{"seq":\([0-9]*\),.*/\1/p')"
equal "--from now: nothing" '' "$(vexctl events --from now)"
exits "--from x" 2 vexctl events --from x
exits "--from -1" 2 vexctl events --from -1
"$B/vexctl" events --from now -f >"$T/followed" &
follower=$!
sleep 0.3
touch "$MNT/n"
setfattr -n user.vexfs.t -v 5,6 "$MNT/n"
check "followed" wait_for 10 grep -q '"event":"attach","path":"n"' "$T/followed"
kill $follower
wait $follower 2>/dev/null
check "poll and read from any language" timeout 20 python3 -c '
import os, select, sys
fd = os.open(sys.argv[1] + "/.vexfs/events", os.O_RDWR)
os.write(fd, b"from=now")
assert os.read(fd, 65536) == b""
p = select.poll(); p.register(fd, select.POLLIN)
assert not p.poll(100), "nothing yet"
os.setxattr(sys.argv[1] + "/n", "user.vexfs.t", b"7,8")
assert p.poll(5000), "woken"
assert b"attach" in os.read(fd, 65536)' "$MNT"

# ---- --exec --------------------------------------------------------------------------------
echo "$(($(vexctl events | tail -1 | sed 's/^{"seq":\([0-9]*\),.*/\1/') ))" >"$T/state"
setfattr -n user.vexfs.t -v 1,1 "$MNT/n"
setfattr -n user.vexfs.t -v 2,2 "$MNT/n"
exits "--exec that fails ends it" 2 vexctl events --state "$T/state" --exec 'false {}'
exits "--exec" 0 vexctl events --state "$T/state" --exec "echo {} >>'$T/ran'"
equal "each once more, none lost" 2 "$(grep -c '"event":"attach"' "$T/ran")"
exits "--exec again" 0 vexctl events --state "$T/state" --exec "echo {} >>'$T/ran'"
equal "and none twice" 2 "$(grep -c '"event":"attach"' "$T/ran")"

# ---- all files -----------------------------------------------------------------------------
echo x >"$MNT/plain"
vexctl config events=all
echo x >"$MNT/p2"
mv "$MNT/p2" "$MNT/p3"
rm "$MNT/p3"
quiet
equal "events=all: any file" 'config create p2 write p2 rename p3 unlink p3' \
	"$(told | sed -n '/^config - events/,$p' | awk '{ print $1, $2 == "-" ? "" : $2 }' | xargs)"
check "and where it was renamed from" grep -q '^rename p3 - p2$' <(told)
check "before: files with attachments alone" not grep -q ' plain ' <(told)

# ---- a remount, and others -------------------------------------------------------------------
told >"$T/before"
vex_stop
vex_start -o allow_other
check "the log outlives the mount" cmp "$T/before" <(told | head -"$(wc -l <"$T/before")")
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$T" "$STORE"
	mkdir -m 700 "$MNT/secret"
	echo x >"$MNT/secret/s"
	echo x >"$MNT/mine"
	echo x >"$MNT/theirs"
	chmod 600 "$MNT/mine"
	setfattr -n user.vexfs.t -v 1,2 "$MNT/secret/s" 
	setfattr -n user.vexfs.t -v 1,2 "$MNT/mine"
	setfattr -n user.vexfs.t -v 1,2 "$MNT/theirs"
	vexctl config batch_size=50
	quiet
	setpriv --reuid 4242 --regid 4242 --clear-groups "$B/vexctl" events >"$T/theirs"
	check "what they may read" grep -q '"path":"theirs"' "$T/theirs"
	check "not what they may not" not grep -q 'mine\|secret\|"config"\|unlink' "$T/theirs"
	check "root is told" grep -q '"path":"secret/s"' <(vexctl events)
fi
finish
