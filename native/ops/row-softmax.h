// Row statistics of softmax(logits / temperature), shared by token-log-prob, logits-policy-loss and sample-tokens, so
// that a log-probability has the same bits in all three, whatever stands beside its row.
//
// Order: a row is cut into chunks of kRowChunk logits. In a chunk, y = (x - largest x of the chunk) log2(e) /
// temperature (a product with a float32 number), e = 2^y; the sums of e and of e y run in kSums vectors side by side,
// vector i in sum i mod kSums, then pairwise, then the lanes. Chunks are brought to the row's largest logit and added
// in float64, in ascending order.
//
// -infinity contributes nothing. NaN or +infinity anywhere, or nothing but -infinity, make every statistic NaN.
#pragma once

#include "../core/simd.h"

namespace luffy {
namespace LUFFY_BACKEND {

constexpr int64_t kRowChunk = 2048;

// 2^y is 0 in float32 here. Exponents are raised to it, so that no product 0 * infinity arises.
constexpr float kLowestExponent = -160.0f;
constexpr float kLowestFloat = -3.402823466e+38f;

struct RowChunk {
  float largest;  // logit
  float sum;      // of e = 2^y
  float moment;   // of e y
};

struct RowSoftmax {
  float largest;   // logit
  double sum;      // of exp((x - largest) / temperature)
  double log_sum;  // its logarithm: log q = (x - largest) / temperature - log_sum
  double entropy;
};

constexpr double kLog2OfE = 1.4426950408889634;
constexpr double kLogOf2 = 0.6931471805599453;

// The temperature as the kernels use it: by one float32 factor for every logit, exactly where one number is made.
struct Temperature {
  double exact;
  float factor;  // log2(e) / temperature
};

LUFFY_INLINE Temperature temperature_of(double temperature) {
  // A temperature near 0 must not make 0 * infinity out of the largest logit.
  const double factor = kLog2OfE / temperature;
  return {temperature, factor < 1e30 ? static_cast<float>(factor) : 1e30f};
}

LUFFY_INLINE int64_t row_chunks(int64_t columns) { return (columns + kRowChunk - 1) / kRowChunk; }

// y, lane by lane.
LUFFY_INLINE Vec exponent_of(Vec x, Vec largest, Vec factor) {
  return max(vec(kLowestExponent), mul(sub(x, largest), factor));
}

// 2^y for y from kLowestExponent to 0, or NaN. Error below 1.4 ulp; exactly 1 for 0. The polynomial was fitted to 2^f
// on [-1/2, 1/2] for the least relative error, its first coefficient held at 1.
LUFFY_INLINE Vec exp2_of(Vec y) {
  const Vec n = round_nearest(y);
  const Vec f = sub(y, n);
  Vec p = vec(1.32647266e-3f);
  p = fma(p, f, vec(9.67151268e-3f));
  p = fma(p, f, vec(5.55073374e-2f));
  p = fma(p, f, vec(0.240222421f));
  p = fma(p, f, vec(0.693146978f));
  p = fma(p, f, vec(1.0f));
  return scale_by_power_of_two(p, n);
}

// Statistics of n <= kRowChunk logits; with kKeep, e goes to `kept` (which may be x itself).
template <bool kKeep>
LUFFY_INLINE RowChunk chunk_softmax(const float* x, int n, Temperature temperature, float* kept) {
  constexpr int kSums = 4;
  constexpr int kStep = kSums * kLanes;
  const float nothing = -__builtin_inff();

  Vec largest[kSums];
  for (int k = 0; k < kSums; ++k) largest[k] = vec(nothing);
  int i = 0;
  for (; i + kStep <= n; i += kStep) {
    for (int k = 0; k < kSums; ++k) largest[k] = max(largest[k], load(x + i + k * kLanes));
  }
  for (; i + kLanes <= n; i += kLanes) largest[0] = max(largest[0], load(x + i));
  if (i < n) largest[0] = max(largest[0], load_first(x + i, n - i, nothing));
  RowChunk chunk;
  chunk.largest = reduce_max(max(max(largest[0], largest[1]), max(largest[2], largest[3])));
  if (chunk.largest < kLowestFloat) chunk.largest = kLowestFloat;

  const Vec factor = vec(temperature.factor);
  const Vec top = vec(chunk.largest);
  Vec sum[kSums], moment[kSums];
  for (int k = 0; k < kSums; ++k) sum[k] = moment[k] = vec(0.0f);
  for (i = 0; i + kStep <= n; i += kStep) {
    for (int k = 0; k < kSums; ++k) {
      // The next two chunks come from memory while this one is computed from the first-level cache.
      __builtin_prefetch(x + i + k * kLanes + kRowChunk);
      __builtin_prefetch(x + i + k * kLanes + 2 * kRowChunk, 0, 2);
      const Vec y = exponent_of(load(x + i + k * kLanes), top, factor);
      const Vec e = exp2_of(y);
      sum[k] = add(sum[k], e);
      moment[k] = fma(e, y, moment[k]);
      if (kKeep) store(kept + i + k * kLanes, e);
    }
  }
  for (int k = 0; i < n; ++k, i += kLanes) {
    const int count = n - i < kLanes ? n - i : kLanes;
    const Vec y = exponent_of(load_first(x + i, count, nothing), top, factor);
    const Vec e = exp2_of(y);
    sum[k] = add(sum[k], e);
    moment[k] = fma(e, y, moment[k]);
    if (kKeep) store_first(kept + i, e, count);
  }
  chunk.sum = reduce_add(add(add(sum[0], sum[1]), add(sum[2], sum[3])));
  chunk.moment = reduce_add(add(add(moment[0], moment[1]), add(moment[2], moment[3])));
  return chunk;
}

// What (x - largest) / temperature of a chunk lacks to be that of the row.
LUFFY_INLINE double chunk_shift(const RowChunk& chunk, float largest, Temperature temperature) {
  return (static_cast<double>(chunk.largest) - largest) / temperature.exact;
}

// Statistics of a row of any length; chunks[row_chunks(columns)] is filled.
template <bool kKeep>
LUFFY_INLINE RowSoftmax row_softmax(const float* x, int64_t columns, Temperature temperature, RowChunk* chunks,
                                    float* kept) {
  const int64_t count = row_chunks(columns);
  float largest = kLowestFloat;
  for (int64_t c = 0; c < count; ++c) {
    const int64_t begin = c * kRowChunk;
    const int n = static_cast<int>(columns - begin < kRowChunk ? columns - begin : kRowChunk);
    chunks[c] = chunk_softmax<kKeep>(x + begin, n, temperature, kKeep ? kept + begin : nullptr);
    if (chunks[c].largest > largest) largest = chunks[c].largest;
  }
  RowSoftmax row;
  row.largest = largest;
  row.sum = 0;
  double moment = 0;
  for (int64_t c = 0; c < count; ++c) {
    const double shift = chunk_shift(chunks[c], largest, temperature);
    const double scale = shift == 0 ? 1.0 : __builtin_exp(shift);
    row.sum += scale * chunks[c].sum;
    moment += scale * (kLogOf2 * chunks[c].moment + shift * chunks[c].sum);
  }
  if (!(row.sum > 0)) row.sum = __builtin_nan("");  // nothing but -infinity
  row.log_sum = __builtin_log(row.sum);
  row.entropy = row.log_sum - moment / row.sum;
  if (row.entropy < 0) row.entropy = 0;
  return row;
}

// Turns what row_softmax<true> kept into factor * q.
LUFFY_INLINE void scale_to_softmax(float* kept, int64_t columns, const RowSoftmax& row, const RowChunk* chunks,
                                   Temperature temperature, double factor) {
  for (int64_t c = 0; c < row_chunks(columns); ++c) {
    float* x = kept + c * kRowChunk;
    const int64_t n = columns - c * kRowChunk < kRowChunk ? columns - c * kRowChunk : kRowChunk;
    const double shift = chunk_shift(chunks[c], row.largest, temperature);
    const Vec scale = vec(static_cast<float>(factor / row.sum * __builtin_exp(shift)));
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(x + i, mul(load(x + i), scale));
    const int rest = static_cast<int>(n - i);
    if (rest > 0) store_first(x + i, mul(load_first(x + i, rest), scale), rest);
  }
}

// log q of a logit of the row.
LUFFY_INLINE double log_prob_of(const RowSoftmax& row, float x, Temperature temperature) {
  return (static_cast<double>(x) - row.largest) / temperature.exact - row.log_sum;
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
