// Reductions of a long vector on CUDA, the common part of reduce and gradient-norm: one block for each chunk of
// kChunkFloats, then one block over the chunks. A thread always has the same elements of a chunk, aligned or not, and
// sums go pairwise over lanes and upwards over warps, so that the length alone decides the order of additions.
#pragma once

#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

constexpr int kChunkBlock = 256;
constexpr int kChunkFloats = 8192;
constexpr int kChunkSteps = kChunkFloats / (4 * kChunkBlock);

static inline int64_t chunks_of(int64_t size) { return (size + kChunkFloats - 1) / kChunkFloats; }

// visit(value, j) for the thread's elements of the chunk that is this block's; j is the place among four neighbours.
template <bool wide, class Visit>
DEV void visit_chunk(const float* x, int64_t size, Visit&& visit) {
  const int64_t begin = int64_t{blockIdx.x} * kChunkFloats;
  const float* p = x + begin + 4 * threadIdx.x;
  if (begin + kChunkFloats <= size) {
    Pack<float> four[kChunkSteps];
#pragma unroll
    for (int k = 0; k < kChunkSteps; ++k) four[k] = load_four<wide>(p + k * 4 * kChunkBlock);
#pragma unroll
    for (int k = 0; k < kChunkSteps; ++k) {
#pragma unroll
      for (int j = 0; j < 4; ++j) visit(four[k].at[j], j);
    }
    return;
  }
  const int left = static_cast<int>(size - begin);
  for (int i = 4 * static_cast<int>(threadIdx.x); i < left; i += 4 * kChunkBlock) {
    for (int j = 0; j < 4 && i + j < left; ++j) visit(ld(x + begin + i + j), j);
  }
}

// combine over the block's values, in thread 0. Every thread calls it; scratch is shared, one value for each warp.
template <class T, class Combine>
DEV T block_combine(T value, T* scratch, Combine&& combine) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value = combine(value, __shfl_xor_sync(kFullWarp, value, lanes));
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  value = scratch[0];
  for (int i = 1; i < kChunkBlock / 32; ++i) value = combine(value, scratch[i]);
  return value;
}

template <class T>
struct Plus {
  DEV T operator()(T a, T b) const { return a + b; }
};
// The larger of two numbers that are not negative, or NaN when one is.
template <class T>
struct Larger {
  DEV T operator()(T a, T b) const { return a >= b || a != a ? a : b; }
};

// combine over partial[count], in thread 0 of the only block.
template <class T, class From, class Combine>
DEV T combine_partials(const From* partial, int64_t count, T* scratch, Combine&& combine) {
  T value = 0;
  for (int64_t i = threadIdx.x; i < count; i += kChunkBlock) value = combine(value, T{ld(partial + i)});
  return block_combine(value, scratch, combine);
}

DEV bool is_not_finite(float x) { return (__float_as_uint(x) & 0x7f800000u) == 0x7f800000u; }

}  // namespace cuda
}  // namespace luffy
