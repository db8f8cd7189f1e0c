#!/usr/bin/env python3
"""Expected values of the stream, for tests/oracle.rs, from exact arithmetic.

    python3 tests/data/oracle.py > tests/data/oracle.json

Needs mpmath. Written from the stream's definition alone and shares nothing with the crate: its own
Philox, SHA-256 from hashlib, fractions for every product, sum and rounding, 50 decimal digits for
the Box-Muller transform.

uniform, constant: the exact bits. normal: the fixed-point core may be off by 2^-25, so each element
has the exact real value, to 20 digits, and the bits that cores 2^-25 below and above the exact one
would give. Rounding is monotone: the true bits lie between the two, and often they are the same.
"""

import hashlib
import json
import struct
import sys
from fractions import Fraction

import mpmath

mpmath.mp.dps = 50

# ---------------------------------------------------------------------------------- the generator


def philox4x32_10(counter, key):
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (
            (p1 >> 32) ^ c1 ^ k0,
            p1 & 0xFFFFFFFF,
            (p0 >> 32) ^ c3 ^ k1,
            p0 & 0xFFFFFFFF,
        )
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def split(number):
    return number % 2**32, number // 2**32


def stream_id(name):
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def words(seed, stream, block):
    low, high = split(block)
    assert high < 2**16
    return philox4x32_10((low, high, *split(stream)), split(seed))


assert philox4x32_10((0,) * 4, (0,) * 2) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
assert stream_id("w") == 17734696886724432
assert words(42, stream_id("w"), 1) == (0x14B86037, 0xB6EC3E87, 0x6B04226F, 0xC48714F9)

# -------------------------------------------------------------------------------------- the cores


def uniform_core(seed, stream, element):
    block, lane = divmod(element, 4)
    word = words(seed, stream, block)[lane]
    return Fraction(2 * (word >> 4) + 1 - 2**28, 2**28)


def normal_core(seed, stream, element):
    """To 50 digits; binary, so the fraction is what mpmath holds."""
    block, lane = divmod(element, 4)
    a, b = words(seed, stream, block)[lane // 2 * 2 :][:2]
    radius = mpmath.sqrt(-2 * mpmath.log((mpmath.mpf(a) + 0.5) / 2**32))
    turn = 2 * mpmath.pi * (mpmath.mpf(b) + 0.5) / 2**32
    exact = radius * (mpmath.sin(turn) if lane % 2 else mpmath.cos(turn))
    sign, mantissa, exponent, _ = exact._mpf_
    return (-1) ** sign * Fraction(mantissa) * Fraction(2) ** exponent


# ----------------------------------------------------------------------------------- the rounding


class Format:
    """An IEEE 754 binary format with this many exponent and stored significand bits."""

    def __init__(self, exponent_bits, fraction_bits):
        self.fraction_bits = fraction_bits
        self.bits = 1 + exponent_bits + fraction_bits
        self.bias = 2 ** (exponent_bits - 1) - 1
        self.infinity = (2**exponent_bits - 1) << fraction_bits

    def round(self, number, negative_zero=False):
        """The bits of a fraction rounded to nearest, ties to even."""
        negative = number < 0 or (number == 0 and negative_zero)
        number = abs(number)
        # The exponent of the leading bit, but not below that of the subnormals.
        exponent = 1 - self.bias
        while number >= Fraction(2) ** (exponent + 1):
            exponent += 1
        steps = number / Fraction(2) ** (exponent - self.fraction_bits)
        significand, rest = divmod(steps, 1)
        significand = int(significand)
        if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and significand % 2):
            significand += 1
        # A carry out of the significand goes into the exponent, and on into infinity.
        bits = ((exponent + self.bias - 1) << self.fraction_bits) + significand
        return min(bits, self.infinity) | negative << (self.bits - 1)

    def number(self, bits):
        """The fraction that finite bits stand for."""
        magnitude = bits % 2 ** (self.bits - 1)
        assert magnitude < self.infinity
        field, significand = divmod(magnitude, 2**self.fraction_bits)
        if field:
            significand += 2**self.fraction_bits
        else:
            field = 1
        number = significand * Fraction(2) ** (field - self.bias - self.fraction_bits)
        return -number if self.negative(bits) else number

    def negative(self, bits):
        return bits >> (self.bits - 1) == 1


F32, F16, BF16 = Format(8, 23), Format(5, 10), Format(8, 7)
FORMATS = {"f32": F32, "f16": F16, "bf16": BF16}


def to_f32(number):
    """A Python float (binary64) rounded to binary32, as a fraction."""
    return F32.number(F32.round(Fraction(number)))


def convert(bits, dtype):
    """binary32 bits rounded to a dtype."""
    if bits % 2**31 == F32.infinity:
        return FORMATS[dtype].infinity | F32.negative(bits) << (FORMATS[dtype].bits - 1)
    return FORMATS[dtype].round(F32.number(bits), F32.negative(bits))


# ---------------------------------------------------------------------------------- the values


def affine(core, mean, scale):
    """RNE(mean + RNE(scale * core)) as binary32 bits; mean and scale are binary32."""
    inner = F32.round(scale * core, core < 0)
    if mean == 0 or inner % 2**31 == F32.infinity:
        return inner
    return F32.round(mean + F32.number(inner))


def next_below(number):
    """The largest binary32 below a binary32 number."""
    bits = F32.round(number)
    if number > 0:
        return F32.number(bits - 1)
    if number == 0:
        return -F32.number(1)
    return F32.number(bits + 1)


def uniform_bits(core, low, high, dtype):
    # Binary64 arithmetic is Python's own.
    mean, scale = to_f32((low + high) / 2), to_f32((high - low) / 2)
    bits = affine(core, mean, scale)
    low, high = to_f32(low), next_below(to_f32(high))
    number = F32.number(bits)
    if number < low:
        bits = F32.round(low)
    elif number > high:
        bits = F32.round(high)
    return convert(bits, dtype)


def normal_entry(core, mean, std, dtype):
    mean, std = to_f32(mean), to_f32(std)
    exact = mean + std * core
    digits = mpmath.nstr(mpmath.mpf(exact.numerator) / exact.denominator, 20)
    off = Fraction(1, 2**25)
    between = [convert(affine(core + error, mean, std), dtype) for error in (-off, off)]
    width = FORMATS[dtype].bits // 4
    return " ".join([digits] + [f"{bits:0{width}x}" for bits in between])


def uniform_entry(core, low, high, dtype):
    return f"{uniform_bits(core, low, high, dtype):0{FORMATS[dtype].bits // 4}x}"


def constant_entry(value, dtype):
    # The sign of a binary64 zero is that of the rounded value.
    negative = struct.pack(">d", value)[0] >> 7
    bits = F32.round(Fraction(value), negative)
    return f"{convert(bits, dtype):0{FORMATS[dtype].bits // 4}x}"


# ----------------------------------------------------------------------------------- the cases

STREAMS = [
    {"seed": 42, "name": "w"},
    {"seed": 0, "name": ""},
    {"seed": 2**64 - 1, "name": "layers.0.weight"},
    {"seed": 2**32, "name": "Größe/重み"},
    {"seed": 0x0123456789ABCDEF, "stream": 0xFEDCBA9876543210},
    {"seed": 1, "stream": 2**32},
]

# Runs of elements: the start; across a block's end; index and block at 2^32; the upper bits of the
# block counter; the last elements that there are.
RUNS = [(0, 9), (1_000_003, 5), (2**32 - 3, 6), (2**34 - 2, 5), (2**49 - 1, 4), (2**50 - 5, 5)]

UNIFORMS = [
    (-1.0, 1.0),
    (0.0, 1.0),
    (-1.0, 0.0),
    (-0.05, 0.05),
    (0.1, 0.7),
    (1.0, 1.0 + 2.0**-22),  # a few values only: the clamp is at work
    (-6e-45, 6e-45),  # subnormal, products that round to zeros of either sign
    (-3.4e38, 3.4e38),
    (1e-5, 2e-4),  # subnormal in binary16
    (60_000.0, 70_000.0),  # partly infinite in binary16
]

NORMALS = [
    (0.0, 1.0),
    (0.0, 0.02),
    (-1.5, 0.5),
    (0.1, 1e-3),
    (0.0, 1e-40),
    (1e-39, 1e-38),
    (0.0, 4e-5),
    (1e38, 1.5e38),
]

CONSTANTS = [0.0, -0.0, 1.0, 0.1, -1 / 3, 1e-8, 1e-40, 65_519.0, 65_520.0, -3.4028234e38, 1 + 2**-8]


def hex64(number):
    return f"{number:016x}"


def f64_bits(number):
    return struct.pack(">d", number).hex()


def cases():
    for kind, parameters, core, entry in [
        ("uniform", UNIFORMS, uniform_core, uniform_entry),
        ("normal", NORMALS, normal_core, normal_entry),
    ]:
        for i, pair in enumerate(parameters):
            for j, dtype in enumerate(FORMATS):
                # Each distribution in each dtype on two of the streams, in turn on all.
                turn = i + 2 * j
                for stream in (STREAMS[turn % 6], STREAMS[(turn + 3) % 6]):
                    number = stream.get("stream", stream_id(stream.get("name", "")))
                    seed = stream["seed"]
                    yield {
                        key: hex64(value) if key != "name" else value
                        for key, value in stream.items()
                    } | {
                        "init": kind,
                        "parameters": [f64_bits(value) for value in pair],
                        "dtype": dtype,
                        "runs": [
                            {
                                "start": hex64(start),
                                "expected": [
                                    entry(core(seed, number, element), *pair, dtype)
                                    for element in range(start, start + count)
                                ],
                            }
                            for start, count in RUNS
                        ],
                    }
    for value in CONSTANTS:
        for dtype in FORMATS:
            run = {"start": hex64(2**32 - 3), "expected": [constant_entry(value, dtype)] * 4}
            yield {
                "seed": hex64(7),
                "name": "b",
                "init": "constant",
                "parameters": [f64_bits(value)],
                "dtype": dtype,
                "runs": [run],
            }


def main():
    about = (
        "Expected values of the stream, for tests/oracle.rs. Made, not edited: "
        "python3 tests/data/oracle.py > tests/data/oracle.json (needs mpmath). "
        "seed, stream, start: 64-bit numbers in hexadecimal; parameters: bits of binary64 numbers, "
        "mean and std or low and high or the value; expected: the bits of consecutive elements in "
        "hexadecimal, for normal the exact value and the least and the greatest bits."
    )
    lines = ",\n".join(
        json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases()
    )
    sys.stdout.reconfigure(encoding="utf-8")
    print(f'{{"about":{json.dumps(about)},\n"cases":[\n{lines}\n]}}')


if __name__ == "__main__":
    main()
