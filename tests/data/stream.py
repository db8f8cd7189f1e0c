#!/usr/bin/env python3
"""The normal core, written again from docs/STREAM.md alone, for tests/stream.rs.

    python3 tests/data/stream.py > tests/data/stream.json

Needs nothing but Python. Its binary64 arithmetic is that of the machine, its integers are exact.
"""

import hashlib
import json
import math
import struct

ONE = 1367132160
NODES = [0.03806023374435663, 0.3086582838174551, 0.6913417161825449, 0.9619397662556434]


def ln(x):
    mantissa, exponent = math.frexp(x)
    m, k = 2 * mantissa, exponent - 1
    if m > 1.4142135623730951:
        m, k = m / 2, k + 1
    v = (m - 1) / (m + 1)
    u = v * v
    s = 0.0
    for j in range(12, -1, -1):
        s = s * u + 1 / (2 * j + 1)
    return k * 0.6931471803691238 + (k * 1.9082149292705877e-10 + 2 * v * s)


def nearest(x):
    """Halves away from 0."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def cubic(n, s, quantile):
    t0, t1, t2, t3 = NODES
    y0, y1, y2, y3 = [quantile(2.0 ** (-2 - n) * (1.0 + (s + t) / 32.0)) for t in NODES]
    d01, d12, d23 = (y1 - y0) / (t1 - t0), (y2 - y1) / (t2 - t1), (y3 - y2) / (t3 - t2)
    d012, d123 = (d12 - d01) / (t2 - t0), (d23 - d12) / (t3 - t1)
    d0123 = (d123 - d012) / (t3 - t0)
    c3 = 8 * d0123
    c2 = 4 * (d012 - d0123 * (t0 + t1 + t2))
    c1 = 2 * (d01 - d012 * (t0 + t1) + d0123 * (t0 * t1 + t0 * t2 + t1 * t2))
    c0 = y0 - d01 * t0 + d012 * (t0 * t1) - d0123 * (t0 * t1 * t2) + 0.75
    return [nearest(c) for c in (c0, c1, c2, c3)]


U = 2.0**58 / ONE
RADII = [
    cubic(n, s, quantile)
    for quantile in (
        lambda q: math.sqrt(-2 * ln(q)) * U,
        lambda q: math.sqrt(-2 * ln(1 - q)) * U,
    )
    for n in range(32)
    for s in range(32)
]
CIRCLE = [
    [nearest(2**31 * f(2 * math.pi * (k + 0.5) / 1024)) for f in (math.cos, math.sin)]
    for k in range(1024)
]


def shi(a, b):
    return (a * b) >> 32


def radius(a):
    h = a >> 31
    w = 2 * (a ^ 0xFFFFFFFF if h else a) + 1
    n = 32 - w.bit_length()
    f = ((w << n) << 1) & 0xFFFFFFFF
    c0, c1, c2, c3 = RADII[1024 * h + 32 * n + (f >> 27)]
    t = ((f << 5) & 0xFFFFFFFF) >> 1
    return c0 + shi(c1 + shi(c2 + shi(c3, t), t), t)


def normal_pair(a, b):
    c, s = CIRCLE[b >> 22]
    d = 2 * (b % 2**22) + 1 - 2**22
    q = (d + 64) >> 7
    e = ONE - ((((q * q) >> 14) * 25736) >> 18)
    x = (c * e - s * d + 2**30) >> 31
    y = (s * e + c * d + 2**30) >> 31
    r = radius(a)
    return (r * x + 2**31) >> 32, (r * y + 2**31) >> 32


def words(count):
    """Words of all sizes, from both ends: SHA-256 of their numbers, shifted."""
    for i in range(count):
        a, b, shift = struct.unpack("<IIB", hashlib.sha256(str(i).encode()).digest()[:9])
        a >>= shift % 32
        yield a if i % 2 else a ^ 0xFFFFFFFF, b


def digest(numbers):
    return hashlib.sha256(struct.pack(f"<{len(numbers)}i", *numbers)).hexdigest()


print(
    json.dumps(
        {
            "radii": digest([c for entry in RADII for c in entry]),
            "circle": digest([c for point in CIRCLE for c in point]),
            "pairs": [[a, b, *normal_pair(a, b)] for a, b in words(1000)],
        }
    ).replace("], [", "],\n[")
)
