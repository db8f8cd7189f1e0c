"""The Triton kernel: fills of CUDA, ROCm and XPU devices.

Twin of `shaders/fill.wgsl`. A request is a row of 64-bit numbers, which `_requests.Request` lays
out. One launch takes many of them, so that a model of small tensors does not wait for launches.

Values are integers from the words to the stored bits, but for conversions of whole numbers to
binary32 and one product. These are exact, or only the exponent counts, which no rounding changes.
docs/STREAM.md says why any device gives the same bits.
"""

# ruff: noqa: ANN001, ANN201
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from fanin.torch._device._numbers import REQUEST

DIMENSIONS = tl.constexpr(5)
"""The most dimensions that count the runs of a request."""
FIELDS = tl.constexpr(len(REQUEST) - 1 + 3 * DIMENSIONS.value)
"""The numbers of a request."""

_K0 = tl.constexpr(REQUEST.index("k0"))
_K1 = tl.constexpr(REQUEST.index("k1"))
_S0 = tl.constexpr(REQUEST.index("s0"))
_S1 = tl.constexpr(REQUEST.index("s1"))
_MULTIPLIER = tl.constexpr(REQUEST.index("multiplier"))
_SHIFT = tl.constexpr(REQUEST.index("shift"))
_OFFSET = tl.constexpr(REQUEST.index("offset"))
_LOWEST = tl.constexpr(REQUEST.index("lowest"))
_HIGHEST = tl.constexpr(REQUEST.index("highest"))
_EXPONENT = tl.constexpr(REQUEST.index("exponent"))
_CONSTANT = tl.constexpr(REQUEST.index("constant"))
_COLUMNS = tl.constexpr(REQUEST.index("columns"))
_PATTERN0 = tl.constexpr(REQUEST.index("pattern0"))
_PATTERN1 = tl.constexpr(REQUEST.index("pattern1"))
_PATTERN2 = tl.constexpr(REQUEST.index("pattern2"))
_PATTERN3 = tl.constexpr(REQUEST.index("pattern3"))
_ADDRESS = tl.constexpr(REQUEST.index("address"))
_TABLE = tl.constexpr(REQUEST.index("table"))
_FIRST_PROGRAM = tl.constexpr(REQUEST.index("first_program"))
_START = tl.constexpr(REQUEST.index("start"))
_LENGTH = tl.constexpr(REQUEST.index("length"))
_STRIDE = tl.constexpr(REQUEST.index("stride"))
_BLOCKS_OF_A_RUN = tl.constexpr(REQUEST.index("blocks_of_a_run"))
_RUNS = tl.constexpr(REQUEST.index("runs"))
_OUTER = tl.constexpr(REQUEST.index("outer"))

_POINTS = tl.constexpr(4096)
"""The entry of the first point of the circle."""


@triton.jit
def _word(numbers, field: tl.constexpr):
    return tl.load(numbers + field).to(tl.uint32)


@triton.jit
def _number(numbers, field: tl.constexpr):
    return tl.load(numbers + field).to(tl.int32)


@triton.jit
def _mul_hi(a, b: tl.constexpr):
    return tl.umulhi(a, tl.full(a.shape, b, tl.uint32))


@triton.jit
def _philox(c0, c1, c2, c3, k0, k1):
    for _ in tl.static_range(10):
        h0, l0 = _mul_hi(c0, 0xD2511F53), c0 * 0xD2511F53
        h1, l1 = _mul_hi(c2, 0xCD9E8D57), c2 * 0xCD9E8D57
        c0, c1, c2, c3 = h1 ^ c1 ^ k0, l1, h0 ^ c3 ^ k1, l0
        k0 = k0 + 0x9E3779B9
        k1 = k1 + 0xBB67AE85
    return c0, c1, c2, c3


@triton.jit
def _words(block, draw, numbers):
    """Returns the four random words of blocks: of int64 numbers, in a draw."""
    zero = tl.zeros(block.shape, tl.uint32)
    low, high = block.to(tl.uint32), (block >> 32).to(tl.uint32) + (draw << 16)
    s0, s1 = zero + _word(numbers, _S0), zero + _word(numbers, _S1)
    return _philox(low, high, s0, s1, _word(numbers, _K0), _word(numbers, _K1))


@triton.jit
def _highest_bit(x):
    """Returns the number of the highest bit of int32 numbers from 0 on. It is -127 for 0."""
    # No ones follow each other, so that no rounding of the conversion carries.
    return ((x & ~(x >> 1)).to(tl.float32).to(tl.int32, bitcast=True) >> 23) - 127


@triton.jit
def _cut(x):
    """Returns int32 numbers, rounded down to 24 significant bits."""
    dropped = tl.maximum(_highest_bit(x ^ (x >> 31)) - 23, 0)
    return (x >> dropped) << dropped


@triton.jit
def _curve(word, table):
    odd = _cut((word | 1).to(tl.int32, bitcast=True))
    bits = odd.to(tl.float32).to(tl.uint32, bitcast=True)
    entry = (((bits >> 17) & 0x7FF) | ((bits >> 20) & 0x800)).to(tl.int32)
    t = ((bits >> 1) & 0xFFFF).to(tl.int32) - 0x8000
    constant, coefficients = tl.load(table + 2 * entry), tl.load(table + 2 * entry + 1)
    linear, square = (coefficients << 16) >> 16, coefficients >> 16
    return constant + ((linear * t + square * ((t * t) >> 16)) >> 9)


@triton.jit
def _turn(word, table):
    point = _POINTS + (word & 1023).to(tl.int32)
    cosine, sine = tl.load(table + 2 * point), tl.load(table + 2 * point + 1)
    angle = ((word.to(tl.int32, bitcast=True) >> 16) * 25736 + (1 << 14)) >> 15
    square = (angle * angle + (1 << 23)) >> 24
    c, s = cosine >> 15, sine >> 15
    return (
        cosine - ((s * angle + c * square) >> 8),
        sine - ((s * square - c * angle) >> 8),
    )


@triton.jit
def _scaled(x, factor, numbers):
    """Returns the offset plus `x * factor / 2^(32 + shift)`, rounded to nearest, halves up."""
    shift = tl.load(numbers + _SHIFT)
    half = (shift * 0 + 1) << (shift + 31)
    product = x.to(tl.int64) * factor.to(tl.int64)
    return (tl.load(numbers + _OFFSET) + ((product + half) >> (shift + 32))).to(tl.int32)


@triton.jit
def _drawn(block, numbers, CORE: tl.constexpr):
    """Returns the whole numbers p of the elements of blocks, four times as many."""
    x0, x1, x2, x3 = _words(block, 0, numbers)
    size: tl.constexpr = block.shape[0]
    if CORE == "normal":
        table = tl.load(numbers + _TABLE).to(tl.pointer_type(tl.int32))
        # The even and the odd word of both pairs.
        a, b = tl.join(x0, x2), tl.join(x1, x3)
        radius = _curve(a, table).to(tl.uint32, bitcast=True).to(tl.int64)
        radius = (radius * tl.load(numbers + _MULTIPLIER) + (1 << 31)) >> 32
        x, y = _turn(b, table)
        even, odd = _scaled(radius, x, numbers), _scaled(radius, y, numbers)
        return _cut(tl.reshape(tl.join(even, odd), (4 * size,)))
    word = tl.reshape(tl.join(tl.join(x0, x2), tl.join(x1, x3)), (4 * size,))
    if CORE == "uniform":
        count = tl.zeros(word.shape, tl.uint32) + _word(numbers, _MULTIPLIER)
        return _number(numbers, _OFFSET) + tl.umulhi(word, count).to(tl.int32, bitcast=True)
    table = tl.load(numbers + _TABLE).to(tl.pointer_type(tl.int32))
    p = _scaled(_curve(word, table), tl.load(numbers + _MULTIPLIER), numbers)
    return _cut(tl.minimum(tl.maximum(p, _number(numbers, _LOWEST)), _number(numbers, _HIGHEST)))


@triton.jit
def _value(p, numbers, EXACT: tl.constexpr):
    """Returns the binary32 bits of p times the power of two."""
    exponent = _number(numbers, _EXPONENT)
    if EXACT:
        power = ((exponent + 127) << 23).to(tl.float32, bitcast=True)
        return (p.to(tl.float32) * power).to(tl.uint32, bitcast=True)
    magnitude = tl.abs(p)
    converted = magnitude.to(tl.float32).to(tl.int32, bitcast=True)
    field = (converted >> 23) + exponent
    bits = converted + (exponent << 23)
    bits = tl.where(field < 1, magnitude << ((exponent + 149) & 31), bits)
    bits = tl.where(field > 254, 0x7F800000, bits)
    bits = tl.where(magnitude == 0, 0, bits)
    return bits.to(tl.uint32, bitcast=True) | (p.to(tl.uint32, bitcast=True) & 0x80000000)


@triton.jit
def _to_f16(bits):
    sign, magnitude = (bits >> 16) & 0x8000, bits & 0x7FFFFFFF
    rebiased = magnitude - (112 << 23)
    normal = (rebiased + 0xFFF + ((rebiased >> 13) & 1)) >> 13
    field = (magnitude >> 23).to(tl.int32)
    shift = tl.minimum(tl.maximum(126 - field, 0), 31).to(tl.uint32)
    significand = (magnitude & 0x7FFFFF) | ((field != 0).to(tl.uint32) << 23)
    quotient = significand >> shift
    rest = significand - (quotient << shift)
    half = ((shift * 0 + 1) << shift) >> 1
    up = (rest > half) | ((rest == half) & ((quotient & 1) == 1))
    rounded = tl.where(magnitude < (113 << 23), quotient + up.to(tl.uint32), normal)
    return tl.where(magnitude >= (143 << 23), 0x7C00, rounded) | sign


@triton.jit
def _to_bf16(bits):
    return (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16


@triton.jit
def _permuted(number, column, numbers):
    """Returns the images of rows in the permutations of their columns."""
    left, right = _number(numbers, _PATTERN2), _number(numbers, _PATTERN3)
    first, second = number & ((1 << left) - 1), number >> left
    rounds = tl.maximum(4 + 48 // (left + right), 6)
    draw = tl.full(number.shape, 1, tl.uint32)
    for _ in range(rounds):
        is_even = (draw & 1) == 1
        half = tl.where(is_even, second, first).to(tl.int64)
        block = (column.to(tl.int64) << 16) | half
        word, _, _, _ = _words(block, draw, numbers)
        word = word.to(tl.int32, bitcast=True)
        first = tl.where(is_even, first ^ (word & ((1 << left) - 1)), first)
        second = tl.where(is_even, second, second ^ (word & ((1 << right) - 1)))
        draw += 1
    return (second << left) | first


@triton.jit
def _is_sparse_zero(row, column, numbers):
    rows, zeros = _number(numbers, _PATTERN0), _number(numbers, _PATTERN1)
    # Lanes past the end of the tensor: the loop ends only for rows of the tensor.
    place = tl.where(row < rows, row, 0)
    place = _permuted(place, column, numbers)
    while tl.max(place, 0) >= rows:
        place = tl.where(place >= rows, _permuted(place, column, numbers), place)
    return place < zeros


@triton.jit
def _sine(row, column, table):
    """Returns the binary32 bits of a position table."""
    low = tl.load(table + 4 * column).to(tl.uint32, bitcast=True)
    high = tl.load(table + 4 * column + 1).to(tl.uint32, bitcast=True)
    phase = tl.load(table + 4 * column + 2).to(tl.uint32, bitcast=True)
    row = row.to(tl.uint32, bitcast=True)
    angle = tl.umulhi(low, row) + high * row + phase
    quadrant = (angle + (1 << 29)) >> 30
    rest = angle << 2
    offset = rest | ((rest != 0).to(tl.uint32) << 1)
    negative = offset >> 31
    x = tl.where(negative == 1, ~offset + 1, offset) << 1
    w = tl.umulhi(x, x)
    v = w >> 16
    c3 = 1399910 - ((60668 * v) >> 18)
    c1 = 1324675871 - tl.umulhi(w, 68093819 - tl.umulhi(w, c3))
    s1 = 346798712 - tl.umulhi(w, 10693919 - ((38523 * v) >> 14))
    sine = tl.umulhi(x, 3373259379 - tl.umulhi(w, s1))
    swap = quadrant & 1
    magnitude = tl.where(swap == 1, ~tl.umulhi(w, c1), sine) >> 1
    sign = (quadrant >> 1) ^ ((swap ^ 1) & negative)
    zeros = 31 - _highest_bit(magnitude.to(tl.int32, bitcast=True))
    significand = magnitude << (zeros & 31).to(tl.uint32)
    quotient = significand >> 8
    rounded = quotient + (((significand & 0xFF) + 0x7F + (quotient & 1)) >> 8)
    bits = ((126 - zeros) << 23).to(tl.uint32, bitcast=True) + rounded
    return tl.where(magnitude == 0, 0, bits | (sign << 31))


@triton.jit
def _bits(block, index, numbers, CORE: tl.constexpr, MASK: tl.constexpr, EXACT: tl.constexpr):
    """Returns the binary32 bits of elements."""
    row = index
    column = index
    if (
        CORE == "sine"
        or CORE == "columns"
        or MASK == "diagonal"
        or MASK == "lower"
        or MASK == "sparse"
    ):
        columns = tl.load(numbers + _COLUMNS)
        row = (index // columns).to(tl.int32)
        column = (index % columns).to(tl.int32)
    if CORE == "constant":
        bits = tl.zeros(index.shape, tl.uint32) + _word(numbers, _CONSTANT)
    elif CORE == "sine":
        bits = _sine(row, column, tl.load(numbers + _TABLE).to(tl.pointer_type(tl.int32)))
    elif CORE == "columns":
        table = tl.load(numbers + _TABLE).to(tl.pointer_type(tl.int32))
        bits = tl.load(table + column).to(tl.uint32, bitcast=True)
    else:
        bits = _value(_drawn(block, numbers, CORE), numbers, EXACT)
    if MASK == "diagonal":
        r = row % _number(numbers, _PATTERN0)
        on = column == r * _number(numbers, _PATTERN2) + _number(numbers, _PATTERN3)
        bits = tl.where((r < _number(numbers, _PATTERN1)) & on, bits, 0)
    elif MASK == "lower":
        # Rows reach 2^32 - 1.
        r = row.to(tl.uint32, bitcast=True) % _word(numbers, _PATTERN0)
        bits = tl.where(column.to(tl.uint32, bitcast=True) <= r, bits, 0)
    elif MASK == "range":
        start = tl.load(numbers + _PATTERN0) | (tl.load(numbers + _PATTERN1) << 32)
        end = tl.load(numbers + _PATTERN2) | (tl.load(numbers + _PATTERN3) << 32)
        bits = tl.where((index >= start) & (index < end), 0, bits)
    elif MASK == "sparse":
        bits = tl.where(_is_sparse_zero(row, column, numbers), 0, bits)
    return bits


@triton.jit
def _spread(x):
    """Returns each number of blocks once for each lane, four times as many."""
    size: tl.constexpr = x.shape[0]
    return tl.reshape(tl.broadcast_to(x[:, None], (size, 4)), (4 * size,))


@triton.jit
def fill(
    requests,
    CORE: tl.constexpr,
    MASK: tl.constexpr,
    EXACT: tl.constexpr,
    DTYPE: tl.constexpr,
    SEARCH: tl.constexpr,
    DIMS: tl.constexpr,
    FLAT: tl.constexpr,
    BLOCKS: tl.constexpr,
):
    """Fills the memory of requests.

    Args:
        requests: Rows of numbers.
        CORE: `Program.core`.
        MASK: `Program.mask`.
        EXACT: True if values are made in floats.
        DTYPE: `"float32"`, `"float16"` or `"bfloat16"`.
        SEARCH: The steps of a binary search among 2^SEARCH requests.
        DIMS: The dimensions that count the runs of a request.
        FLAT: True for one run from lane 0 on, of a length and an address that are multiples of 16.
        BLOCKS: The blocks that a program makes.
    """
    program = tl.program_id(0).to(tl.int64)
    # The last request whose first program is not after this one.
    found = program * 0
    for step in tl.static_range(SEARCH):
        next = found + (1 << (SEARCH - 1 - step))
        found = tl.where(tl.load(requests + next * FIELDS + _FIRST_PROGRAM) <= program, next, found)
    numbers = requests + found * FIELDS
    first = (program - tl.load(numbers + _FIRST_PROGRAM)) * BLOCKS
    start, length = tl.load(numbers + _START), tl.load(numbers + _LENGTH)
    address, stride = tl.load(numbers + _ADDRESS), tl.load(numbers + _STRIDE)
    if FLAT:
        length = tl.multiple_of(length, 16)
        block = start // 4 + first + tl.arange(0, BLOCKS)
        position = first * 4 + tl.arange(0, 4 * BLOCKS)
        index = start + position
        is_inside = position < length
        place = position
    else:
        item = first + tl.arange(0, BLOCKS)
        per_run = tl.load(numbers + _BLOCKS_OF_A_RUN)
        run, block = item // per_run, item % per_run
        is_run = run < tl.load(numbers + _RUNS)
        at = tl.zeros(item.shape, tl.int64)
        for dim in tl.static_range(DIMS):
            size = tl.load(numbers + _OUTER + 3 * dim)
            digit = run % size
            run = run // size
            start += digit * tl.load(numbers + _OUTER + 3 * dim + 1)
            at += digit * tl.load(numbers + _OUTER + 3 * dim + 2)
        start += tl.zeros(item.shape, tl.int64)
        # The lanes of the first block before the run, and those of the last one after it.
        position = _spread(4 * block - start % 4) + tl.arange(0, 4 * BLOCKS) % 4
        is_inside = _spread(is_run) & (position >= 0) & (position < length)
        block += start // 4
        index = _spread(start) + position
        place = _spread(at) + position * stride
    bits = _bits(block, index, numbers, CORE, MASK, EXACT)
    if DTYPE == "float32":
        out = address.to(tl.pointer_type(tl.int32))
        if FLAT:
            out = tl.multiple_of(out, 16)
        tl.store(out + place, bits.to(tl.int32, bitcast=True), mask=is_inside)
    else:
        half = _to_f16(bits) if DTYPE == "float16" else _to_bf16(bits)
        out = address.to(tl.pointer_type(tl.int16))
        if FLAT:
            out = tl.multiple_of(out, 16)
        tl.store(out + place, half.to(tl.uint16).to(tl.int16, bitcast=True), mask=is_inside)
