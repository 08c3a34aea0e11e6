# SPDX-License-Identifier: Apache-2.0
"""What words-convert and words-decode share: the compact form of tests/data, .fvecs
files, and the rule by which a word becomes a file name. tests/data/README.md says
the format byte by byte; python's standard library is all that is needed."""
import array
import lzma
import struct
import sys

MAGIC = b"VEXWORD1"
HEAD = struct.Struct("<8sIII12x")  # magic, dim, rows, format; 32 bytes
DECIMAL5 = 1  # the only format: 5 decimal digits and a power of ten


def file_name(word):
    """The word as a file name, reversibly: '%', '/' and NUL as %XX anywhere, and the
    two names that every directory has already."""
    if word in (".", ".."):
        return word.replace(".", "%2E")
    return word.replace("%", "%25").replace("/", "%2F").replace("\0", "%00")


def split_decimal(text):
    """'-0.038194' -> (38194, 6, True): value = 38194 / 10**6, negative. The digits are
    padded to five, so that the exponent alone tells the size."""
    negative = text.startswith("-")
    digits, _, exponent = text.lstrip("-").lower().partition("e")
    whole, _, fraction = digits.partition(".")
    mantissa = int(whole + fraction or "0")
    scale = len(fraction) - int(exponent or 0)
    while mantissa and mantissa % 10 == 0:
        mantissa, scale = mantissa // 10, scale - 1
    while mantissa and mantissa < 10000:
        mantissa, scale = mantissa * 10, scale + 1
    if not mantissa:
        scale = 4
    if mantissa > 99999 or not 4 <= scale <= 19:
        raise ValueError(text + ": not a number below 10 of at most five digits")
    return mantissa, scale, negative


def pack(rows, dim):
    """Rows of floats -> the compact form. Exact: unpack gives the same float32."""
    low, mid, top = bytearray(), bytearray(), bytearray()
    for row in rows:
        if len(row) != dim:
            raise ValueError("a row of %d numbers, not %d" % (len(row), dim))
        for value in row:
            mantissa, scale, negative = split_decimal(repr(float(value)))
            low.append(mantissa & 255)
            mid.append(mantissa >> 8 & 255)
            top.append(mantissa >> 16 | negative << 1 | (scale - 4) << 2)
    head = HEAD.pack(MAGIC, dim, len(top) // dim, DECIMAL5)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    return lzma.compress(head + low + mid + top, check=lzma.CHECK_CRC64, filters=filters)


def unpack(data):
    """The compact form -> (dim, rows, array of float32, row after row)."""
    data = lzma.decompress(data)
    magic, dim, rows, form = HEAD.unpack_from(data)
    count = dim * rows
    if magic != MAGIC or form != DECIMAL5 or len(data) != HEAD.size + 3 * count:
        raise ValueError("not a file of words, or cut short")
    low, mid, top = (data[HEAD.size + i * count:HEAD.size + (i + 1) * count] for i in range(3))
    high = [(t & 1) << 16 for t in range(256)]
    # A power of ten up to 10**19 is exact in a double, so one division rounds right.
    power = [(-1.0 if t & 2 else 1.0) * 10.0 ** (4 + (t >> 2 & 15)) for t in range(256)]
    return dim, rows, array.array(
        "f", [(a | b << 8 | high[t]) / power[t] for a, b, t in zip(low, mid, top)])


def write_fvecs(out, dim, floats):
    """Each row with its dimension before it, little-endian."""
    if sys.byteorder == "big":
        floats = array.array("f", floats)
        floats.byteswap()
    raw, head = memoryview(floats).cast("B"), struct.pack("<i", dim)
    for at in range(0, len(raw), 4 * dim):
        out.write(head)
        out.write(raw[at:at + 4 * dim])
