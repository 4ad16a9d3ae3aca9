// attention-operands: the arguments of attention's kernels, and how tiles of queries and keys come from them. Private to
// attention.
#pragma once

#include "attention-plan.cuh"
#include "attention-product.cuh"

namespace luffy {
namespace cuda {

// A matrix [T, heads * D], its rows `stride` floats apart.
struct HeadRows {
  float* data;
  int64_t stride;
  DEV float* at(int64_t row, int64_t column) const { return data + row * stride + column; }
};

struct AttentionArguments {
  AttentionPlan plan;
  HeadRows q, k, v, out, grad_out, grad_q, grad_k, grad_v;
  float* lse;    // [T, H]; forward: may be null
  float* delta;  // [T, H]: sum over d of gradOut * out
  int heads, per_group, dim;
  float scale;
};

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

// NaN for the own rows of a sequence that breaks the contract, rows [begin, begin + count), columns of one head.
DEV void spoil_rows(const AttentionPlan& plan, int32_t sequence, const HeadRows& t, int64_t begin, int64_t count,
                    int64_t column, int width) {
  for (int64_t i = threadIdx.x; i < count * width; i += blockDim.x) {
    const int64_t row = begin + i / width;
    if (plan.owner[row] == sequence) st(t.at(row, column + i % width), __uint_as_float(0x7fc00000u));
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
