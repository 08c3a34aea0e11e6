#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A catalog with damaged pages: a mount is refused and says which page and what to do;
# fsck --repair rescues what can be read of it, of its indexes, of the slot files and of
# the marks of the files; then fsck finds nothing, and every vector is served as it was set,
# or not at all.
#
# SALVAGE_PAGES (6): how many pages are hurt, one at a time; all: each of them. SEED=N.
. "$(dirname "$0")/lib.sh"

seed=${SEED:-$((RANDOM << 15 | RANDOM))}
echo "seed $seed"
vex_start
vexctl space create t --dim 4 --metric l2
vexctl space create b --dim 9 --type bit --metric hamming
python3 - "$MNT" <<'P'
import os, struct, sys
m = sys.argv[1]
for i in range(300):
    if i % 50 == 0:
        os.mkdir("%s/d%d" % (m, i // 50))
    p = "%s/d%d/f%03d" % (m, i // 50, i)
    open(p, "w").write(str(i))
    if i % 3:
        os.setxattr(p, "user.vexfs.t", struct.pack("8f", i, 1, 2, 3, 0, i, 0, 0))
    else:
        os.setxattr(p, "user.vexfs.t.key", b"[%d,1,2,3]" % i)
os.setxattr(m + "/d1/f050", "user.vexfs.b", b"[1,0,1,0,1,0,1,0,1]")
for i in range(0, 300, 7):
    os.unlink("%s/d%d/f%03d" % (m, i // 50, i))
P
vexctl sync
vex_stop || die "stop"
cp -a "$STORE" "$T/good"
catalog=$STORE/.vexfs/catalog.db
pages=$(($(stat -c %s "$catalog") / 4096))

# rescued PAGE: hurts it, and looks at what becomes of it.
rescued()
{
	local code
	rm -rf "$STORE"
	cp -a "$T/good" "$STORE"
	printf 'zzzz' | dd of="$catalog" bs=1 seek=$((($1 - 1) * 4096 + 2000)) conv=notrunc \
		status=none
	"$VEXFS" "$STORE" "$MNT" 2>"$T/err" && fusermount3 -u "$MNT"
	check "page $1: the mount says so ($(cat "$T/err"))" \
		grep -q "catalog.db: page $1 does not match its checksum.*fsck --repair" "$T/err"
	vexctl fsck --repair "$STORE" >"$T/out" 2>"$T/err"
	code=$?
	check "page $1: repaired ($code: $(head -c 400 "$T/out"))" test $((code & ~4)) = 1
	check "page $1: the old one is kept" test -s "$catalog.damaged"
	check "page $1: fsck again ($(vexctl fsck "$STORE" 2>&1 | head -3))" \
		vexctl fsck "$STORE"
	vex_start
	python3 - "$MNT" <<'P' || check "page $1: values" false
import os, struct, sys
m = sys.argv[1]
bad = lost = 0
for i in range(300):
    p = "%s/d%d/f%03d" % (m, i // 50, i)
    if i % 7 == 0:
        continue
    name, rows, text = (("t", [i, 1, 2, 3, 0, i, 0, 0], None) if i % 3 else
                        ("t.key", [i, 1, 2, 3], b"[%d,1,2,3]" % i))
    try:
        got = os.getxattr(p, "user.vexfs." + name)
    except OSError:
        lost += 1
        continue
    # Text that is lost comes back in binary.
    if got != struct.pack("%df" % len(rows), *rows) and got != text:
        print(p, got)
        bad += 1
print("%d lost, %d wrong" % (lost, bad))
sys.exit(bad or lost)
P
	equal "page $1: found" "d1/f052" "$(vexctl search --space t -k 1 --vector 52,1,2,3 -l)"
	vex_stop || die "stop"
}

if [ "${SALVAGE_PAGES:-6}" = all ]; then
	list=$(seq 1 $pages)
else
	# The first ones are roots: schema, meta, spaces, nodes, names, attachments.
	list="1 3 4 $(seq 2 $pages | shuf --random-source=<(yes "$seed") |
		head -n $((${SALVAGE_PAGES:-6} - 3)))"
fi
for page in $list; do
	rescued "$page"
done

# Two pages at once, and nothing that could be read: refused, and left as it is.
rm -rf "$STORE"
cp -a "$T/good" "$STORE"
printf 'zzzzzzzzzzzzzzzz' | dd of="$catalog" bs=1 seek=0 conv=notrunc status=none
before=$(sha256sum <"$catalog")
exits "no catalog any more" 4 vexctl fsck --repair "$STORE"
equal "untouched" "$before" "$(sha256sum <"$catalog")"
finish
