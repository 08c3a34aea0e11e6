#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Nobody learns of a file they may not read: all that a user can ask says, byte for byte,
# the same with the files of others there and without them. Closed by mode, by a directory
# above, by an ACL, by group; nearer to every query than what is open.
. "$(dirname "$0")/lib.sh"
[ "$(id -u)" = 0 ] || skip "not root: no other users"
command -v python3 >/dev/null || skip "no python3"

mkdir -p "$T/bin" "$STORE/open" "$STORE/shut" "$STORE/mine"
cp "$B/vexctl" "$T/bin/" && chmod 755 "$T" "$STORE" "$T/bin"
vex_start -o allow_other
python3 - "$MNT" <<'P' || die "the files"
import os, random, sys
rnd = random.Random(3)
mnt = sys.argv[1]
for i in range(40):
    for d, near in (("open", 0), ("shut", 1), ("mine", 0)):
        path = "%s/%s/f%d" % (mnt, d, i)
        with open(path, "w") as f:
            f.write("text %d" % i)
        for key in ("", ".k"):
            v = [1, near, rnd.uniform(-1, 1) * (1 - near), 0.5]
            os.setxattr(path, "user.vexfs.t" + key, ",".join("%.5f" % x for x in v).encode())
        os.setxattr(path, "user.lang", b"en" if i % 2 else b"de")
P
chown -R 12345:12345 "$MNT/mine"
chmod 700 "$MNT/mine"
# What is closed, each way.
for i in 0 1 2 3 4 5; do chmod 600 "$MNT/shut/f$i"; done
for i in 6 7 8 9; do chown 0:777 "$MNT/shut/f$i" && chmod 640 "$MNT/shut/f$i"; done
for i in 10 11 12; do
	setfacl -m u:12345:--- "$MNT/shut/f$i" 2>/dev/null || chmod 600 "$MNT/shut/f$i"
done
mkdir "$MNT/shut/deep" "$MNT/shut/deep/er"
for i in $(seq 13 39); do mv "$MNT/shut/f$i" "$MNT/shut/deep/er/"; done
chmod 700 "$MNT/shut/deep"
for i in 0 13; do sed -i 's/text/other/' "$MNT/shut/f$i" "$MNT/shut/deep/er/f$i" 2>/dev/null; done
echo changed >>"$MNT/open/f3"

cat >"$T/ask.sh" <<'A'
cd "$M" || exit 9
v() { echo "== $*"; vexctl -m "$M" "$@" 2>&1 | grep -v -e '^nanoseconds' -e '^cached'; echo "= ${PIPESTATUS[0]}"; }
q='1,1,0,0.5'
v search --vector $q
v search --vector $q -k 200 --json
v search --vector $q --explain
v search --vector $q --explain
v search --vector $q -k 5 --offset 3 --jsonl
v search --vector $q -k 5 --offset 300
v search --vector $q --exact -k 1000 --per-file 0
v search --vector $q --max-distance 0.0001 --explain
v search --vector $q --max-distance 0.5 -l
v search --vector $q --mmr 0.2 -k 30
v search --vector $q --where "xattr.lang = 'en' AND size > 3" -k 50 --explain
v search --vector $q --where "path LIKE 'shut/%'"
v search --vector $q --under shut
v search --vector $q --under shut/deep
v search --vector $q --under shut/deep/er
v search --vector $q --under shut/deep/none
v search --vector $q --fresh -k 100 -l
v search --like open/f1 -k 100
v search --like open/f1 --unlike open/f2
v search --like shut/deep/f0
v search --like shut/deep/none
v search --vector-file <(printf '1,1,0,0\n0,0,1,1\n') -k 40
v search --vector $q --max-visited 3 --exact
v stale
v stale -0
v export --space t -
v space list
v space show t
v get open/f1
echo == status # health is a matter of how busy the machine is
vexctl -m "$M" status | grep -v -e '^health' -e '^problems' -e '^state' -e '^ *- ' -e '^uptime'
v txn < <(printf 'put\tshut/deep/er/f14\tt\t1,2,3,4\n')
v txn < <(printf 'put\tshut/deep/er/none\tt\t1,2,3,4\n')
echo == near; getfattr --only-values -n user.vexfs._near.t.100 open/f1 2>&1; getfattr --only-values -n user.vexfs._info open/f1 2>&1
ls .vexfs/near/t/100/open%2Ff1 2>&1
echo == query; python3 - "$M" <<'P'
import json, os, sys
for r in ({"vector": [1, 1, 0, 0.5], "k": 100}, {"like": "shut/deep/er/f13"}, {"vectors": [[1, 1, 0, 0], [0, 0, 1, 0]]},
          {"vector": [1, 1, 0, 0.5], "where": "mode = 384"}, {"vector": [1, 1, 0, 0.5], "k": 60, "live": True}):
    fd = os.open(sys.argv[1] + "/.vexfs/query", os.O_RDWR)
    os.write(fd, json.dumps(r).encode())
    print(os.read(fd, 1 << 20).decode())
    os.close(fd)
P
A
as_user()
{
	M=$MNT PATH=$T/bin:$PATH setpriv --reuid 12345 --regid 12345 --clear-groups bash "$T/ask.sh" 2>&1 |
		sed -e 's/, [0-9.]* s$//' -e 's/"lsn":[0-9]*/"lsn":N/' # the number of the last change is no secret
}
as_user >"$T/with"
check "there is something to see" grep -q 'mine/f1$' "$T/with"
check "and nothing of others" not grep -q 'shut/[fd][0-9e].*f[0-9]*$' <(grep -v '^==' "$T/with" | grep -v -e none -e deep)
as_user >"$T/again"
equal "asked again" "" "$(diff "$T/with" "$T/again")"
# What is closed is nearest: root has it first. Two were replaced, and have nothing now.
equal "root sees it" 38 "$(vexctl search --space t --vector 1,1,0,0.5 -k 40 -l | grep -c '^shut/')"
rm "$MNT"/shut/f* "$MNT"/shut/deep/er/f*
as_user >"$T/without"
equal "the same without them" "" "$(diff "$T/with" "$T/without")"
finish
