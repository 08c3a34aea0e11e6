#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# MOUNT/.vexfs/query through the mount: from the shell, from python, as another user;
# the same hits as vexctl's, by every field.
. "$(dirname "$0")/lib.sh"

mkdir -p "$STORE/x/y"
for f in a b c x/e x/y/f; do : >"$STORE/$f"; done
vex_start
put()
{
	setfattr -n "user.vexfs.$2" -v "$3" "$MNT/$1" || die "setfattr $1"
}
put a t 1,0 && put b t 0.9,0.1 && put c t 0,1 && put x/e t 0.8,0.2 && put x/y/f t 0.7,0.3
put a t.k '-0.5,-0.5'
setfattr -n user.lang -v en "$MNT/b"
setfattr -n user.lang -v en "$MNT/x/e"

check "it is there" test -f "$MNT/.vexfs/query"
equal "its mode" 666 "$(stat -c %a "$MNT/.vexfs/query")"

# ---- the shell alone --------------------------------------------------------------------
ask()
{
	exec 3<>"$MNT/.vexfs/query"
	printf '%s' "$1" >&3
	cat <&3
	exec 3>&-
}
equal "from the shell" '{"space":"t","metric":"cosine","queries":1,"hits":[
{"distance":0,"similarity":1,"path":"a","space":"t","key":null,"row":0,"stale":false}
]}' "$(ask '{"vector":[1,0],"k":1}')"
equal "an error" '{"error":{"errno":19,"name":"ENODEV","text":"there is no space of dimension 3"}}' \
	"$(ask '{"vector":[1,0,0]}')"
equal "nothing found" '{"space":"t","metric":"cosine","queries":1,"hits":[]}' \
	"$(ask '{"vector":[-1,1],"max_distance":0.01}')"
exec 3<>"$MNT/.vexfs/query"
for k in 1 2 3; do
	echo "{\"vector\":[1,0],\"k\":$k}" >&3
	equal "one after the other on a descriptor" $k "$(cat <&3 | grep -c '"path"')"
done
exec 3>&-

# ---- as vexctl finds it --------------------------------------------------------------------
cat >"$T/ask.py" <<'PY'
import json, os, select, sys
fd = os.open(os.environ["VEXFS_MOUNT"] + "/.vexfs/query", os.O_RDWR)
data = sys.argv[1].encode()
while data:
    data = data[os.write(fd, data):]
assert select.select([fd], [], [], 10)[0], "not readable"
out = b""
while True:
    piece = os.read(fd, 1 << 16)
    if not piece:
        break
    out += piece
answer = json.loads(out)
for h in answer["hits"]:
    sys.stdout.write(json.dumps(h, sort_keys=True) + "\n")
PY
same()
{
	local request=$1
	shift
	vexctl search "$@" --jsonl | python3 -c 'import json, sys
for l in sys.stdin:
    print(json.dumps(json.loads(l), sort_keys=True))' >"$T/wanted"
	equal "$request" "$(cat "$T/wanted")" "$(python3 "$T/ask.py" "$request")"
}
same '{"vector":[1,0]}' --vector 1,0
same '{"vector":[1,0],"space":"t","k":2,"offset":1}' --vector 1,0 --space t -k 2 --offset 1
same '{"vectors":[[1,0],[0,1]],"k":2}' --vector '[[1,0],[0,1]]' -k 2
same '{"like":"a:k","k":2}' --like a:k -k 2
same '{"like":"a","under":"x"}' --like a --under x
same '{"vector":[1,0],"where":"xattr.lang = '"'en'"'"}' --vector 1,0 --where "xattr.lang = 'en'"
same '{"vector":[1,0],"max_distance":0.02}' --vector 1,0 --max-distance 0.02
same '{"vector":[1,0],"min_similarity":0.9}' --vector 1,0 --min-similarity 0.9
same '{"vector":[1,0],"per_file":0,"k":20}' --vector 1,0 --per-file 0 -k 20
same '{"vector":[1,0],"mmr":0.3,"k":3}' --vector 1,0 --mmr 0.3 -k 3
same '{"vector":[1,0],"exact":true,"fresh":true,"ef":50}' --vector 1,0 --exact --fresh --ef 50
name=$'n\xff"\t'
: >"$MNT/$name" && put "$name" t 0.5,0.5
same '{"vector":[1,1],"k":1}' --vector 1,1 -k 1
same '{"like":"n\udcff\"\t","k":1}' --like "$name" -k 1

# ---- large ------------------------------------------------------------------------------------
python3 - "$T" "$MNT" <<'PY' || die "a large one"
import json, os, sys
T, M = sys.argv[1:]
dim = 16384
v = [((i * 7919) % 1000) / 1000 + 0.001 for i in range(dim)]
open(M + "/long", "w").close()
import array
os.setxattr(M + "/long", "user.vexfs.long", array.array("f", v).tobytes())
fd = os.open(M + "/.vexfs/query", os.O_RDWR)
data = json.dumps({"vector": v, "k": 1}).encode()
assert len(data) > 100000
while data:
    data = data[os.write(fd, data):]
hits = json.loads(os.read(fd, 1 << 20))["hits"]
assert [h["path"] for h in hits] == ["long"] and abs(hits[0]["distance"]) < 1e-6
os.write(fd, b" " * (1 << 19))
os.write(fd, b" " * (1 << 19))
try:
    os.write(fd, b" ")
    assert False, "more than a MiB was taken"
except OSError as e:
    assert e.errno == 12, e
assert json.loads(os.read(fd, 1 << 20))["error"]["name"] == "ENOMEM"
try:
    os.lseek(fd, 0, 0)
    assert False, "it can be sought"
except OSError as e:
    assert e.errno == 29, e
PY
checks=$((checks + 1))

# ---- another user --------------------------------------------------------------------------------
if [ "$(id -u)" = 0 ] && vex_stop && chmod 755 "$T" "$STORE"; then
	vex_start -o allow_other
	chmod 644 "$MNT/a" "$MNT/c" && chmod 600 "$MNT/b" && chmod 700 "$MNT/x"
	# Opens and writes WHAT as root; a child, perhaps nobody, writes MORE and reads.
	cat >"$T/other.py" <<'PY'
import json, os, sys
mnt, opens, drop, what, more = sys.argv[1:]
def ask():
    return os.open(mnt + "/.vexfs/query", os.O_RDWR)
fd = ask() if opens == "root" else -1
if what:
    os.write(fd, what.encode())
if os.fork() == 0:
    if drop == "nobody":
        os.setgroups([]), os.setgid(65534), os.setuid(65534)
    fd = ask() if fd < 0 else fd
    if more:
        os.write(fd, more.encode())
    a = json.loads(os.read(fd, 1 << 20))
    print(*[h["path"] for h in a["hits"]] if "hits" in a else [a["error"]["name"]])
    sys.stdout.flush()
    os._exit(0)
os.wait()
PY
	rm "$MNT/$name"
	request='{"vector":[1,0],"space":"t"}'
	equal "a user sees what he may read" 'a c' \
		"$(python3 "$T/other.py" "$MNT" nobody nobody '' "$request")"
	equal "root more" 'a b x/e x/y/f c' \
		"$(python3 "$T/other.py" "$MNT" root root '' "$request")"
	equal "what root wrote another does not read" EACCES \
		"$(python3 "$T/other.py" "$MNT" root nobody "$request" '')"
	equal "nor add to" EACCES \
		"$(python3 "$T/other.py" "$MNT" root nobody '{"vector":' '[1,0]}')"
	equal "on root's descriptor he has his own rights" 'a c' \
		"$(python3 "$T/other.py" "$MNT" root nobody '' "$request")"
fi

# A read-only mount has no request to take.
vex_stop && vex_start -o ro
check "read-only: not for writing" bash -c "! : <>'$MNT/.vexfs/query'"
finish
