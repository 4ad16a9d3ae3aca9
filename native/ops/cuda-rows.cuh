// What kernels over rows of float32 or bfloat16 share: four neighbouring elements at a time, whatever their alignment,
// computed with as float32; grids; the element type that the arguments ask for.
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

// Whether four elements may be moved at once from the start of every row of a matrix: 16 bytes of float32, 8 of bfloat16.
static inline bool rows_aligned(const Tensor& t) {
  const auto bytes = static_cast<uintptr_t>(4 * dtype_bytes(t.dtype));
  return reinterpret_cast<uintptr_t>(t.data) % bytes == 0 && (t.row_stride % 4 == 0 || t.shape[0] <= 1);
}

// The dtype of activations, as the first of them has it: bfloat16, or else float32 is what the others must be.
static inline DType activation_dtype(const Tensor& t) { return t.dtype == DType::bf16 ? DType::bf16 : DType::f32; }
// run(T()) where T is the element type of activations.
template <class Run>
static inline void for_activation(DType dtype, Run&& run) {
  if (dtype == DType::bf16) return run(bf16());
  run(float());
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

// The same for bfloat16, in eight bytes and as float32.
struct alignas(8) FourHalves {
  bf16 at[4];
};
template <bool wide>
DEV Pack<float> load_four(const bf16* p) {
  FourHalves four;
  if constexpr (wide) {
    four = ld(reinterpret_cast<const FourHalves*>(p));
  } else {
    four = {{ld(p), ld(p + 1), ld(p + 2), ld(p + 3)}};
  }
  return {{to_float(four.at[0]), to_float(four.at[1]), to_float(four.at[2]), to_float(four.at[3])}};
}
template <bool wide>
DEV void store_four(bf16* p, const Pack<float>& x) {
  FourHalves four;
#pragma unroll
  for (int j = 0; j < 4; ++j) four.at[j] = from_float<bf16>(x.at[j]);
  if constexpr (wide) {
    st64(p, *reinterpret_cast<const uint2*>(&four));
  } else {
#pragma unroll
    for (int j = 0; j < 4; ++j) st(p + j, four.at[j]);
  }
}
template <bool wide>
DEV Pack<float> load_four(const bf16* p, int64_t count, float nothing) {
  if (count >= 4) return load_four<wide>(p);
  Pack<float> four;
#pragma unroll
  for (int j = 0; j < 4; ++j) four.at[j] = j < count ? to_float(ld(p + j)) : nothing;
  return four;
}
template <bool wide>
DEV void store_four(bf16* p, int64_t count, const Pack<float>& four) {
  if (count >= 4) return store_four<wide>(p, four);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    if (j < count) st(p + j, from_float<bf16>(four.at[j]));
  }
}

}  // namespace cuda
}  // namespace luffy
