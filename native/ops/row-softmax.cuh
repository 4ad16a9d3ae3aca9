// Row statistics of softmax(logits / temperature) on CUDA: what row-softmax.h is on the CPU. One block takes a row; the
// number of threads, and which logits a thread has, follow from the row's length alone, so a log-probability has the
// same bits in every kernel that uses this, whatever stands beside its row and however it is aligned.
//
// A thread walks over its logits once with a running maximum: y = (x - largest) log2(e) / temperature, sums of 2^y and
// of 2^y y in float32, brought to a new maximum when one comes. The block's sums are float64, pairwise.
//
// -infinity contributes nothing. NaN or +infinity anywhere, or nothing but -infinity, make every statistic NaN.
#pragma once

#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

// Threads of a row: a warp for short ones.
constexpr int kRowBlock = 512;
constexpr int64_t kShortRow = 1024;

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

// One value of each kind for each warp.
struct RowScratch {
  float largest[kRowBlock / 32];
  double sum[kRowBlock / 32];
  double moment[kRowBlock / 32];
};

// Brings the parts of the block's threads together; every thread calls it and receives the row. The scratch may be used
// again after the next barrier.
template <int threads>
DEV RowStatistics join_parts(const RowPart& part, double temperature, RowScratch* scratch) {
  constexpr int warps = threads / 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  RowStatistics row;
  row.largest = warp_max(part.largest);
  if constexpr (warps > 1) {
    if (threadIdx.x % 32 == 0) scratch->largest[warp] = row.largest;
    __syncthreads();
    row.largest = scratch->largest[0];
    for (int i = 1; i < warps; ++i) row.largest = fmaxf(row.largest, scratch->largest[i]);
  }
  // Beyond this exp is 0; a thread without logits is as far below as floats go.
  double shift = (static_cast<double>(part.largest) - row.largest) / temperature;
  if (shift < -2000.0) shift = -2000.0;
  const double scale = shift == 0 ? 1.0 : exp(shift);
  row.sum = scale * part.sum;
  row.moment = scale * (0.6931471805599453 * part.moment + shift * part.sum);
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    row.sum += __shfl_xor_sync(kFullWarp, row.sum, lanes);
    row.moment += __shfl_xor_sync(kFullWarp, row.moment, lanes);
  }
  if constexpr (warps > 1) {
    if (threadIdx.x % 32 == 0) {
      scratch->sum[warp] = row.sum;
      scratch->moment[warp] = row.moment;
    }
    __syncthreads();
    row.sum = row.moment = 0;
    for (int i = 0; i < warps; ++i) {
      row.sum += scratch->sum[i];
      row.moment += scratch->moment[i];
    }
  }
  if (!(row.sum > 0)) row.sum = NAN;  // nothing but -infinity
  return row;
}

// Statistics of x[columns] by a block of `threads`. Thread t has the logits 4 (t + threads k) and the three after it.
template <int threads, bool wide, class T>
DEV RowStatistics row_statistics(const T* x, int64_t columns, double temperature, float factor, RowScratch* scratch) {
  constexpr int fours = 4;
  constexpr int64_t step = 4 * threads;
  RowPart part;
  int64_t i = 4 * static_cast<int64_t>(threadIdx.x);
  int64_t begin = 0;
  for (; begin + fours * step <= columns; begin += fours * step, i += fours * step) {
    Pack<float> several[fours];
#pragma unroll
    for (int k = 0; k < fours; ++k) several[k] = load_four<wide>(x + i + k * step);
    add_to_part(part, several, factor);
  }
  for (; i < columns; i += step) {
    const Pack<float> one[1] = {load_four<wide>(x + i, columns - i, -INFINITY)};
    add_to_part(part, one, factor);
  }
  return join_parts<threads>(part, temperature, scratch);
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
