#!/usr/bin/env python3
"""Exact quantiles of truncated normals, for tests/gpu/truncated.rs.

    python3 tests/data/truncated.py > tests/data/truncated.json

Needs mpmath. For each pair of bounds (in standard deviations) and each 32-bit word, computes the quantile
of the word's share under the standard normal within the bounds, to 17 digits. It is counted from 0 if 0
is within the bounds, else from the bound next to 0. docs/STREAM.md defines the share.
"""

import json

import mpmath as mp

mp.mp.dps = 60

INFINITY = mp.inf
BOUNDS = [
    (-2, 2),
    (-3, 3),
    (-0.5, 0.5),
    (-1e-6, 1e-6),
    (-100, 100),
    (-INFINITY, INFINITY),
    (-1, 4),
    (-20, 0.25),
    (0, INFINITY),
    (0.001, 0.002),
    (1, INFINITY),
    (5, INFINITY),
    (-6, -5),
    (30, INFINITY),
    (-INFINITY, -12),
    (1000, 1000.001),
    (1e6, INFINITY),
    (-0.3, 9),
]
WORDS = [
    0, 1, 2, 3, 15, 16, 1000, 65535, 65536, 1 << 20, (1 << 24) + 12345, 1 << 28,
    0x1E5D9147, 0x20000000, 0x30000000, 0x3FFFFFFF, 0x40000000, 0x55555555, 0x7FFFFFFF,
    0x80000000, 0x80000001, 0x9ABCDEF0, 0xBFFFFFFF, 0xC0000000, 0xDEADBEEF, 0xF0000001,
    0xFF000000, 0xFFFF0000, 0xFFFFFF00, 0xFFFFFFFC, 0xFFFFFFFE, 0xFFFFFFFF,
]  # fmt: skip


def tail(x):
    """The probability of a standard normal above x, without loss of precision for large x."""
    return mp.erfc(mp.mpf(x) / mp.sqrt(2)) / 2


def share(word):
    """w or 1 - w: "The curve of a word" in docs/STREAM.md."""
    x = word | 1
    x -= (x >> 31) << 32
    highest = (x if x > 0 else ~x).bit_length() - 1
    z = (x >> max(highest - 23, 0)) << max(highest - 23, 0)
    return mp.mpf(z % 2**32) / mp.mpf(2) ** 32


def quantile(low, high, p):
    if low < 0 and (high <= 0 or p > mp.mpf(1) / 2):
        # Mirrored, so that the shares are those of upper tails.
        return -quantile(-high, -low, 1 - p)
    anchor = low if low > 0 else mp.mpf(0)
    low, high = mp.mpf(low), mp.mpf(high)
    # Here low >= 0, or low < 0 < high and p is at most 1/2.
    if low < 0:
        mass = lambda z: tail(-z)  # noqa: E731
        start = mass(low) if low > -INFINITY else mp.mpf(0)
        total = (mass(high) if high < INFINITY else mp.mpf(1)) - start
        wanted = start + p * total
        left, right = (low if low > -INFINITY else mp.mpf(-20)), min(high, mp.mpf(20))
        rising = lambda z: mass(z) - wanted  # noqa: E731
    else:
        start = tail(low)
        end = tail(high) if high < INFINITY else mp.mpf(0)
        wanted = start - p * (start - end)
        left = low
        right = min(high, low + 60 / max(low, mp.mpf(1)))
        rising = lambda z: wanted - tail(z)  # noqa: E731
    for _ in range(180):
        middle = (left + right) / 2
        if rising(middle) < 0:
            left = middle
        else:
            right = middle
    return (left + right) / 2 - anchor


def number(x):
    return str(x) if mp.isinf(x) else float(x)


cases = []
for low, high in BOUNDS:
    # The exact values of the binary64 bounds that the program gets.
    bounds = [mp.mpf(x) if mp.isinf(mp.mpf(x)) else mp.mpf(float(x)) for x in (low, high)]
    values = [mp.nstr(quantile(*bounds, share(word)), 17) for word in WORDS]
    cases.append(
        json.dumps(
            {
                "lower": mp.nstr(mp.mpf(low), 17).replace("+", ""),
                "upper": mp.nstr(mp.mpf(high), 17).replace("+", ""),
                "z": [float(v) for v in values],
            }
        )
    )
print('{"words": ' + json.dumps(WORDS) + ',\n"cases": [\n' + ",\n".join(cases) + "\n]}")
