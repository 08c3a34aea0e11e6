#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: compress.py FVECS

How much smaller rows would be at rest, by lossless compression of bytes that were
sorted by place (as blosc and others do): of FVECS (scripts/words-decode makes one), and
of random unit vectors. Blocks of 64 KiB, and rows alone, as a scan or a graph would need
them. Needs zstd(1) and lz4(1)."""
import array
import math
import random
import struct
import subprocess
import sys


def planes(data, width):
    return b"".join(data[i::width] for i in range(width))


def size(command, data):
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True)
    return len(done.stdout)


def by_blocks(command, data, width, block=65536):
    blocks = [planes(data[i:i + block], width) for i in range(0, len(data), block)]
    # The programs take tens of blocks as one input: their windows are longer than one.
    return len(data) / size(command, b"".join(blocks))


def alone(data, row, width, count=100):
    picked = random.sample(range(len(data) // row), count)
    command = ["zstd", "-3", "-c", "--no-check"]
    packed = sum(size(command, planes(data[i * row:i * row + row], width)) for i in picked)
    return count * row / packed


def read_fvecs(path):
    with open(path, "rb") as file:
        raw = file.read()
    dim = struct.unpack_from("<i", raw)[0]
    step = 4 + 4 * dim
    return dim, b"".join(raw[i + 4:i + step] for i in range(0, len(raw), step))


def unit_vectors(count, dim):
    numbers = []
    for _ in range(count):
        v = [random.gauss(0, 1) for _ in range(dim)]
        norm = math.sqrt(sum(x * x for x in v))
        numbers += [x / norm for x in v]
    return numbers


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.partition("\n")[0])
    random.seed(1)
    dim, rows = read_fvecs(sys.argv[1])
    unit = unit_vectors(2000, 768)
    scale = max(map(abs, array.array("f", rows))) / 127
    small = bytes(round(x / scale) & 255 for x in array.array("f", rows))
    sets = [
        (f"{sys.argv[1]}, {dim}-d f32", rows, 4 * dim, 4),
        ("random unit, 768-d f32", array.array("f", unit).tobytes(), 3072, 4),
        ("random unit, 768-d f16", struct.pack(f"<{len(unit)}e", *unit), 1536, 2),
        (f"{sys.argv[1]}, {dim}-d i8", small, dim, 1),
    ]
    print("rows | lz4 -1 | zstd -3 | zstd -19 | zstd -3, each row alone")
    for name, data, row, width in sets:
        ratios = [by_blocks([tool, level, "-c"], data, width)
                  for tool, level in (("lz4", "-1"), ("zstd", "-3"), ("zstd", "-19"))]
        ratios.append(alone(data, row, width))
        print(name, *("%.2f" % r for r in ratios), sep=" | ")


main()
