// attention-operands: how tiles of queries and keys come from the arguments of attention's float32 kernels. Private to
// attention.
#pragma once

#include "attention-arguments.cuh"
#include "attention-product.cuh"

namespace luffy {
namespace cuda {

// Up to four neighbouring columns, those below `width`.
template <bool wide>
DEV void store_columns(float* to, const Pack<float>& x, int column, int width) {
  if constexpr (wide) {
    if (column < width) st128(to + column, x);
  } else {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if (column + c < width) st(to + column + c, x.at[c]);
    }
  }
}

// A tile of queries and where its threads' rows stand: positions [base, base + 64), of which [low, high) are own ones.
struct QueryTile {
  PlannedSequence s;
  int32_t sequence;
  int64_t base;
  int low, high;
  int64_t blocks;  // of keys, the last at `base`
};
DEV QueryTile query_tile(const AttentionPlan& plan, int64_t index) {
  QueryTile t;
  t.sequence = sequence_of_tile(plan.query_tiles, plan.count, index);
  t.s = plan.sequences[t.sequence];
  // A sequence's last queries, which see most keys, come first.
  const int64_t place = plan.query_tiles[t.sequence + 1] - 1 - index + t.s.prefix_length / kAttentionBlock;
  t.base = place * kAttentionBlock;
  t.low = static_cast<int>(max(int64_t{t.s.prefix_length} - t.base, int64_t{0}));
  t.high = static_cast<int>(min(t.s.positions() - t.base, int64_t{kAttentionBlock}));
  t.blocks = place + 1;
  return t;
}

// Slice `slice` of the tile's rows of q or gradOut.
template <int threads, bool wide>
DEV void load_queries(float* to, const QueryTile& t, const HeadRows& from, int head, int dim, int slice) {
  const int64_t column = int64_t{head} * dim + slice * kAttentionBlock;
  load_tile<threads, wide>(to, min(dim - slice * kAttentionBlock, kAttentionBlock), from.data, [&](int r) {
    return r >= t.low && r < t.high ? from.at(t.s.row(t.base + r), column) : nullptr;
  });
}

// Slice `slice` of a block of keys or values, as the tile's last query sees it.
template <int threads, bool wide>
DEV void load_keys(float* to, const QueryTile& t, const HeadRows& from, int group, int dim, int64_t block, int slice) {
  const int64_t column = int64_t{group} * dim + slice * kAttentionBlock;
  const int64_t base = block * kAttentionBlock;
  const int count = block + 1 == t.blocks ? t.high : kAttentionBlock;
  load_tile<threads, wide>(to, min(dim - slice * kAttentionBlock, kAttentionBlock), from.data,
                           [&](int r) { return r < count ? from.at(t.s.row(base + r), column) : nullptr; });
}

}  // namespace cuda
}  // namespace luffy
