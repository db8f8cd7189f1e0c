// The fill of shaders/ in CUDA, for count.py to compile and count: the instructions that an NVIDIA GPU
// issues for an element, on a machine without one. Nothing here runs. Functions have the names of the
// shaders, in the same order; one that takes four lanes there takes one lane here. NVIDIA's compiler for
// Vulkan is another one and may do better or worse.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
#define DEVICE __device__ __forceinline__

// The dispatch parameters, in constant memory as in a uniform buffer: those fields of `Fill` of fill.wgsl
// that the kernels below read.
struct Fill {
    uint2 keys[10];
    // What round 1 of Philox makes of the stream id, so that the round costs one multiply.
    u32 first_round[3];
    uint2 base;
    u32 multiplier;
    i32 offset, low, high;
    float power;
    u32 destination, invocations;
};
__constant__ Fill request;

// The same number, but the compiler cannot see where it comes from. It costs no instruction. NVRTC takes a
// 32-bit number that came out of a 64-bit shift or sum for a 64-bit one, and splits its next product into
// several multiplies. (Not volatile: the compiler may still drop and move it.)
DEVICE u32 hide(u32 x) {
    asm("" : "+r"(x));
    return x;
}

// mul_u64.wgsl

DEVICE u32 mul_hi(u32 a, u32 b) { return (u32)(((u64)a * b) >> 32); }

DEVICE uint2 mul_wide(u32 a, u32 b) {
    u64 product = (u64)a * b;
    return make_uint2((u32)product, (u32)(product >> 32));
}

DEVICE u32 mul_hi_rounded_unsigned(u32 a, u32 b) {
    return hide((u32)(((u64)a * b + 0x80000000ull) >> 32));
}

DEVICE i32 mul_hi_rounded(i32 a, i32 b) { return (i32)(((i64)a * b + 0x80000000ll) >> 32); }

// philox.wgsl

constexpr u32 MULTIPLIER_0 = 0xd2511f53u, MULTIPLIER_1 = 0xcd9e8d57u;

DEVICE uint4 round_under(uint4 c, uint2 key) {
    uint2 product_0 = mul_wide(MULTIPLIER_0, c.x), product_1 = mul_wide(MULTIPLIER_1, c.z);
    return make_uint4(product_1.y ^ c.y ^ key.x, product_1.x, product_0.y ^ c.w ^ key.y, product_0.x);
}

DEVICE uint4 philox_block(uint2 block) {
    uint2 product = mul_wide(MULTIPLIER_0, block.x);
    uint4 c = make_uint4(request.first_round[0] ^ block.y, request.first_round[1],
                         product.y ^ request.first_round[2], product.x);
#pragma unroll
    for (int i = 1; i < 10; i++) c = round_under(c, request.keys[i]);
    return c;
}

// uniform.wgsl

DEVICE i32 uniform_number(u32 word, u32 count, i32 first) { return first + (i32)mul_hi(word, count); }

// value.wgsl (here before curve.wgsl, which calls `cut`)

DEVICE i32 kept(i32 x) {
    // firstLeadingBit of a signed number. For 0 and -1 both give -1.
    i32 leading;
    asm("bfind.s32 %0, %1;" : "=r"(leading) : "r"(x));
    return -1 << max(leading - 23, 0);
}

DEVICE i32 cut(i32 x) { return x & kept(x); }

DEVICE u32 float_value(i32 p, float power) { return __float_as_uint((float)p * power); }

DEVICE u32 to_bf16(u32 bits) { return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; }

// curve.wgsl

struct Place {
    u32 entry;
    i32 t;
};

DEVICE Place place(u32 word) {
    u32 bits = __float_as_uint((float)((i32)(word | 1) & kept((i32)word)));
    return {((bits >> 17) & 0x7ff) | ((bits >> 20) & 0x800), (i32)((bits >> 1) & 0xffff) - 0x8000};
}

DEVICE i32 evaluate(uint2 entry, i32 t) {
    i32 linear = (i32)(entry.y << 16) >> 16, square = (i32)entry.y >> 16, q = (t * t) >> 16;
    return (i32)entry.x + ((linear * t + square * q) >> 9);
}

DEVICE i32 curve(const uint2* table, u32 word) {
    Place at = place(word);
    return evaluate(table[at.entry], at.t);
}

// box_muller.wgsl

constexpr u32 RADII = 4096;

DEVICE int2 turn(const uint2* table, u32 b) {
    uint2 point = table[RADII + (b & 1023)];
    i32 cosine = (i32)point.x, sine = (i32)point.y, c = cosine >> 15, s = sine >> 15;
    i32 angle = (((i32)b >> 16) * 25736 + (1 << 14)) >> 15, square = (angle * angle + (1 << 23)) >> 24;
    return make_int2(cosine - ((s * angle + c * square) >> 8), sine - ((s * square - c * angle) >> 8));
}

// An alternative that fanin does not use: 3217 points in place of 1024. 2 pi 2^9 is 3216.99, so the low word
// of b * 3217 is the angle from the point without another factor, and its square is too small to matter.
DEVICE int2 turn_3217(const uint2* table, u32 b) {
    uint2 product = mul_wide(b, 3217);
    uint2 point = table[RADII + product.y];
    i32 cosine = (i32)point.x, sine = (i32)point.y, c = cosine >> 15, s = sine >> 15;
    i32 angle = (i32)product.x >> 16;
    return make_int2(cosine - ((s * angle) >> 10), sine + ((c * angle) >> 10));
}

// The two whole numbers of a pair: normal_pair, and the products that fill.wgsl makes of its result.
DEVICE i32 scaled(i32 number, i32 factor);
typedef int2 Turn(const uint2* table, u32 b);
template <Turn TURN> DEVICE int2 normal_pair(const uint2* table, u32 a, u32 b) {
    i32 radius = (i32)mul_hi_rounded_unsigned((u32)curve(table, a), request.multiplier);
    int2 direction = TURN(table, b);
    return make_int2(scaled(radius, direction.x), scaled(radius, direction.y));
}

// fill.wgsl

constexpr u32 GRID_WIDTH = 65535, WORKGROUP_SIZE = 256;

// For a mean of 0. Another one (SHIFTED) costs more: mul_shifted and an offset.
DEVICE i32 scaled(i32 number, i32 factor) { return mul_hi_rounded(number, factor); }

DEVICE u32 finish(i32 number) { return float_value(cut(number), request.power); }

// The elements of a block, by distribution.
struct Words {
    static DEVICE uint4 values(const uint2*, uint4 x) { return x; }
};

struct Uniform {
    // No more than 24 significant bits: nothing to cut.
    static DEVICE u32 value(u32 word) {
        return float_value(uniform_number(word, request.multiplier, request.offset), request.power);
    }
    static DEVICE uint4 values(const uint2*, uint4 x) {
        return make_uint4(value(x.x), value(x.y), value(x.z), value(x.w));
    }
};

template <Turn TURN> struct Normal {
    static DEVICE uint4 values(const uint2* table, uint4 x) {
        int2 p = normal_pair<TURN>(table, x.x, x.y), q = normal_pair<TURN>(table, x.z, x.w);
        return make_uint4(finish(p.x), finish(p.y), finish(q.x), finish(q.y));
    }
};

struct Truncated {
    static DEVICE u32 value(const uint2* table, u32 word) {
        i32 number = scaled(curve(table, word), (i32)request.multiplier);
        return finish(min(max(number, request.low), request.high));
    }
    static DEVICE uint4 values(const uint2* table, uint4 x) {
        return make_uint4(value(table, x.x), value(table, x.y), value(table, x.z), value(table, x.w));
    }
};

// benches/float_box_muller.wgsl: the float Box-Muller, with the GPU's own log, sin and cos.
struct FloatNormal {
    static DEVICE float2 box_muller(u32 a, u32 b) {
        float u = ((float)(a >> 9) + 0.5f) * 0x1p-23f, v = ((float)(b >> 9) + 0.5f) * 0x1p-23f;
        float radius = request.power * sqrtf(-2.0f * __logf(u));
        return make_float2(radius * __cosf(6.2831853f * v), radius * __sinf(6.2831853f * v));
    }
    static DEVICE uint4 values(const uint2*, uint4 x) {
        float2 p = box_muller(x.x, x.y), q = box_muller(x.z, x.w);
        return make_uint4(__float_as_uint(p.x), __float_as_uint(p.y), __float_as_uint(q.x),
                          __float_as_uint(q.y));
    }
};

DEVICE void store(uint4* destination, uint4 x) { *destination = x; }

DEVICE void store(uint2* destination, uint4 x) {
    *destination = make_uint2(to_bf16(x.x) | to_bf16(x.y) << 16, to_bf16(x.z) | to_bf16(x.w) << 16);
}

// Each invocation makes two blocks, as far apart as the workgroup is wide.
template <typename DISTRIBUTION, typename OUT>
DEVICE void fill_whole_blocks(OUT* destination, const uint2* table) {
    u32 workgroup = blockIdx.y * GRID_WIDTH + blockIdx.x;
    u32 front = workgroup * (2 * WORKGROUP_SIZE) + threadIdx.x;
    if (front >= request.invocations) return;
    u64 block = (((u64)request.base.y << 32 | request.base.x) >> 2) + front, next = block + WORKGROUP_SIZE;
    uint4 x = DISTRIBUTION::values(table, philox_block(make_uint2(hide((u32)block), block >> 32)));
    uint4 y = DISTRIBUTION::values(table, philox_block(make_uint2(hide((u32)next), next >> 32)));
    OUT* at = destination + ((request.destination >> 2) + front);
    store(at, x);
    if (front + WORKGROUP_SIZE < request.invocations) store(at + WORKGROUP_SIZE, y);
}

#define FILL(NAME, OUT, ...)                                                             \
    extern "C" __global__ void NAME(OUT* destination, const uint2* __restrict__ table) { \
        fill_whole_blocks<__VA_ARGS__>(destination, table);                              \
    }
FILL(words, uint4, Words)
FILL(uniform_f32, uint4, Uniform)
FILL(normal_f32, uint4, Normal<turn>)
FILL(normal_f32_3217, uint4, Normal<turn_3217>)
FILL(normal_bf16, uint2, Normal<turn>)
FILL(truncated_f32, uint4, Truncated)
FILL(float_f32, uint4, FloatNormal)
