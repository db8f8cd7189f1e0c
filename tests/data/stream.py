#!/usr/bin/env python3
"""A second implementation of the stream, from docs/STREAM.md alone, for tests/library/stream_text.rs.

    python3 tests/data/stream.py > tests/data/stream.json

Needs only Python. Floats are the machine's binary64, integers are exact.
"""

import functools
import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

Entry = tuple[int, int, int]
Function = Callable[[float], float]

# Fraction bits and exponent bits.
DTYPES = {"float32": (23, 8), "float16": (10, 5), "bfloat16": (7, 8)}


# Notation


def hi(a: int, b: int) -> int:
    return (a * b) >> 32


def lo(a: int, b: int) -> int:
    return (a * b) & 0xFFFFFFFF


def signed(x: int) -> int:
    return x - (x >> 31 << 32)


def bit(x: int) -> int:
    return (~x if x < 0 else x).bit_length() - 1


def cut(x: int) -> int:
    return x & (-1 << max(bit(x) - 23, 0))


def half_away(x: float) -> int:
    """Rounds to an integer, halves away from 0."""
    size = abs(x)
    whole = math.floor(size)
    nearest = whole + int(size - whole >= 0.5)
    return -nearest if x < 0 else nearest


def single(x: float) -> float:
    """Rounds to binary32."""
    try:
        rounded: float = struct.unpack("<f", struct.pack("<f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)
    return rounded


def least_exponent(b: float, n: int) -> int:
    """Returns e(B, n)."""
    e = -149
    while b > math.ldexp(1.0, n + e):
        e += 1
    return e


# Counter, key and words


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        c0, c1, c2, c3 = (
            hi(0xCD9E8D57, c2) ^ c1 ^ k0,
            lo(0xCD9E8D57, c2),
            hi(0xD2511F53, c0) ^ c3 ^ k1,
            lo(0xD2511F53, c0),
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def stream_id(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def block_words(seed: int, stream: int, block: int, draw: int = 0) -> tuple[int, int, int, int]:
    counter = (block % 2**32, (block >> 32) + draw * 2**16, stream % 2**32, stream >> 32)
    return philox(counter, (seed % 2**32, seed >> 32))


# Values


def stored(p: int, e: int, dtype: str) -> int:
    """Returns the bits of p * 2^e, rounded to nearest, ties to even."""
    fraction, exponent = DTYPES[dtype]
    lowest = 2 - (1 << (exponent - 1)) - fraction
    if p == 0:
        return 0
    magnitude = abs(p)
    step = max(e + magnitude.bit_length() - 1 - fraction, lowest)
    units = round(Fraction(magnitude) * Fraction(2) ** (e - step))
    # A carry into the next binade increments the exponent field, up to the pattern of infinity.
    bits = min(units + ((step - lowest) << fraction), ((1 << exponent) - 1) << fraction)
    return (int(p < 0) << (fraction + exponent)) | bits


def number(bits: int, dtype: str) -> float:
    """Returns the number with these bits, which are not those of NaN."""
    fraction, exponent = DTYPES[dtype]
    sign = -1.0 if bits >> (fraction + exponent) else 1.0
    field = (bits >> fraction) % (1 << exponent)
    units = bits % (1 << fraction)
    if field == (1 << exponent) - 1:
        return sign * math.inf
    lowest = 2 - (1 << (exponent - 1)) - fraction
    return sign * math.ldexp(units + ((1 << fraction) if field else 0), lowest + max(field - 1, 0))


def not_above(x: float, dtype: str) -> float:
    """Returns the highest finite number of the dtype that is not above x."""
    fraction, exponent = DTYPES[dtype]
    top = (((1 << exponent) - 1) << fraction) - 1
    if math.isinf(x):
        assert x > 0
        return number(top, dtype)
    numerator, denominator = abs(x).as_integer_ratio()
    bits = stored(numerator, 1 - denominator.bit_length(), dtype)
    if x >= 0:
        return number(bits - int(number(bits, dtype) > x), dtype)
    bits += int(number(bits, dtype) < -x)
    assert bits <= top
    return -number(bits, dtype)


def not_below(x: float, dtype: str) -> float:
    """Returns the lowest finite number of the dtype that is not below x."""
    return -not_above(-x, dtype)


# Uniform numbers


def uniform(low: float, high: float) -> tuple[int, Callable[[int], int]]:
    e = least_exponent(max(abs(low), abs(high)), 24)
    a = math.ceil(math.ldexp(low, -e))
    m = math.ceil(math.ldexp(high, -e)) - a
    assert 1 <= m <= 2**25
    return e, lambda x: a + hi(x, m)


# The curve of a word


def exp(x: float) -> float:
    if x < -700:
        return 0.0
    k = half_away(x * 1.4426950408889634)
    r = (x - k * 0.6931471803691238) - k * 1.9082149292705877e-10
    s = 1.0
    for d in range(14, 0, -1):
        s = 1 + r / d * s
    return math.ldexp(s, k)


def ln(x: float) -> float:
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


class Table:
    """Returns the entries of a curve, its fraction bits F and its reach K."""

    def __init__(self, below: Function, above: Function, fraction: int | None = None) -> None:
        self.parabolas = {
            (h, n, j): self.parabola(n, j, (below, above)[h])
            for h in range(2)
            for n in range(32)
            for j in range(64)
            if n > 0 or (h, j) == (1, 0)
        }
        self.reach = max(abs(a) + abs(b) + abs(c) for a, b, c in self.parabolas.values())
        self.fraction = next(f for f in range(300, -1, -1) if self.fits(f)) if fraction is None else fraction
        self.entries = {at: self.entry(parabola, self.fraction) for at, parabola in self.parabolas.items()}

    def fits(self, fraction: int) -> bool:
        entries = (self.entry(parabola, fraction) for parabola in self.parabolas.values())
        return all(abs(c0) < 2**30 and abs(c1) <= 32700 and abs(c2) <= 32700 for c0, c1, c2 in entries)

    @staticmethod
    def parabola(n: int, j: int, y: Function) -> tuple[float, float, float]:
        k = math.sqrt(3.0) / 2

        def v(s: float) -> float:
            return math.ldexp(1.0, -1 - n) * (1 + (j + (s + 1) / 2) / 64)

        a, left, right = y(v(0.0)), y(v(-k)), y(v(k))
        return a, (right - left) / (2 * k), (left + right - 2 * a) / (2 * k * k)

    @staticmethod
    def entry(parabola: tuple[float, float, float], fraction: int) -> Entry:
        a, b, c = (math.ldexp(x, fraction) for x in parabola)
        return half_away(a + b / 65536 + c / 32768 + 1 / 2), half_away(b / 64), half_away(c / 32)

    def curve(self, x: int) -> int:
        z = cut(signed(x | 1))
        h = int(z < 0)
        n = 32 - abs(z).bit_length()
        f = (abs(z) << n << 1) & 0xFFFFFFFF
        c0, c1, c2 = self.entries[h, n, f >> 26]
        t = (f >> 10) % 2**16 - 2**15
        q = (t * t) >> 16
        return c0 + ((c1 * t + c2 * q) >> 9)

    def digest(self) -> str:
        memory = [(0, 0, 0)] * 4096
        for (h, n, j), entry in self.entries.items():
            memory[2048 * h + 64 * ((30 - n) % 32) + j] = entry
        return hashlib.sha256(b"".join(struct.pack("<ihh", *entry) for entry in memory)).hexdigest()


# Normal pairs

RADII = Table(lambda w: math.sqrt(-2 * ln(w)), lambda w: math.sqrt(-2 * ln(1 - w)), fraction=28)
CIRCLE = [
    [half_away(2**30 * f(2 * math.pi * (k + 0.5 + 2.0**-17) / 1024)) for f in (math.cos, math.sin)]
    for k in range(1024)
]


def direction(b: int) -> tuple[int, int]:
    c, s = CIRCLE[b % 1024]
    turn = (25736 * (signed(b) >> 16) + 2**14) >> 15
    bend = (turn * turn + 2**23) >> 24
    x = c - (((s >> 15) * turn + (c >> 15) * bend) >> 8)
    y = s - (((s >> 15) * bend - (c >> 15) * turn) >> 8)
    return x, y


def normal(mean: float, std: float) -> tuple[int, Callable[[int, int], tuple[int, int]]]:
    if std == 0:
        e = least_exponent(abs(mean), 24)
        p = int(math.ldexp(mean, -e))
        return e, lambda a, b: (p, p)
    e = least_exponent(abs(mean) + 7 * std, 28)
    middle = round(math.ldexp(mean, -e))
    s = next((s for s in range(30) if math.ldexp(std, 6 + s - e) >= 2.0**30), 30)
    m = round(math.ldexp(std, 6 + s - e))
    assert m < 2**32

    def pair(a: int, b: int) -> tuple[int, int]:
        r = (RADII.curve(a) * m + 2**31) >> 32
        x, y = direction(b)
        even, odd = (cut(middle + ((r * to + (1 << (31 + s))) >> (32 + s))) for to in (x, y))
        return even, odd

    return e, pair


# Quantiles


def quantile(
    table: Table, scale: float, anchor: float, lowest: float, highest: float
) -> tuple[int, Callable[[int], int]]:
    assert lowest <= highest
    f = table.fraction
    reached = min(max(abs(lowest), abs(highest)), abs(anchor) + scale * table.reach)
    finest = e = least_exponent(max(reached, lowest, -highest), 27)
    while math.ldexp(scale, 32 - f - e) >= 2.0**31:
        e += 1
    if e > finest + 8:
        raise ValueError("nearly all values are beyond the range of the dtype")
    middle = max(-(2**30), min(round(math.ldexp(anchor, -e)), 2**30))
    s = next((s for s in range(30) if math.ldexp(scale, 32 + s - f - e) >= 2.0**24), 30)
    m = round(math.ldexp(scale, 32 + s - f - e))
    least = math.ceil(Fraction(lowest) / Fraction(2) ** e)
    most = math.floor(Fraction(highest) / Fraction(2) ** e)

    def value(x: int) -> int:
        v = middle + ((table.curve(x) * m + (1 << (31 + s))) >> (32 + s))
        return cut(min(max(v, least), most))

    return e, value


F32, F16, BF16 = DTYPES
NODES = [0.1834346424956498, 0.525532409916329, 0.7966664774136267, 0.9602898564975363]
WEIGHTS = [0.362683783378362, 0.3137066458778873, 0.22238103445337447, 0.10122853629037626]


class Density:
    """The density exp(-(k d + d^2 / 2)) on [d0, d1]."""

    def __init__(self, k: float, d0: float, d1: float) -> None:
        self.k = k
        self.edges = [(d0 * (128 - i) + d1 * i) / 128 for i in range(129)]
        masses = [self.mass(self.edges[i], self.edges[i + 1]) for i in range(128)]
        self.up_to = [0.0] * 129
        self.from_on = [0.0] * 129
        for i in range(128):
            self.up_to[i + 1] = self.up_to[i] + masses[i]
        for i in range(127, -1, -1):
            self.from_on[i] = self.from_on[i + 1] + masses[i]

    def g(self, d: float) -> float:
        return exp(-(self.k * d + d * d / 2))

    def mass(self, p: float, q: float) -> float:
        m, h = (p + q) / 2, (q - p) / 2
        total = 0.0
        for x, w in zip(NODES, WEIGHTS, strict=True):
            total += w * (self.g(m - h * x) + self.g(m + h * x))
        return h * total

    def below(self, w: float) -> float:
        r = w * self.up_to[128]
        i = next((i for i in range(128) if self.up_to[i + 1] > r), 127)
        start, end = self.edges[i], self.edges[i + 1]
        c = r - self.up_to[i]
        d = start + (end - start) * (c / (self.up_to[i + 1] - self.up_to[i]))
        for _ in range(12):
            before = d
            d = min(max(d - (self.mass(start, d) - c) / self.g(d), start), end)
            if d == before:
                break
        return d

    def above(self, w: float) -> float:
        r = w * self.from_on[0]
        i = next((i for i in range(128) if self.from_on[i + 1] <= r), 127)
        start, end = self.edges[i], self.edges[i + 1]
        c = r - self.from_on[i + 1]
        d = end + (start - end) * (c / (self.from_on[i] - self.from_on[i + 1]))
        for _ in range(12):
            before = d
            d = min(max(d + (self.mass(d, end) - c) / self.g(d), start), end)
            if d == before:
                break
        return d


@functools.cache
def truncated_table(lower: float, upper: float, width: float) -> Table:
    if lower <= 0 <= upper:
        density = Density(0.0, max(lower, -10.0), min(upper, 10.0))
    else:
        k = min(lower if lower > 0 else -upper, 1e100)
        far = min(width, 100 / (math.sqrt(k * k + 100) + k))
        density = Density(k, 0.0, far) if lower > 0 else Density(-k, -far, 0.0)
    return Table(density.below, density.above)


def truncated(
    mean: float,
    std: float,
    absolute: tuple[float, float],
    relative: tuple[float, float],
    width: float,
    dtype: str,
) -> tuple[int, Callable[[int], int]]:
    lower, upper = relative
    lowest, highest = not_below(absolute[0], dtype), not_above(absolute[1], dtype)
    # Counted from the same number in all dtypes.
    anchor = mean
    if lower > 0:
        anchor = not_below(absolute[0], F32)
    elif upper < 0:
        anchor = not_above(absolute[1], F32)
    return quantile(truncated_table(lower, upper, width), std, anchor, lowest, highest)


def truncated_normal(
    mean: float, std: float, lower: float, upper: float, dtype: str
) -> tuple[int, Callable[[int], int]]:
    absolute = (mean + lower * std, mean + upper * std)
    return truncated(mean, std, absolute, (lower, upper), upper - lower, dtype)


def trunc_normal(mean: float, std: float, a: float, b: float, dtype: str) -> tuple[int, Callable[[int], int]]:
    relative = ((a - mean) / std, (b - mean) / std)
    return truncated(mean, std, (a, b), relative, (b - a) / std, dtype)


@functools.cache
def log_uniform(low: float, high: float) -> tuple[int, Callable[[int], int]]:
    table = Table(lambda w: ln(low + (high - low) * w), lambda w: ln(high - (high - low) * w))
    return quantile(table, 1.0, 0.0, single(ln(low)), single(ln(high)))


@functools.cache
def time_step(least: float, most: float, floor: float) -> tuple[int, Callable[[int], int]]:
    def s(v: float) -> float:
        x = exp(v)
        if x < 0.0625:
            return v + x * (0.5 + x * (1 / 24 - x * x / 2880))
        return x + ln(1 - exp(-x))

    length = ln(most) - ln(least)
    table = Table(lambda w: s(ln(least) + length * w), lambda w: s(ln(most) - length * w))
    return quantile(table, 1.0, 0.0, single(s(ln(max(least, floor)))), single(s(ln(most))))


# The output for tests/library/stream_text.rs


def elements(init: str, seed: int, name: str, dtype: str, first: int, count: int) -> list[int]:
    """Returns the bits of elements of a tensor. `init` is written as on the command line, with all its keys."""
    kind, _, rest = init.rstrip(")").partition("(")
    # Means, standard deviations and the ends of a uniform are binary32; all others are binary64.
    wide = [float(pair.split("=")[1]) for pair in rest.split(",")]
    narrow = [single(value) for value in wide]
    pair = None
    value = None
    if kind == "normal":
        e, pair = normal(*narrow)
    elif kind == "uniform":
        e, value = uniform(*narrow)
    elif kind == "truncated_normal":
        e, value = truncated_normal(narrow[0], narrow[1], wide[2], wide[3], dtype)
    elif kind == "trunc_normal":
        e, value = trunc_normal(narrow[0], narrow[1], wide[2], wide[3], dtype)
    elif kind == "log_uniform":
        e, value = log_uniform(*wide)
    elif kind == "mamba_dt_bias":
        e, value = time_step(*wide)
    else:
        raise ValueError(f"unknown initializer {kind!r}")
    bits = []
    for i in range(first, first + count):
        words = block_words(seed, stream_id(name), i // 4)
        lane = i % 4
        if pair is not None:
            p = pair(words[lane & 2], words[lane | 1])[lane % 2]
        else:
            assert value is not None
            p = value(words[lane])
        bits.append(stored(p, e, dtype))
    return bits


def words(count: int) -> Iterator[tuple[int, int]]:
    """Words of all sizes, from both ends: SHA-256 of their numbers, shifted."""
    for i in range(count):
        a, b, shift = struct.unpack("<IIB", hashlib.sha256(str(i).encode()).digest()[:9])
        a >>= shift % 32
        yield a if i % 2 else a ^ 0xFFFFFFFF, b


NAMES = ["w", "model.layers.0.mlp.down_proj.weight", "größe", "重み.β"]
CASES: list[tuple[str, ...]] = [
    # No mean: s = 0 and m exact, until e = -149.
    ("normal(mean=0,std=1)", F32, F16, BF16),
    ("normal(mean=0,std=0.02)", F32, F16, BF16),
    ("normal(mean=0,std=65536)", F32, F16, BF16),
    ("normal(mean=0,std=3e-8)", F16),
    ("normal(mean=0,std=1e-36)", F32),
    ("normal(mean=0,std=1e-37)", F32, BF16),
    ("normal(mean=0,std=1e-38)", F32),
    ("normal(mean=0,std=1e-40)", F32, BF16),
    ("normal(mean=0,std=1e-43)", F32, BF16),
    ("normal(mean=0,std=1e-45)", F32),
    ("normal(mean=0,std=1e37)", F32),
    ("normal(mean=0,std=3e38)", F32, F16, BF16),
    # A mean, near and far.
    ("normal(mean=-1.5,std=0.5)", F32, F16, BF16),
    ("normal(mean=0.1,std=7)", F32),
    ("normal(mean=1000,std=0.3)", F32, F16, BF16),
    ("normal(mean=-3e38,std=1e38)", F32, BF16),
    ("normal(mean=1,std=1e-6)", F32),
    ("normal(mean=-1,std=4e-9)", F32),
    ("normal(mean=1,std=1e-12)", F32),
    ("normal(mean=-1e30,std=1e-30)", F32),
    ("normal(mean=1e-41,std=1e-42)", F32),
    # A std that rounds to 0.
    ("normal(mean=0.3,std=1e-60)", F32, F16, BF16),
    ("normal(mean=0.3,std=0)", F32),
    ("uniform(low=0,high=1)", F32, F16, BF16),
    ("uniform(low=0.1,high=0.7)", F32, F16, BF16),
    ("uniform(low=-0.05,high=0.05)", F32, F16, BF16),
    ("uniform(low=-3,high=0.001)", F32),
    ("uniform(low=-1e-30,high=1)", F32),
    ("uniform(low=-1,high=-1e-30)", F32),
    ("uniform(low=1,high=1.0000004)", F32, BF16),
    ("uniform(low=1,high=1.00000012)", F32),
    ("uniform(low=-16777217,high=-16777210)", F32),
    ("uniform(low=1e-40,high=3e-39)", F32, BF16),
    ("uniform(low=-1e-44,high=1e-44)", F32),
    ("uniform(low=-3.4e38,high=3.4e38)", F32, F16, BF16),
    ("truncated_normal(mean=0,std=1,lower=-2,upper=2)", F32, F16, BF16),
    ("truncated_normal(mean=0.1,std=0.5,lower=-2,upper=2)", F32, F16, BF16),
    ("truncated_normal(mean=0,std=0.02,lower=-0.7,upper=1.3)", F32, F16, BF16),
    ("truncated_normal(mean=0.3,std=0.02,lower=-100,upper=100)", F32),
    ("truncated_normal(mean=0,std=1,lower=-inf,upper=inf)", F32, F16),
    ("truncated_normal(mean=0,std=1,lower=0,upper=3)", F32),
    ("truncated_normal(mean=-2,std=0.7,lower=-1.1,upper=0)", F32),
    ("truncated_normal(mean=0,std=1,lower=20,upper=21)", F32, F16, BF16),
    ("truncated_normal(mean=0.1,std=0.3,lower=20,upper=21)", F32, F16, BF16),
    ("truncated_normal(mean=0.7,std=1.1,lower=-0.01,upper=0.01)", F32, F16, BF16),
    ("truncated_normal(mean=0.7,std=1.1,lower=0.3,upper=0.4)", F32, F16, BF16),
    ("truncated_normal(mean=0,std=0.02,lower=5,upper=inf)", F32, F16, BF16),
    ("truncated_normal(mean=0.4,std=0.02,lower=-inf,upper=-12)", F32, F16, BF16),
    ("truncated_normal(mean=0,std=1e-40,lower=-2,upper=2)", F32),
    ("truncated_normal(mean=1,std=1e-13,lower=-2,upper=2)", F32),
    ("truncated_normal(mean=1e-3,std=1e20,lower=-2,upper=2)", F32, BF16),
    ("truncated_normal(mean=1e-3,std=1e6,lower=-2,upper=2)", F16),
    ("truncated_normal(mean=0,std=3e38,lower=-2,upper=2)", F32, BF16),
    ("truncated_normal(mean=0,std=1e-5,lower=1e9,upper=1e10)", F32),
    ("truncated_normal(mean=0,std=3e38,lower=-inf,upper=inf)", F32, BF16),
    ("truncated_normal(mean=0,std=1e5,lower=-inf,upper=inf)", F16, BF16),
    ("truncated_normal(mean=0,std=1e5,lower=-2,upper=2)", F16),
    ("truncated_normal(mean=0,std=3e38,lower=1,upper=inf)", F32),
    ("truncated_normal(mean=0,std=1e-39,lower=2,upper=3)", F32, BF16),
    ("truncated_normal(mean=0,std=1e-44,lower=1,upper=4)", F32),
    # Numbers of float16 that are far from the distribution.
    ("truncated_normal(mean=0,std=5e-14,lower=6,upper=inf)", F16),
    ("truncated_normal(mean=0,std=1e-14,lower=-inf,upper=-1000)", F16),
    ("truncated_normal(mean=1e30,std=100,lower=-inf,upper=inf)", F16),
    ("truncated_normal(mean=-3e12,std=3e5,lower=-16000,upper=inf)", F16),
    ("trunc_normal(mean=0,std=0.02,a=-2,b=2)", F32, F16, BF16),
    ("trunc_normal(mean=0,std=1,a=-2,b=2)", F32),
    ("trunc_normal(mean=0.05,std=0.02,a=0.1,b=0.7)", F32, F16, BF16),
    ("trunc_normal(mean=-0.3,std=0.02,a=-0.7,b=-0.6)", F32, F16, BF16),
    ("trunc_normal(mean=3,std=0.25,a=-inf,b=-0.1)", F32),
    ("trunc_normal(mean=0,std=1e-30,a=1e8,b=2e8)", F32),
    ("trunc_normal(mean=0.5,std=1e30,a=-0.1,b=0.1)", F32),
    ("log_uniform(low=1,high=16)", F32, F16, BF16),
    ("log_uniform(low=0.1,high=0.3)", F32),
    ("log_uniform(low=1e-30,high=1e30)", F32),
    ("log_uniform(low=1,high=1.001)", F32, BF16),
    ("mamba_dt_bias(min=0.001,max=0.1,floor=0.0001)", F32, F16, BF16),
    ("mamba_dt_bias(min=0.001,max=0.1,floor=0.02)", F32),
    ("mamba_dt_bias(min=0.01,max=30,floor=0.0001)", F32),
]
SEEDS = [42, 0, 2**32 + 7, 2**64 - 1]
FIRSTS = [0, 2**34 - 18, 2**39 + 3, 4093, 2**34 + 1]


def cases() -> Iterator[dict[str, int | str | list[str]]]:
    k = 0
    for init, *dtypes in CASES:
        for dtype in dtypes:
            seed, name, first = SEEDS[k % 4], NAMES[k // 4 % 4], FIRSTS[k % 5]
            width = 8 if dtype == F32 else 4
            bits = elements(init, seed, name, dtype, first, 32)
            values = [f"{value:0{width}x}" for value in bits]
            yield {"init": init, "seed": seed, "name": name, "dtype": dtype, "first": first, "values": values}
            k += 1


KNOWN = [
    ((0, 0, 0, 0), (0, 0)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)),
]


def main() -> None:
    _, pair = normal(0.0, 1.0)
    circle = struct.pack("<2048i", *(c for point in CIRCLE for c in point))
    lists: dict[str, Sequence[object]] = {
        "philox": [[*counter, *key, *philox(counter, key)] for counter, key in KNOWN],
        "words": [[42, "w", block, *block_words(42, stream_id("w"), block)] for block in (0, 1, 2**34)],
        "pairs": [[a, b, *pair(a, b)] for a, b in words(400)],
        "cases": list(cases()),
    }
    print("{")
    print(f'"radii": "{RADII.digest()}",')
    print(f'"circle": "{hashlib.sha256(circle).hexdigest()}",')
    print(f'"stream_id_of_w": {stream_id("w")},')
    for key, values in lists.items():
        lines = ",\n".join(json.dumps(value, ensure_ascii=False) for value in values)
        print(f'"{key}": [\n{lines}\n]' + ("," if key != "cases" else ""))
    print("}")


if __name__ == "__main__":
    main()
