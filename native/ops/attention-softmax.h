// attention-softmax: the online softmax over one block of keys, the only place where attention's output is computed.
// attention and attention-decode both walk their blocks through it, which is what makes them agree bit for bit.
// Private to attention.cpp and attention-decode.cpp.
#pragma once

#include "attention-tile.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Up to kTileRows queries that meet the same block of keys, and what they carry from block to block.
struct AttentionRows {
  const float* q;  // row r at q + r * q_stride
  int64_t q_stride;
  float* out;  // sum of exp(score - maximum) * value so far
  int64_t out_stride;
  float* maximum;    // [rows]: the largest score so far
  float* lane_sums;  // [rows][kLanes]: sums of exp(score - maximum); lane l holds the positions that are l mod kLanes
};

// The softmax's part of a block: scores[R][64] become exp(score - maximum), zero where masked. Row r sees visible +
// step * r keys, all of them ending in the same key group, the last of Groups. factors: what the rows' older sums are
// worth under the new maximum.
template <int R, int Groups>
LUFFY_INLINE void softmax_block(const AttentionRows& rows, float* scores, int visible, int step, bool first,
                                float* factors) {
  constexpr int kVectors = Groups * kKeyGroup / kLanes;
  constexpr int kOpen = (Groups - 1) * kKeyGroup / kLanes;
  const float infinity = __builtin_inff();
  alignas(64) float drop[kLanes] = {};
  for (int r = 0; r < R; ++r) {
    float* s = scores + r * kAttentionBlock;
    const int seen = visible + step * r;
    Vec top = vec(-infinity);
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      Vec x = load(s + v * kLanes);
      if (v >= kOpen) {
        x = keep_first(x, larger(0, smaller(kLanes, seen - v * kLanes)), -infinity);
        store(s + v * kLanes, x);
      }
      top = max(top, x);
    }
    const float old = first ? -infinity : rows.maximum[r];
    const float now = larger(old, reduce_max(top));
    drop[r] = old - now;
    rows.maximum[r] = now;
  }
  store(factors, exp(load(drop)));
  for (int r = 0; r < R; ++r) {
    float* s = scores + r * kAttentionBlock;
    const Vec top = vec(rows.maximum[r]);
    Vec sum = vec(0.0f);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const Vec p = exp(sub(load(s + v * kLanes), top));
      store(s + v * kLanes, p);
      sum = add(sum, p);
    }
    float* lane_sums = rows.lane_sums + r * kLanes;
    store(lane_sums, first ? sum : fma(load(lane_sums), vec(factors[r]), sum));
  }
}

// Adds one block to R rows. keys[4][dim][16] stand transposed, whole groups of kKeyGroup of them up to the last key seen;
// row r sees the block's first `visible + step * r` keys (at least one, at most 64; step 0: as many for every row, step 1:
// the rows are queries in a row, of one aligned tile). first: the block is the rows' first, and nothing of their state
// is read. next_keys, next_values: what to ask for meanwhile.
template <int R, class Ahead = NoFetch>
LUFFY_INLINE void attend_block(const AttentionRows& rows, int dim, float scale, const float* keys, const float* values,
                               int64_t value_stride, int visible, int step, bool first, Ahead next_keys = Ahead(),
                               Ahead next_values = Ahead()) {
  alignas(64) float scores[R * kAttentionBlock];
  alignas(64) float factors[kLanes];
  const int most = smaller(kAttentionBlock, visible + step * (R - 1));
  const int groups = (most + kKeyGroup - 1) / kKeyGroup;
  key_product<R>(dim, rows.q, rows.q_stride, keys, groups * kKeyGroup, scale, scores, next_keys);
  switch (groups) {
    case 1:
      softmax_block<R, 1>(rows, scores, visible, step, first, factors);
      break;
    case 2:
      softmax_block<R, 2>(rows, scores, visible, step, first, factors);
      break;
    case 3:
      softmax_block<R, 3>(rows, scores, visible, step, first, factors);
      break;
    default:
      softmax_block<R, 4>(rows, scores, visible, step, first, factors);
      break;
  }
  value_product<R>(visible, most - visible, scores, values, value_stride, dim, first, factors, rows.out,
                   rows.out_stride, next_values);
}

// ln x for normal x > 0; not finite when x is not. In plain loops over it the compiler makes vectors of it.
LUFFY_INLINE float log_of(float x) {
  // x = m * 2^n with m from sqrt(1/2) to sqrt(2); then Cephes' polynomial in m - 1.
  int32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  const int32_t n = (bits - 0x3f3504f3) >> 23;
  bits -= n * (1 << 23);
  float m;
  std::memcpy(&m, &bits, sizeof m);
  const float f = m - 1.0f;
  const float z = f * f;
  float p = 7.0376836292e-2f;
  p = p * f - 1.1514610310e-1f;
  p = p * f + 1.1676998740e-1f;
  p = p * f - 1.2420140846e-1f;
  p = p * f + 1.4249322787e-1f;
  p = p * f - 1.6668057665e-1f;
  p = p * f + 2.0000714765e-1f;
  p = p * f - 2.4999993993e-1f;
  p = p * f + 3.3333331174e-1f;
  const float e = static_cast<float>(n);
  p = p * f * z + e * -2.12194440e-4f - 0.5f * z;
  return f + p + e * 0.693359375f + (x - x);
}

// After the last block: divides by the sums. lse (where given, else null): the logs of the softmaxes' normalisers.
template <int R>
LUFFY_INLINE void finish_rows(const AttentionRows& rows, int dim, float* lse, int64_t lse_stride) {
  float sums[R], inverses[R], logs[R];
  for (int r = 0; r < R; ++r) sums[r] = reduce_add(load(rows.lane_sums + r * kLanes));
  for (int r = 0; r < R; ++r) inverses[r] = 1.0f / sums[r];
  for (int r = 0; r < R; ++r) {
    float* out = rows.out + r * rows.out_stride;
    const Vec inverse = vec(inverses[r]);
    int d = 0;
    for (; d + kLanes <= dim; d += kLanes) store(out + d, mul(load(out + d), inverse));
    if (d < dim) store_first(out + d, mul(load_first(out + d, dim - d), inverse), dim - d);
  }
  if (lse == nullptr) return;
  for (int r = 0; r < R; ++r) logs[r] = log_of(sums[r]) + rows.maximum[r];
  for (int r = 0; r < R; ++r) lse[r * lse_stride] = logs[r];
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
