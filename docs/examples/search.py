#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""search.py MOUNT SPACE K < raw-f32: the K nearest files, as DISTANCE TAB PATH lines.
Exit 0 found, 1 nothing found, 2 error. To attach a vector first, as text or as float32:
    os.setxattr("MOUNT/a.txt", "user.vexfs.SPACE", b"1, 2, 3")
    os.setxattr("MOUNT/b.txt", "user.vexfs.SPACE", struct.pack("<3f", 1, 2, 3))
"""
import fcntl, os, struct, sys

STAGED, HEAD = 1, 256                           # VEXFS_SEARCH_STAGED, VEXFS_SEARCH_HEAD
SEARCH = 3 << 30 | HEAD << 16 | 0xF5 << 8 | 2   # VEXFS_IOC_SEARCH, the head alone

def search(mount, space, k):
    query, found = sys.stdin.buffer.read(), False
    fd = os.open(os.path.join(mount, ".vexfs/control"), os.O_RDWR)
    os.write(fd, query)                         # staged: any dimension fits
    fcntl.ioctl(fd, SEARCH, bytearray(struct.pack(
        "=7If4I64s144x", STAGED, int(k), 0, len(query) // 4, 0, 0, 0, 0, 0, 0, 0, 0,
        os.fsencode(space))))
    while hits := os.read(fd, 1 << 20):         # whole records of struct vexfs_hit
        at, found = 0, True
        while at < len(hits):
            size, _, distance, _, _, path_len = struct.unpack_from("=IIfIII", hits, at)
            path = hits[at + 40:at + 40 + path_len]
            sys.stdout.buffer.write(b"%.9g\t%s\n" % (distance, path))
            at += size
    return 0 if found else 1

try:
    sys.exit(search(*sys.argv[1:]))
except (OSError, TypeError, ValueError, struct.error) as e:
    sys.exit((print(e, file=sys.stderr), 2)[1])
