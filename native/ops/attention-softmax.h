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

// Adds one block to R rows. keys[dim][64] stand transposed, up to the next multiple of kKeyGroup of the keys seen; row
// r sees the block's first `visible + step * r` keys (at least one, at most 64; step 0: as many for every row, step 1:
// the rows are queries in a row). first: the block is the rows' first, and nothing of their state is read.
template <int R>
LUFFY_INLINE void attend_block(const AttentionRows& rows, int dim, float scale, const float* keys, const float* values,
                               int64_t value_stride, int visible, int step, bool first) {
  alignas(64) float scores[R * kAttentionBlock];
  const int most = smaller(kAttentionBlock, visible + step * (R - 1));
  const int columns = (most + kKeyGroup - 1) / kKeyGroup * kKeyGroup;
  key_product<R>(dim, rows.q, rows.q_stride, keys, columns, scale, scores);

  const float infinity = __builtin_inff();
  alignas(64) float drop[kLanes] = {};
  alignas(64) float factors[kLanes];
  for (int r = 0; r < R; ++r) {
    float* s = scores + r * kAttentionBlock;
    const int n = smaller(kAttentionBlock, visible + step * r);
    Vec top = vec(-infinity);
    int j = 0;
    for (; j + kLanes <= n; j += kLanes) top = max(top, load(s + j));
    if (j < n) {
      const Vec masked = keep_first(load(s + j), n - j, -infinity);
      store(s + j, masked);
      top = max(top, masked);
    }
    const float old = first ? -infinity : rows.maximum[r];
    const float now = larger(old, reduce_max(top));
    drop[r] = old - now;
    rows.maximum[r] = now;
  }
  store(factors, exp(load(drop)));

  for (int r = 0; r < R; ++r) {
    float* s = scores + r * kAttentionBlock;
    const int n = smaller(kAttentionBlock, visible + step * r);
    const Vec top = vec(rows.maximum[r]);
    Vec sum = vec(0.0f);
    for (int j = 0; j < n; j += kLanes) {
      const Vec p = exp(sub(load(s + j), top));
      store(s + j, p);
      sum = add(sum, p);
    }
    float* lane_sums = rows.lane_sums + r * kLanes;
    store(lane_sums, first ? sum : fma(load(lane_sums), vec(factors[r]), sum));
  }

  value_product<R>(smaller(kAttentionBlock, visible), most - smaller(kAttentionBlock, visible), scores, values,
                   value_stride, dim, first, factors, rows.out, rows.out_stride);
}

// After the last block: divides by the sum, and gives the log of the softmax's normaliser.
LUFFY_INLINE float finish_row(float* out, int dim, float maximum, const float* lane_sums) {
  const float sum = reduce_add(load(lane_sums));
  const Vec inverse = vec(1.0f / sum);
  int d = 0;
  for (; d + kLanes <= dim; d += kLanes) store(out + d, mul(load(out + d), inverse));
  if (d < dim) store_first(out + d, mul(load_first(out + d, dim - d), inverse), dim - d);
  return maximum + __builtin_logf(sum);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
