// What torch.normal_ and torch.uniform_ run on a contiguous float32 tensor of a CUDA device, for count.py to
// count beside fill.cu: written anew after distribution_elementwise_grid_stride_kernel of PyTorch's
// aten/src/ATen/native/cuda/DistributionTemplates.h, with cuRAND's own header. A thread makes a state of
// Philox4x32-10, and each turn of its loop takes four numbers and stores them a grid apart.

#define CURAND_NO_HOST 1
#include <curand_kernel.h>

typedef long long i64;
typedef unsigned long long u64;

struct Normal {
    float mean, std;
    __device__ float4 draw(curandStatePhilox4_32_10_t* state) const { return curand_normal4(state); }
    __device__ float value(float drawn) const { return drawn * std + mean; }
};

struct Uniform {
    float from, to, range;
    __device__ float4 draw(curandStatePhilox4_32_10_t* state) const { return curand_uniform4(state); }
    // cuRAND draws from (0, 1]: the upper bound becomes the lower one.
    __device__ float value(float drawn) const {
        float scaled = drawn * range + from;
        return scaled == to ? from : scaled;
    }
};

template <typename Distribution>
__device__ __forceinline__ void fill(char* data, int stride, i64 count, u64 seed, u64 offset,
                                     const Distribution& distribution) {
    i64 thread = (i64)blockIdx.x * blockDim.x + threadIdx.x;
    curandStatePhilox4_32_10_t state;
    curand_init(seed, thread, offset, &state);
    unsigned grid = blockDim.x * gridDim.x;
    i64 rounded = ((count - 1) / (grid * 4) + 1) * grid * 4;
    for (i64 first = thread; first < rounded; first += grid * 4) {
        float4 drawn = distribution.draw(&state);
        float lanes[4] = {drawn.x, drawn.y, drawn.z, drawn.w};
#pragma unroll
        for (int lane = 0; lane < 4; lane++) {
            i64 element = first + grid * lane;
            if (element < count) *(float*)&data[stride * (int)element] = distribution.value(lanes[lane]);
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(256, 4)
    torch_normal(char* data, int stride, i64 count, u64 seed, u64 offset, Normal normal) {
    fill(data, stride, count, seed, offset, normal);
}

extern "C" __global__ void __launch_bounds__(256, 4)
    torch_uniform(char* data, int stride, i64 count, u64 seed, u64 offset, Uniform uniform) {
    fill(data, stride, count, seed, offset, uniform);
}
