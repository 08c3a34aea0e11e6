#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Device flushes of fsync(2) on a file with new attachments, as the daemon asks for them:
# at most three for one, whatever the spaces, and shared by those who ask at once. (The
# sync_file_range(2) of a setxattr, which takes a stamp, writes pages and flushes nothing.)
. "$(dirname "$0")/lib.sh"

command -v strace >/dev/null || skip "no strace"
vex_start -o sync_interval_ms=600000
for s in a b c; do
	vexctl space create $s --dim 8 --metric l2
done
for i in 1 2 3 4 5 6 7 8; do
	echo "$i" >"$MNT/f$i"
	setfattr -n user.vexfs.a -v 1,2,3,4,5,6,7,8 "$MNT/f$i"
done
vexctl sync

cat >"$T/fsync.py" <<'PY'
import os, sys, threading

def one(path, times):
    for i in range(times):
        for space in "abc":
            os.setxattr(path, "user.vexfs." + space, (b"%d,2,3,4,5,6,7,8" % (i + 1)))
        fd = os.open(path, os.O_RDWR)
        os.fsync(fd)
        os.close(fd)

times = int(sys.argv[1])
threads = [threading.Thread(target=one, args=(p, times)) for p in sys.argv[2:]]
for t in threads:
    t.start()
for t in threads:
    t.join()
PY
# flushes TIMES PATH...: how many calls that flush the daemon made meanwhile.
flushes()
{
	local tracer
	: >"$T/trace"
	strace -f -q -e trace=fsync,fdatasync,syncfs,sync,msync -o "$T/trace" \
		-p "$daemon" 2>"$T/strace.err" &
	tracer=$!
	# Attached once the process is traced.
	wait_for 20 grep -q '^TracerPid:[^0]*[1-9]' "/proc/$daemon/status" || {
		kill $tracer 2>/dev/null
		wait $tracer 2>/dev/null
		skip "strace cannot attach"
	}
	sleep 0.2
	python3 "$T/fsync.py" "$@"
	kill $tracer
	wait $tracer 2>/dev/null
	grep -cE '(fsync|fdatasync|syncfs|sync|msync)\(' "$T/trace"
}

n=$(flushes 1 "$MNT/f1")
check "one fsync, three spaces: $n flushes" test "$n" -ge 1 -a "$n" -le 3
n=$(flushes 20 "$MNT/f1")
check "20 fsyncs: $n flushes" test "$n" -ge 20 -a "$n" -le 60
n=$(flushes 20 "$MNT"/f[1-8])
check "8 x 20 fsyncs at once: $n flushes" test "$n" -ge 160 -a "$n" -le 320
# What was promised is there after SIGKILL.
vex_kill
vex_start
equal "still there" 20,2,3,4,5,6,7,8 \
	"$(getfattr --only-values --absolute-names -n user.vexfs.c "$MNT/f8")"
vex_stop || die "stop"
exits "fsck" 0 vexctl fsck "$STORE"
finish
