// The fill of shaders/, word for word in CUDA, for count.py to compile and count. A bench only: how many
// instructions an NVIDIA GPU issues for an element, where no such GPU is at hand. NVIDIA's compiler for
// Vulkan is another one and may do better or worse.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;

// What a dispatch is told, in constant memory as a uniform buffer would be.
struct Request {
    uint2 key, stream, base;
    u32 mantissa;
    i32 exponent;
    u32 low, high, destination, invocations;
};
__constant__ Request request;

// philox.wgsl, mul_u64.wgsl
__device__ __forceinline__ uint4 philox(uint4 c, uint2 k) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        u64 product_0 = (u64)0xd2511f53u * c.x, product_1 = (u64)0xcd9e8d57u * c.z;
        c = make_uint4((u32)(product_1 >> 32) ^ c.y ^ k.x, (u32)product_1,
                       (u32)(product_0 >> 32) ^ c.w ^ k.y, (u32)product_0);
        k.x += 0x9e3779b9u;
        k.y += 0xbb67ae85u;
    }
    return c;
}

// mul_u64.wgsl
__device__ __forceinline__ i32 mul_hi_signed(i32 a, i32 b) { return (i32)(((i64)a * b) >> 32); }
__device__ __forceinline__ i32 mul_hi_rounded(i32 a, i32 b) {
    return (i32)(((i64)a * b + 0x80000000ll) >> 32);
}
__device__ __forceinline__ i32 mul_sum_rounded(i32 a, i32 b, i32 c, i32 d) {
    return (i32)(((i64)a * b + 0x40000000ll + (i64)c * d) >> 31);
}

// scale.wgsl
__device__ __forceinline__ u32 scale(i32 core) {
    u32 magnitude = abs(core);
    u32 zeros = __clz(magnitude);
    u64 product = (u64)(magnitude << (zeros & 31)) * request.mantissa;
    u32 high = (u32)(product >> 32);
    u32 sticky = high | min((u32)product, 1u);
    u32 shift = (high >> 30) ^ 1;
    u32 significand = sticky << shift;
    i32 biased = request.exponent - (i32)zeros - (i32)shift;
    u32 bits = ((u32)(biased - 1) << 23) + ((significand + 0x3f + ((significand >> 7) & 1)) >> 7);
    return magnitude == 0 ? 0 : bits | ((u32)core & 0x80000000u);
}
__device__ __forceinline__ u32 clamp_across_zero(u32 bits) {
    return min((u32)min((i32)bits, (i32)request.high), request.low);
}
__device__ __forceinline__ u32 to_bf16(u32 bits) { return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16; }

// uniform.wgsl
__device__ __forceinline__ i32 uniform_core(u32 word) { return (i32)((word >> 3) | 1) - (1 << 28); }

// quantile.wgsl
__device__ __forceinline__ uint2 segment(u32 word) {
    u32 sign = (u32)((i32)word >> 31);
    u32 odd = ((word ^ sign) << 1) | 1;
    u32 octave = __clz(odd);
    u32 mantissa = odd << (octave & 31);
    return make_uint2((octave << 5) + (mantissa >> 26) + (sign & 1024) - 32, (mantissa << 5) & 0x7fffffe0);
}
__device__ __forceinline__ i32 evaluate(uint4 entry, u32 t) {
    i32 square = (i32)entry.z + mul_hi_signed(entry.w, t);
    i32 linear = (i32)entry.y + mul_hi_signed(square, t);
    return (i32)entry.x + mul_hi_signed(linear, t);
}
__device__ __forceinline__ i32 quantile(const uint4* table, u32 word) {
    uint2 place = segment(word);
    i32 value = evaluate(__ldg(&table[place.x]), place.y);
    i32 sign = (i32)word >> 31; return (value ^ sign) - sign;
}

// box_muller.wgsl, table_storage.wgsl
__device__ __forceinline__ int2 normal_pair(const uint4* table, u32 a, u32 b) {
    uint2 place = segment(a);
    i32 radius = evaluate(__ldg(&table[place.x]), place.y);
    u32 point = b >> 22;
    uint4 entry = __ldg(&table[2048 + (point >> 1)]);
    i32 cosine = point & 1 ? entry.z : entry.x, sine = point & 1 ? entry.w : entry.y;
    i32 rest = (i32)((b << 10) >> 9) + (1 - (1 << 22));
    i32 part = (rest + 64) >> 7;
    i32 along = 1367132160 - ((((part * part) >> 14) * 25736) >> 18);
    return make_int2(mul_hi_rounded(radius, mul_sum_rounded(cosine, along, sine, -rest)),
                     mul_hi_rounded(radius, mul_sum_rounded(sine, along, cosine, rest)));
}

// fill.wgsl: one block of four elements for each invocation.
#define FILL(NAME, OUT, VALUE)                                                                      \
    extern "C" __global__ void NAME(OUT* destination, const uint4* table) {                         \
        u32 i = (blockIdx.y * 65535u + blockIdx.x) * 256 + threadIdx.x;                             \
        if (i >= request.invocations) return;                                                       \
        u64 block = (((u64)request.base.y << 32 | request.base.x) >> 2) + i;                        \
        uint4 x = philox(make_uint4((u32)block, (u32)(block >> 32), request.stream.x, request.stream.y), \
                         request.key);                                                              \
        VALUE                                                                                       \
    }
#define STORE(A, B, C, D) destination[(request.destination >> 2) + i] = make_uint4(A, B, C, D);
#define STORE_16(A, B, C, D)                                                                        \
    destination[(request.destination >> 2) + i] = make_uint2((A) | (B) << 16, (C) | (D) << 16);

FILL(words, uint4, STORE(x.x, x.y, x.z, x.w))
FILL(normal_cores, uint4, int2 f = normal_pair(table, x.x, x.y); int2 g = normal_pair(table, x.z, x.w);
     STORE(f.x, f.y, g.x, g.y))
FILL(normal_f32, uint4, int2 f = normal_pair(table, x.x, x.y); int2 g = normal_pair(table, x.z, x.w);
     STORE(scale(f.x), scale(f.y), scale(g.x), scale(g.y)))
FILL(normal_bf16, uint2, int2 f = normal_pair(table, x.x, x.y); int2 g = normal_pair(table, x.z, x.w);
     STORE_16(to_bf16(scale(f.x)), to_bf16(scale(f.y)), to_bf16(scale(g.x)), to_bf16(scale(g.y))))
#define CLAMPED(CORE) clamp_across_zero(scale(CORE))
FILL(truncated_f32, uint4, STORE(CLAMPED(quantile(table, x.x)), CLAMPED(quantile(table, x.y)),
                                 CLAMPED(quantile(table, x.z)), CLAMPED(quantile(table, x.w))))
FILL(uniform_f32, uint4, STORE(CLAMPED(uniform_core(x.x)), CLAMPED(uniform_core(x.y)),
                               CLAMPED(uniform_core(x.z)), CLAMPED(uniform_core(x.w))))

// float_box_muller.wgsl, with the GPU's own log, sin and cos.
__device__ __forceinline__ float2 box_muller(u32 a, u32 b) {
    float u = ((float)(a >> 9) + 0.5f) * 0x1p-23f, v = ((float)(b >> 9) + 0.5f) * 0x1p-23f;
    float radius = __uint_as_float(request.mantissa) * sqrtf(-2.0f * __logf(u));
    return make_float2(radius * __cosf(6.2831853f * v), radius * __sinf(6.2831853f * v));
}
FILL(float_f32, float4, float2 f = box_muller(x.x, x.y); float2 g = box_muller(x.z, x.w);
     destination[(request.destination >> 2) + i] = make_float4(f.x, f.y, g.x, g.y);)
