// What kernels over rows of float32 or bfloat16 share: sixteen bytes or four neighbouring elements at a time, whatever
// their alignment, computed with as float32; grids; the element type that the arguments ask for.
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

// The same of sixteen bytes, whatever the element.
static inline bool packs_aligned(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 &&
         (t.row_stride * dtype_bytes(t.dtype) % 16 == 0 || t.shape[0] <= 1);
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

// The pieces of all rows, `pieces` of each, that one thread of the grid takes: by one division, not one a piece.
struct GridPieces {
  int64_t row, piece;
  DEV explicit GridPieces(int64_t pieces) : pieces_(pieces) {
    const int64_t first = grid_thread();
    row = first / pieces;
    piece = first - row * pieces;
    row_step_ = grid_step() / pieces;
    piece_step_ = grid_step() - row_step_ * pieces;
  }
  DEV void next() {
    row += row_step_;
    piece += piece_step_;
    if (piece < pieces_) return;
    piece -= pieces_;
    ++row;
  }

 private:
  int64_t pieces_, row_step_, piece_step_;
};

HOST_DEV int64_t pieces_of(int64_t columns, int size) { return (columns + size - 1) / size; }

// The first `count` elements of the sixteen bytes at p (all when there are more) by one instruction where `wide` says that
// p is a multiple of 16 bytes and all are wanted; the others are `nothing`, or are not written.
template <bool wide, class T>
DEV Pack<T> load_pack(const T* p, int64_t count, T nothing) {
  if (wide && count >= Pack<T>::size) return ld128(p);
  Pack<T> pack;
#pragma unroll
  for (int j = 0; j < Pack<T>::size; ++j) pack.at[j] = j < count ? ld(p + j) : nothing;
  return pack;
}
template <bool wide, class T>
DEV void store_pack(T* p, int64_t count, const Pack<T>& pack) {
  if (wide && count >= Pack<T>::size) return st128(p, pack);
#pragma unroll
  for (int j = 0; j < Pack<T>::size; ++j) {
    if (j < count) st(p + j, pack.at[j]);
  }
}

// Those of float32 or bfloat16 as float32.
template <class T>
struct Floats {
  static constexpr int size = Pack<T>::size;
  float at[size];
};
template <bool wide, class T>
DEV Floats<T> load_floats(const T* p, int64_t count) {
  const Pack<T> pack = load_pack<wide>(p, count, T(0.0f));
  Floats<T> floats;
#pragma unroll
  for (int j = 0; j < Floats<T>::size; ++j) floats.at[j] = to_float(pack.at[j]);
  return floats;
}
template <bool wide, class T>
DEV void store_floats(T* p, int64_t count, const Floats<T>& floats) {
  Pack<T> pack;
#pragma unroll
  for (int j = 0; j < Floats<T>::size; ++j) pack.at[j] = from_float<T>(floats.at[j]);
  store_pack<wide>(p, count, pack);
}

// p[0 .. 3] of four bytes each.
template <bool wide, class T>
DEV Pack<T> load_four(const T* p) {
  static_assert(sizeof(T) == 4);
  return load_pack<wide>(p, 4, T{});
}
template <bool wide, class T>
DEV void store_four(T* p, const Pack<T>& four) {
  static_assert(sizeof(T) == 4);
  store_pack<wide>(p, 4, four);
}
template <bool wide, class T>
DEV Pack<T> load_four(const T* p, int64_t count, T nothing) {
  static_assert(sizeof(T) == 4);
  return load_pack<wide>(p, count, nothing);
}
template <bool wide, class T>
DEV void store_four(T* p, int64_t count, const Pack<T>& four) {
  static_assert(sizeof(T) == 4);
  store_pack<wide>(p, count, four);
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
