// rope on CUDA: each thread four neighbouring pairs of a head. See rope.h.
//
// Bound by memory: x is read and written once, 8 bytes an element; the row's cosines and sines come from the cache for
// every head but the first. The bits are those of a processor with fused multiply-adds.
#include "rope.h"

#include <cinttypes>

#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

constexpr int kRopeBlock = 256;

// A position that is not in the tables gives NaN, and leaves a fault.
template <class T, bool wide>
KERNEL(kRopeBlock)
rope_kernel(T* x, int64_t stride, const int32_t* positions, const float* cosine, const float* sine, int64_t table_rows,
            int64_t rows, int64_t heads, int64_t half, float sign, FaultSink faults) {
  const auto fours = static_cast<uint32_t>(pieces_of(half, 4));
  for (GridPieces at(heads * fours); at.row < rows; at.next()) {
    const int64_t row = at.row;
    const auto place = static_cast<uint32_t>(at.piece);
    const uint32_t head = place / fours;
    const int64_t pair = 4 * (place - head * fours);
    const int64_t left = half - pair;
    const int64_t position = ld(positions + row);
    T* p = x + row * stride + int64_t{head} * 2 * half + pair;
    Pack<float> first{{NAN, NAN, NAN, NAN}};
    Pack<float> second = first;
    if (position >= 0 && position < table_rows) {
      const auto c = load_four<wide>(cosine + position * half + pair, left, 0.0f);
      const auto s = load_four<wide>(sine + position * half + pair, left, 0.0f);
      first = load_four<wide>(p, left, 0.0f);
      second = load_four<wide>(p + half, left, 0.0f);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        // The sign turns the angle round: exact, so the inverse is the transpose to the bit.
        const float turn = s.at[j] * sign;
        const float rotated = fmaf(-second.at[j], turn, first.at[j] * c.at[j]);
        second.at[j] = fmaf(first.at[j], turn, second.at[j] * c.at[j]);
        first.at[j] = rotated;
      }
    } else if (place == 0) {
      leave_fault(faults, FaultKind::index, row, static_cast<int32_t>(position), table_rows);
    }
    store_four<wide>(p, left, first);
    store_four<wide>(p + half, left, second);
  }
}

void rope(Context& context, Tensor x, Tensor positions, Tensor cosine, Tensor sine, bool inverse) {
  check_rows("rope", "x", x, activation_dtype(x), -1, -1);
  check_vector("rope", "positions", positions, DType::i32, x.shape[0]);
  check_matrix("rope", "cosine", cosine, DType::f32, -1, -1);
  check_matrix("rope", "sine", sine, DType::f32, cosine.shape[0], cosine.shape[1]);
  const int64_t half = cosine.shape[1];
  LUFFY_CHECK(half > 0 && x.shape[1] % (2 * half) == 0,
              "rope: rows of %" PRId64 " numbers are no whole heads of 2 * %" PRId64, x.shape[1], half);
  if (x.size() == 0) return;

  const int64_t heads = x.shape[1] / (2 * half);
  const bool wide = half % 4 == 0 && rows_aligned(x) && rows_aligned(cosine) && rows_aligned(sine);
  const int64_t items = x.shape[0] * heads * pieces_of(half, 4);
  const Launch how(dim3(blocks_for(items, kRopeBlock)), dim3(kRopeBlock), 0, stream_of(context));
  for_activation(x.dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      kernel(how, static_cast<T*>(x.data), x.row_stride, static_cast<const int32_t*>(positions.i32()),
             static_cast<const float*>(cosine.f32()), static_cast<const float*>(sine.f32()), cosine.shape[0],
             x.shape[0], heads, half, inverse ? -1.0f : 1.0f, context.fault_sink(FaultOp::rope));
    };
    if (wide) {
      run([](auto... arguments) { launch<rope_kernel<T, true>>(arguments...); });
    } else {
      run([](auto... arguments) { launch<rope_kernel<T, false>>(arguments...); });
    }
  });
}

}  // namespace cuda
}  // namespace luffy
