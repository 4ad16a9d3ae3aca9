// attention-mma: what attention does with a block of kAttentionBlock keys in bfloat16, on the tensor cores. attention and
// attention-decode both compute their output by these, which makes them agree bit for bit.
//
// A block stands for itself: its scores (each a chain of m16n8k16 over d, ascending, then * scale * log2 e), the largest
// of those that the query sees, weights 2^(score - largest), their total in float32 (a lane of four adds its 16 in pairs,
// ascending; then lanes 1 and 2 apart), and for every d the chain over chunks of 16 keys, ascending, from 0, of the weights
// rounded to bfloat16. Blocks are merged in ascending order into a segment of kSegmentBlocks, segments into a row's state.
// So segments may be computed in any order, by anyone. Of a block only the chunks up to a query's last key are multiplied.
//
// Sixteen rows (queries, or the query heads of one key) are a warp's: a lane holds parts of rows lane / 4 and lane / 4 + 8.
// In shared memory runs of 16 bytes are permuted within a row, so that the eight that ldmatrix reads lie in different banks.
#pragma once

#include "attention-block.cuh"

namespace luffy {
namespace cuda {

constexpr int kChunkKeys = 16;
constexpr int kBlockChunks = kAttentionBlock / kChunkKeys;
constexpr int kBlockParts = kAttentionBlock / 8;  // 8 keys each, as the tensor cores hand out scores
constexpr int kSegmentBlocks = 4;
constexpr int kSegmentKeys = kSegmentBlocks * kAttentionBlock;
constexpr float kLn2 = 0.693147181f;

// Scores are powers of 2.
static inline float scale_of_powers(double scale) { return static_cast<float>(scale * 1.4426950408889634); }

// ---- tiles in shared memory: rows of `width` elements, a multiple of 64

template <int width>
DEV int tile_place(int row, int run) {
  return (row * (width / 8) + (run ^ (row & 7))) * 8;
}

// Where a lane of ldmatrix reads: row `row` and, of every 16 columns, those from 0 or (half: 1) from 8 on; and the same from
// column `column` on, a multiple of 16. In this form few addresses serve all columns.
template <int width>
DEV int lane_place(int row, int half) {
  return tile_place<width>(row, half);
}
DEV int at_column(int place, int column) { return (place ^ column % 64) + column / 64 * 64; }

// Columns that are multiplied: whole steps of 16, zero from dim on.
HOST_DEV constexpr int padded_dim(int dim) { return (dim + 15) / 16 * 16; }

// Copies `rows` rows of `dim` columns: row r from row(r), zeros where that is null. aligned: rows begin at multiples of 16
// bytes, dim is a multiple of 8, and cp.async brings them: they are there after commit, wait and a barrier. `any`: an
// address that can be read.
template <int threads, int rows, int width, class Row>
DEV void load_half_tile(bf16* tile, int dim, bool aligned, const bf16* any, Row&& row) {
  constexpr int kRuns = width / 8;
  constexpr int kRows = threads / kRuns;
  static_assert(threads % kRuns == 0 && rows % kRows == 0);
  const int run = static_cast<int>(threadIdx.x) % kRuns;
  const int column = run * 8;
  if (column >= padded_dim(dim)) return;
  const int valid = min(dim - column, 8);
  if (aligned) {
#pragma unroll 2
    for (int r = static_cast<int>(threadIdx.x) / kRuns; r < rows; r += kRows) {
      const bf16* const from = row(r);
      const bool there = from != nullptr && valid > 0;
      cp_async16(tile + tile_place<width>(r, run), there ? from + column : any, there ? 16 : 0);
    }
  } else {
#pragma unroll 1
    for (int r = static_cast<int>(threadIdx.x) / kRuns; r < rows; r += kRows) {
      const bf16* const from = row(r);
      Pack<bf16> pack;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        pack.at[j] = from != nullptr && j < valid ? ld(from + column + j) : from_float<bf16>(0.0f);
      }
      st128(tile + tile_place<width>(r, run), pack);
    }
  }
}

// ---- products

// Dimensions [k, k + 16) of 16 rows of queries.
template <int width>
DEV void load_query_fragment(uint32_t (&a)[4], const bf16* queries, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ldmatrix<4>(a, queries + at_column(lane_place<width>(lane % 16, lane / 16), k));
}

// score += queries * 16 keys over these dimensions: keys 0 to 7 and 8 to 15.
template <int width>
DEV void multiply_keys(float (&first)[4], float (&second)[4], const uint32_t (&a)[4], const bf16* keys, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint32_t b[4];
  ldmatrix<4>(b, keys + at_column(lane_place<width>(lane / 16 * 8 + lane % 8, lane / 8 % 2), k));
  const uint32_t low[2] = {b[0], b[1]};
  const uint32_t high[2] = {b[2], b[3]};
  mma_m16n8k16_bf16(first, a, low, first);
  mma_m16n8k16_bf16(second, a, high, second);
}

DEV bool has_no_number(uint32_t pair) { return (pair & 0x7f80u) == 0x7f80u || (pair & 0x7f800000u) == 0x7f800000u; }

// sum += weights * 16 keys' values, where row r sees keys 0 to r alone: what it does not see is not even multiplied by
// zero, so that an infinity or a NaN stays there. values: as ldmatrix hands them out, 8 columns.
DEV void multiply_seen_values(float (&sum)[4], const uint32_t (&weights)[4], const uint32_t (&values)[2]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
  for (int r = 0; r < kChunkKeys; ++r) {
    uint32_t seen[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int key = lane % 4 * 2 + 8 * i;
      seen[i] = values[i] & ((key <= r ? 0xffffu : 0u) | (key < r ? 0xffff0000u : 0u));
    }
    float all[4];
    mma_m16n8k16_bf16(all, weights, seen, sum);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (lane / 4 + e / 2 * 8 == r) sum[e] = all[e];
    }
  }
}

// sums += weights * the values of 16 keys: 8 * parts columns from `first` on (a multiple of 16), of which `left` are there.
// diagonal: row r sees keys 0 to r.
template <int width, int parts, bool diagonal>
DEV void multiply_values(float (&sums)[parts][4], const uint32_t (&weights)[4], const bf16* values, int first,
                         int left) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int part = 0; part < parts; part += 2) {
    if (part * 8 >= left) break;
    uint32_t b[4];
    ldmatrix<4, true>(b, values + at_column(lane_place<width>(lane % 16, lane / 16), first + part * 8));
    const uint32_t low[2] = {b[0], b[1]};
    const uint32_t high[2] = {b[2], b[3]};
    if constexpr (diagonal) {
      bool odd = false;
#pragma unroll
      for (int i = 0; i < 4; ++i) odd = odd || has_no_number(b[i]);
      if (__any_sync(kFullWarp, odd ? 1 : 0) != 0) {
        multiply_seen_values(sums[part], weights, low);
        multiply_seen_values(sums[part + 1], weights, high);
        continue;
      }
    }
    mma_m16n8k16_bf16(sums[part], weights, low, sums[part]);
    mma_m16n8k16_bf16(sums[part + 1], weights, high, sums[part + 1]);
  }
}

// ---- softmax

// Of a lane's two rows: the largest score in powers of 2, and the total of the weights beside it.
struct HalfState {
  float largest[2], total[2];
};

// A block's scores become its state and its weights, chunk by chunk as the tensor cores take them. masked: the lane's
// rows see the first `first` and `second` keys, at least one; else all.
template <bool masked>
DEV HalfState weigh_scores(uint32_t (&weights)[kBlockChunks][4], float (&score)[kBlockParts][4], float scale, int first,
                           int second) {
  const int column = static_cast<int>(threadIdx.x) % 4 * 2;
  HalfState state;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int visible = i == 0 ? first : second;
    float top = kLowestScore;
#pragma unroll
    for (int n = 0; n < kBlockParts; ++n) {
#pragma unroll
      for (int e = 2 * i; e < 2 * i + 2; ++e) {
        score[n][e] = attention_score(score[n][e], scale);
        if (!masked || n * 8 + column + e % 2 < visible) top = fmaxf(top, score[n][e]);
      }
    }
    top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, 1));
    top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, 2));
    float total = 0.0f;
#pragma unroll
    for (int n = 0; n < kBlockParts; ++n) {
#pragma unroll
      for (int e = 2 * i; e < 2 * i + 2; ++e) {
        const float weight = exp2f(__fadd_rn(score[n][e], -top));
        score[n][e] = !masked || n * 8 + column + e % 2 < visible ? weight : 0.0f;
      }
      total = __fadd_rn(total, __fadd_rn(score[n][2 * i], score[n][2 * i + 1]));
    }
    total = __fadd_rn(total, __shfl_xor_sync(kFullWarp, total, 1));
    total = __fadd_rn(total, __shfl_xor_sync(kFullWarp, total, 2));
    state.largest[i] = top;
    state.total[i] = total;
  }
#pragma unroll
  for (int n = 0; n < kBlockParts; ++n) {
    weights[n / 2][n % 2 * 2] = pack_bf16(score[n][0], score[n][1]);
    weights[n / 2][n % 2 * 2 + 1] = pack_bf16(score[n][2], score[n][3]);
  }
  return state;
}

// As merge_of, of scores in powers of 2.
DEV Merge merge_of_powers(float largest, float other) {
  const float less = exp2f(-fabsf(__fadd_rn(largest, -other)));
  const bool rises = other > largest;
  return {fmaxf(largest, other), rises ? less : 1.0f, rises ? 1.0f : less};
}

// ---- rows

// What a lane has of its two rows: sums of weighted values, parts of 8 columns.
template <int parts>
struct HalfRows {
  float sums[parts][4];
  HalfState state;

  DEV void clear() {
#pragma unroll
    for (int n = 0; n < parts; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[n][e] = 0.0f;
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      state.largest[i] = kLowestScore;
      state.total[i] = 0.0f;
    }
  }

  // The state of the next keys joins; their sums are then to be added by `add` with what this returns.
  struct Factors {
    float old[2], fresh[2];
  };
  DEV Factors join(const HalfState& next) {
    Factors factors;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const Merge merge = merge_of_powers(state.largest[i], next.largest[i]);
      state.largest[i] = merge.largest;
      state.total[i] = merged(state.total[i], next.total[i], merge.old_factor, merge.new_factor);
      factors.old[i] = merge.old_factor;
      factors.fresh[i] = merge.new_factor;
    }
    return factors;
  }
  template <int count>
  DEV void add(const Factors& factors, const float (&next)[count][4], int first_part = 0) {
#pragma unroll
    for (int n = 0; n < count; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float& sum = sums[first_part + n][e];
        sum = merged(sum, next[n][e], factors.old[e / 2], factors.fresh[e / 2]);
      }
    }
  }
};

}  // namespace cuda
}  // namespace luffy
