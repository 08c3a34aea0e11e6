#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# vexctl health, thresholds told once, the slow log with plans, vexctl top.
. "$(dirname "$0")/lib.sh"
quiet=threshold_op_ms=0,threshold_search_ms=0,threshold_storage_ms=0,threshold_sync_ms=0
vex_start -o "allow_other,$quiet"

exits "well" 0 vexctl health
equal "one word" well "$(cat "$T/out")"
touch "$MNT/a" "$MNT/b"
setfattr -n user.vexfs.t -v 1,2 "$MNT/a"

# Every stack is deeper than this: what is slow depends on the machine, this does not.
vexctl config stack_sample=1 threshold_stack_warning=1
for _ in 1 2 3 4 5 6 7 8 9; do
	cat "$MNT/a" "$MNT/b"
done
if grep -q '"name": "stack_warning".*"crossings": 0' "$MNT/.vexfs/status"; then
	echo "stacks are not measured in this build: thresholds of stacks are not tested" >&2
else
	exits "warning" 1 vexctl health
	equal "it says why" 1 "$(grep -c 'threshold stack_warning' "$T/out")"
	check "crossed often" test "$(sed -n \
		's/.*"stack_warning".*"crossings": \([0-9]*\),.*/\1/p' "$MNT/.vexfs/status")" -gt 5
	check "told" wait_for 10 grep -q 'threshold stack_warning' "$T/log"
	equal "told once in the log" 1 "$(grep -c 'threshold stack_warning' "$T/log")"
	vexctl sync
	equal "one event" 1 "$(vexctl events | grep -c '"event":"threshold".*stack_warning')"
	vexctl config threshold_stack_limit=1
	cat "$MNT/a"
	exits "ill" 2 vexctl health
	equal "the first word" ill "$(head -1 "$T/out")"
fi

# ---- slow operations ---------------------------------------------------------------------
# A search that takes more than 1 ms: many rows, wide, one by one.
python3 - "$MNT" <<'END'
import os, struct, sys
one = struct.pack("<16384f", *[(i * 7919 % 1000) / 1000 + 0.1 for i in range(16384)])
for i in range(150):
    name = "%s/w%d" % (sys.argv[1], i)
    open(name, "w").close()
    os.setxattr(name, "user.vexfs.wide", one)
END
vexctl config threshold_search_ms=1
for _ in 1 2 3 4 5 6; do
	vexctl search --like w1 --exact >/dev/null
done
exits "slow searches are kept" 0 vexctl stats --slow
check "with their plan" grep -q 'op=like/exact.*plan=space wide, plan exact' "$T/out"
check "told" wait_for 10 grep -q 'threshold search' "$T/log"
equal "and told once" 1 "$(grep -c 'threshold search' "$T/log")"

# ---- top -------------------------------------------------------------------------------------
exits "top --once" 0 vexctl top --once
check "its spaces" grep -q '^wide  *16384  *150 ' "$T/out"
check "its operations" grep -q '^like/exact ' "$T/out"
check "no escapes" not grep -q "$(printf '\033')" "$T/out"
exits "top without a terminal" 2 vexctl top
exits "top --interval 0" 2 vexctl top --once --interval 0
check "80x24" timeout 20 python3 - "$B/vexctl" "$MNT" <<'END'
import fcntl, os, pty, select, struct, sys, termios, time
pid, fd = pty.fork()
if not pid:
    os.execv(sys.argv[1], ["vexctl", "-m", sys.argv[2], "top", "--interval", "0.2"])
def size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
def screen(seconds):
    text, end = b"", time.time() + seconds
    while time.time() < end:
        if select.select([fd], [], [], 0.1)[0]:
            text += os.read(fd, 65536)
    return text.split(b"\x1b[H")[-2].replace(
        b"\x1b[K", b"").replace(b"\x1b[J", b"").replace(b"\r", b"")
size(24, 80)
first = screen(2).split(b"\n")
assert len(first) <= 24 and max(map(len, first)) <= 80, first
assert any(b"OPERATION" in l for l in first), first
size(12, 60)
second = screen(2).split(b"\n")
assert len(second) <= 12 and max(map(len, second)) <= 60, second
os.write(fd, b"q")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
END

# ---- times that nobody set ------------------------------------------------------------------
vex_stop
vex_start -o allow_other,stack_sample=0
# 200 queries among 150 rows of 16384: more than 10 ms on any machine.
python3 -c 'import struct, sys
sys.stdout.buffer.write(struct.pack("<16384f", *range(1, 16385)) * 200)' |
	vexctl search --space wide --exact --vector-file - -k 1 >"$T/out"
check "a default was crossed" grep -q '"name": "search".*"crossed": true' "$MNT/.vexfs/status"
exits "once is nothing" 0 vexctl health
for _ in 1 2 3 4 5 6 7 8 9 10; do
	python3 -c 'import struct, sys
sys.stdout.buffer.write(struct.pack("<16384f", *range(1, 16385)) * 200)' |
		vexctl search --space wide --exact --vector-file - -k 1 >"$T/out"
done
exits "ten times in a minute is a warning" 1 vexctl health
check "and is said" grep -q 'threshold search' "$T/out"
vex_stop
vex_start -o allow_other,stack_sample=0
python3 -c 'import struct, sys
sys.stdout.buffer.write(struct.pack("<16384f", *range(1, 16385)) * 200)' |
	vexctl search --space wide --exact --vector-file - -k 1 >"$T/out"
vexctl config threshold_search_ms=10
exits "what was set counts" 1 vexctl health
check "and is said" grep -q 'threshold search' "$T/out"

# ---- a store with damage ------------------------------------------------------------------
vex_stop
printf 'XXXX' | dd of="$(ls "$STORE"/.vexfs/spaces/*.rows | head -1)" bs=1 seek=4096 conv=notrunc status=none
vex_start -o "$quiet"
exits "damage is a warning" 1 vexctl health
check "and said" grep -q damaged "$T/out"
finish
