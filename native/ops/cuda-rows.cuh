// What kernels over float32 rows share: four neighbouring floats at a time, whatever their alignment, and grids.
#pragma once

#include "../core/context.h"
#include "../core/cu.cuh"
#include "../core/tensor.h"

namespace luffy {
namespace cuda {

// A grid has at most this many blocks, several waves on any card, and walks on by its own size.
constexpr int64_t kMostBlocks = 2048;

static inline unsigned blocks_for(int64_t items, int64_t items_of_block) {
  const int64_t blocks = (items + items_of_block - 1) / items_of_block;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

static inline cudaStream_t stream_of(const Context& context) { return static_cast<cudaStream_t>(context.stream); }

// Whether every row of a matrix of four-byte elements begins at a multiple of 16 bytes.
static inline bool rows_aligned(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.row_stride % 4 == 0 || t.shape[0] <= 1);
}

// The thread's first item and the step to its next one, in a kernel that walks over items by the whole grid.
DEV int64_t grid_thread() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
DEV int64_t grid_step() { return int64_t{gridDim.x} * blockDim.x; }

// p[0 .. 3] by one instruction where `wide` says that p is a multiple of 16 bytes, else by four.
template <bool wide, class T>
DEV Pack<T> load_four(const T* p) {
  static_assert(sizeof(T) == 4);
  if constexpr (wide) {
    return ld128(p);
  } else {
    return Pack<T>{{ld(p), ld(p + 1), ld(p + 2), ld(p + 3)}};
  }
}
template <bool wide, class T>
DEV void store_four(T* p, const Pack<T>& four) {
  static_assert(sizeof(T) == 4);
  if constexpr (wide) {
    st128(p, four);
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j) st(p + j, four.at[j]);
  }
}
// The first `count` of p[0 .. 3] (all when there are more); the others are `nothing`, or are not written.
template <bool wide, class T>
DEV Pack<T> load_four(const T* p, int64_t count, T nothing) {
  if (count >= 4) return load_four<wide>(p);
  Pack<T> four;
#pragma unroll
  for (int j = 0; j < 4; ++j) four.at[j] = j < count ? ld(p + j) : nothing;
  return four;
}
template <bool wide, class T>
DEV void store_four(T* p, int64_t count, const Pack<T>& four) {
  if (count >= 4) return store_four<wide>(p, four);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < count) st(p + j, four.at[j]);
  }
}

}  // namespace cuda
}  // namespace luffy
