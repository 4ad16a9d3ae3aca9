// Row statistics of softmax(logits / temperature) on CUDA: what row-softmax.h is on the CPU. Which logits a thread has,
// and the order of all sums, follow from the row's length alone, so a log-probability has the same bits in every kernel
// that uses this, whatever stands beside its row and however it is aligned.
//
// A long row is cut into eight segments. A block of threads takes them one after the other, or the blocks of a cluster
// share them (logits-policy-loss): the sums go from thread to warp, segment and row either way.
//
// A thread walks over its logits of a segment once with a running maximum: y = (x - largest) log2(e) / temperature, sums
// of 2^y and of 2^y y in float32, brought to a new maximum when one comes. Sums over threads are float64, pairwise.
//
// -infinity contributes nothing. NaN or +infinity anywhere, or nothing but -infinity, make every statistic NaN.
#pragma once

#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

// Threads of a segment; a warp takes a short row whole.
constexpr int kRowBlock = 512;
constexpr int64_t kShortRow = 1024;

// Rows from this length on have kRowSegments segments, others one.
constexpr int64_t kSegmentedRow = 16384;
constexpr int kRowSegments = 8;

HOST_DEV int row_segments(int64_t columns) { return columns < kSegmentedRow ? 1 : kRowSegments; }
// Of all segments but the last, which is shorter; each begins at a multiple of eight columns.
HOST_DEV int64_t segment_columns(int64_t columns) {
  const int64_t share = columns < kSegmentedRow ? columns : (columns + kRowSegments - 1) / kRowSegments;
  return (share + 7) / 8 * 8;
}

// 2^y is 0 in float32 here. Exponents are raised to it, so that no product 0 * infinity arises.
constexpr float kLeastExponent = -160.0f;
constexpr float kLeastFloat = -3.402823466e+38f;

struct RowTemperature {
  double exact;
  float factor;  // log2(e) / temperature
};

static inline RowTemperature row_temperature(double temperature) {
  // A temperature near 0 must not make 0 * infinity out of the largest logit.
  const double factor = 1.4426950408889634 / temperature;
  return {temperature, factor < 1e30 ? static_cast<float>(factor) : 1e30f};
}

struct RowStatistics {
  float largest;  // logit
  double sum;     // of q exp(log_sum) = exp((x - largest) / temperature)
  double moment;  // of the same times (x - largest) / temperature
};

// (x - largest) log2(e) / temperature. NaN stays NaN, which fmaxf would lose.
DEV float row_exponent(float x, float largest, float factor) {
  const float y = (x - largest) * factor;
  return y < kLeastExponent ? kLeastExponent : y;
}

DEV double row_log_sum(const RowStatistics& row) { return log(row.sum); }
DEV double row_entropy(const RowStatistics& row) {
  const double entropy = log(row.sum) - row.moment / row.sum;
  return entropy < 0 ? 0.0 : entropy;
}
// log q of a logit of the row.
DEV double row_log_prob(const RowStatistics& row, float x, double temperature) {
  return (static_cast<double>(x) - row.largest) / temperature - row_log_sum(row);
}

// What one thread knows of its logits.
struct RowPart {
  float largest = kLeastFloat;
  float sum = 0.0f;     // of 2^y
  float moment = 0.0f;  // of 2^y y
};

template <int fours>
DEV void add_to_part(RowPart& part, const Pack<float> (&x)[fours], float factor) {
  float top = x[0].at[0];
#pragma unroll
  for (int k = 0; k < fours; ++k) {
#pragma unroll
    for (int j = 0; j < 4; ++j) top = fmaxf(top, x[k].at[j]);
  }
  if (top > part.largest) {
    const float shift = row_exponent(part.largest, top, factor);
    const float scale = exp2f(shift);
    part.moment = scale * fmaf(shift, part.sum, part.moment);
    part.sum *= scale;
    part.largest = top;
  }
#pragma unroll
  for (int k = 0; k < fours; ++k) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float y = row_exponent(x[k].at[j], part.largest, factor);
      const float e = exp2f(y);
      part.sum += e;
      part.moment = fmaf(e, y, part.moment);
    }
  }
}

// What a thread of a block of `threads` finds in the columns [begin, end) of a row: it has 4 (t + threads k) from begin on
// and the three after. load(i) gives four logits from column i, load(i, left) those of them that are among the `left`
// that there are (perhaps none), and -infinity.
template <int threads, class Load>
DEV RowPart segment_part(int64_t begin, int64_t end, float factor, Load&& load) {
  constexpr int64_t step = 4 * threads;
  RowPart part;
  int64_t i = begin + 4 * static_cast<int64_t>(threadIdx.x);
  for (; begin + 4 * step <= end; begin += 4 * step, i += 4 * step) {
    const Pack<float> fours[4] = {load(i), load(i + step), load(i + 2 * step), load(i + 3 * step)};
    add_to_part(part, fours, factor);
  }
  for (; begin < end; begin += 2 * step, i += 2 * step) {
    const Pack<float> fours[2] = {load(i, end - i), load(i + step, end - i - step)};
    add_to_part(part, fours, factor);
  }
  return part;
}

// A part of a row, brought together from several threads.
struct RowPiece {
  float largest;  // logit
  double sum;     // of exp((x - largest) / temperature)
  double moment;  // of the same times (x - largest) / temperature
};

// Sums over `lanes` neighbouring lanes, to all of them. The products before are rounded by themselves (__dmul_rn): fused
// with the first sum, the two lanes of a pair would get different bits.
DEV void add_over_lanes(RowPiece& piece, int lanes) {
  for (int apart = lanes / 2; apart > 0; apart /= 2) {
    piece.sum += __shfl_xor_sync(kFullWarp, piece.sum, apart);
    piece.moment += __shfl_xor_sync(kFullWarp, piece.moment, apart);
  }
}

// Every lane of the warp calls it and receives the warp's piece.
DEV RowPiece warp_piece(const RowPart& part, float factor) {
  RowPiece piece;
  piece.largest = warp_max(part.largest);
  const float shift = row_exponent(part.largest, piece.largest, factor);
  const float scale = exp2f(shift);
  piece.sum = __fmul_rn(scale, part.sum);
  piece.moment = __dmul_rn(0.6931471805599453, __fmul_rn(scale, fmaf(shift, part.sum, part.moment)));
  add_over_lanes(piece, 32);
  return piece;
}

// The piece that `count` neighbouring lanes have together; count is a power of two, and every lane of the warp calls it.
DEV RowPiece join_pieces(const RowPiece& mine, int count, double temperature) {
  RowPiece piece;
  piece.largest = mine.largest;
  for (int apart = count / 2; apart > 0; apart /= 2)
    piece.largest = fmaxf(piece.largest, __shfl_xor_sync(kFullWarp, piece.largest, apart));
  // Beyond this exp is 0; a piece of nothing but -infinity is as far below as floats go.
  double shift = (static_cast<double>(mine.largest) - piece.largest) / temperature;
  if (shift < -2000.0) shift = -2000.0;
  const double scale = shift == 0 ? 1.0 : exp(shift);
  piece.sum = __dmul_rn(scale, mine.sum);
  piece.moment = __dmul_rn(scale, fma(shift, mine.sum, mine.moment));
  add_over_lanes(piece, count);
  return piece;
}

DEV RowStatistics statistics_of(const RowPiece& row) {
  return {row.largest, row.sum > 0 ? row.sum : static_cast<double>(NAN), row.moment};
}

// What the warps of a block leave for each other; a warp alone needs nothing.
template <int threads>
struct RowScratch {
  RowPiece warps[kRowSegments][threads / 32];
  RowPiece segments[kRowSegments];
};
template <>
struct RowScratch<32> {};

// After the warps' pieces of `count` segments and a barrier: makes the pieces of the segments.
template <int threads>
DEV void join_warps(RowScratch<threads>* scratch, int count, double temperature) {
  constexpr int warps = threads / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int segment = static_cast<int>(threadIdx.x) / 32;
  static_assert(warps >= kRowSegments && warps <= 32);
  if (segment >= count) return;
  const RowPiece piece = join_pieces(scratch->warps[segment][lane % warps], warps, temperature);
  if (lane == 0) scratch->segments[segment] = piece;
}

// Statistics of x[columns] by a block of `threads`; every thread receives them. The scratch may be used again after the
// next barrier.
template <int threads, bool wide, class T>
DEV RowStatistics row_statistics(const T* x, int64_t columns, double temperature, float factor,
                                 RowScratch<threads>* scratch) {
  struct Load {
    const T* x;
    DEV Pack<float> operator()(int64_t i) const { return load_four<wide>(x + i); }
    DEV Pack<float> operator()(int64_t i, int64_t left) const { return load_four<wide>(x + i, left, -INFINITY); }
  };
  const Load load{x};
  if constexpr (threads == 32) {
    return statistics_of(warp_piece(segment_part<threads>(0, columns, factor, load), factor));
  } else {
    const int segments = row_segments(columns);
    const int64_t length = segment_columns(columns);
    for (int s = 0; s < segments; ++s) {
      const int64_t begin = s * length;
      const RowPiece piece =
          warp_piece(segment_part<threads>(begin, min(begin + length, columns), factor, load), factor);
      if (threadIdx.x % 32 == 0) scratch->warps[s][threadIdx.x / 32] = piece;
    }
    __syncthreads();
    join_warps(scratch, segments, temperature);
    __syncthreads();
    const int lane = static_cast<int>(threadIdx.x) % 32;
    return statistics_of(join_pieces(scratch->segments[lane % segments], segments, temperature));
  }
}

// run(threads, wide) with both as constants: the threads of a row of this length are the same in every kernel.
template <class Run>
static inline void for_row_kernel(int64_t columns, bool wide, Run&& run) {
  using Short = std::integral_constant<int, 32>;
  using Long = std::integral_constant<int, kRowBlock>;
  if (columns <= kShortRow && wide) return run(Short(), std::true_type());
  if (columns <= kShortRow) return run(Short(), std::false_type());
  if (wide) return run(Long(), std::true_type());
  run(Long(), std::false_type());
}

}  // namespace cuda
}  // namespace luffy
