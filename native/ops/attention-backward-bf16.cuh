// attention-backward-bf16: what attention's backward kernels in bfloat16 are made of: tiles in shared memory, the two
// products of the tensor cores, and results on their way out. Private to attention.cu and attention-backward-bf16.cu.
//
// A tile holds rows of `dims` elements, zeros where the matrix has none. Runs of 16 bytes are permuted within their row, so
// that the eight rows of an 8 x 8 matrix lie in different banks, whether ldmatrix transposes it or not.
#pragma once

#include "attention-arguments.cuh"

namespace luffy {
namespace cuda {

using Bf16Rows = HeadRowsOf<bf16>;

struct Bf16Backward : AttentionArgumentsOf<bf16> {
  // Every eight elements of a head start at a multiple of 16 bytes: in what is read, in gradOut and out, and in what is
  // written.
  bool wide_in, wide_delta, wide_out;
};

// Arguments as attention_backward checked them. query_blocks, key_blocks: blocks of threads for the tiles of queries of all
// query heads, and for those of keys of all key/value heads; any numbers would do.
void attention_backward_bf16(Context& context, const AttentionPlan& plan, const Heads& heads, unsigned query_blocks,
                             unsigned key_blocks, const Tensor& grad_out, const Tensor& q, const Tensor& k,
                             const Tensor& v, const Tensor& out, const Tensor& lse, double scale, const Tensor& grad_q,
                             const Tensor& grad_k, const Tensor& grad_v);
// The same without a context: delta is there.
void launch_bf16_backward(const Bf16Backward& a, unsigned query_blocks, unsigned key_blocks, cudaStream_t stream);

namespace backward_mma {

constexpr int kWarpRows = 16;

// Where run `run` of a row of a tile stands.
template <int dims>
DEV int place(int row, int run) {
  static_assert(dims % 64 == 0);
  return row * dims + (run ^ (row & 7)) * 8;
}

// Brings `rows` rows of two matrices of one shape to two tiles: row r from row_of(r), or zeros where that is negative.
// They are there after commit, wait and a barrier.
template <int rows, int dims, int threads, class RowOf>
DEV void load_tiles(bf16* tiles, const Bf16Rows& first, const Bf16Rows& second, int64_t column, int dim, bool wide,
                    RowOf&& row_of) {
  constexpr int kRuns = dims / 8;
  constexpr int kRows = threads / kRuns;  // that all threads load together
  static_assert(threads % kRuns == 0 && rows % kRows == 0);
  const int run = static_cast<int>(threadIdx.x) % kRuns;
  const int left = dim - run * 8;
  column += run * 8;
  if (wide) {
    // Few addresses at a time: they stand beside the sums in registers.
#pragma unroll 2
    for (int i = 0; i < rows / kRows; ++i) {
      const int r = static_cast<int>(threadIdx.x) / kRuns + i * kRows;
      const int row = row_of(r);
      const bool there = row >= 0 && left > 0;
      bf16* const to = tiles + place<dims>(r, run);
      cp_async16(to, there ? first.at(row, column) : first.data, there ? 16 : 0);
      cp_async16(to + rows * dims, there ? second.at(row, column) : second.data, there ? 16 : 0);
    }
  } else {
#pragma unroll 1
    for (int i = 0; i < rows / kRows; ++i) {
      const int r = static_cast<int>(threadIdx.x) / kRuns + i * kRows;
      const int row = row_of(r);
      Pack<bf16> x, y;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const bool there = row >= 0 && j < left;
        x.at[j] = there ? ld(first.at(row, column + j)) : from_float<bf16>(0.0f);
        y.at[j] = there ? ld(second.at(row, column + j)) : from_float<bf16>(0.0f);
      }
      bf16* const to = tiles + place<dims>(r, run);
      st128(to, x);
      st128(to + rows * dims, y);
    }
  }
}

// Where a lane's rows of the four matrices of an ldmatrix stand that together are 16 rows x 16 columns: half of the rows
// first, then half of the columns. The same for every such square, but for what is known when compiling.
template <int dims>
class LanePlaces {
 public:
  DEV LanePlaces() {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < 4; ++i) places_[i] = place<dims>(lane % 16, i * 2 + lane / 16);
  }
  // Of a square of 16 x 16 of the tile: which row and column of squares.
  template <bool transposed = false>
  DEV void load(uint32_t (&out)[4], const bf16* tile, int row, int column) const {
    ldmatrix<4, transposed>(out, tile + places_[column % 4] + (row * 16 * dims + column / 4 * 64));
  }

 private:
  int places_[4];
};

// Sixteen rows of a tile as left factor: kept in registers, or loaded each time.
template <int dims, bool kept>
class LeftRows {
 public:
  DEV LeftRows(const LanePlaces<dims>& places, const bf16* rows) : rows_(rows) {
    if constexpr (kept) {
#pragma unroll
      for (int i = 0; i < dims / 16; ++i) places.load(kept_[i], rows, 0, i);
    }
  }
  DEV void get(uint32_t (&out)[4], const LanePlaces<dims>& places, int step) const {
    if constexpr (kept) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[i] = kept_[step][i];
    } else {
      places.load(out, rows_, 0, step);
    }
  }

 private:
  const bf16* rows_;
  uint32_t kept_[kept ? dims / 16 : 1][4];
};

// sums[i][n] += sum over d of left[i][d] right[n][d]: both stored along d, which ascends.
template <int dims, int columns, class Left>
DEV void multiply_along(float (&sums)[columns / 8][4], const LanePlaces<dims>& places, const Left& left,
                        const bf16* right) {
#pragma unroll
  for (int step = 0; step < dims / 16; ++step) {
    uint32_t a[4];
    left.get(a, places, step);
#pragma unroll
    for (int n = 0; n < columns / 16; ++n) {
      uint32_t b[4];
      places.load(b, right, n, step);
      const uint32_t low[2] = {b[0], b[2]};
      const uint32_t high[2] = {b[1], b[3]};
      mma_m16n8k16_bf16(sums[2 * n], a, low, sums[2 * n]);
      mma_m16n8k16_bf16(sums[2 * n + 1], a, high, sums[2 * n + 1]);
    }
  }
}

// Sums of a product, rounded, as the left factor of another.
template <int columns>
DEV void round_left(uint32_t (&out)[columns / 16][4], const float (&x)[columns / 8][4]) {
#pragma unroll
  for (int i = 0; i < columns / 16; ++i) {
    out[i][0] = pack_bf16(x[2 * i][0], x[2 * i][1]);
    out[i][1] = pack_bf16(x[2 * i][2], x[2 * i][3]);
    out[i][2] = pack_bf16(x[2 * i + 1][0], x[2 * i + 1][1]);
    out[i][3] = pack_bf16(x[2 * i + 1][2], x[2 * i + 1][3]);
  }
}

// sums[i][d] += sum over n of left[i][n] right[n][first + d]: n ascends, over the rows of the tile; first: of 64.
template <int dims, int rows, int columns>
DEV void multiply_across(float (&sums)[columns / 8][4], const LanePlaces<dims>& places,
                         const uint32_t (&left)[rows / 16][4], const bf16* right, int first) {
#pragma unroll
  for (int step = 0; step < rows / 16; ++step) {
#pragma unroll
    for (int n = 0; n < columns / 16; ++n) {
      uint32_t b[4];
      places.template load<true>(b, right + first, step, n);
      const uint32_t low[2] = {b[0], b[1]};
      const uint32_t high[2] = {b[2], b[3]};
      mma_m16n8k16_bf16(sums[2 * n], left[step], low, sums[2 * n]);
      mma_m16n8k16_bf16(sums[2 * n + 1], left[step], high, sums[2 * n + 1]);
    }
  }
}

// Writes a warp's sums times `factor`: row r to at(r), nowhere where that is null, the first `count` columns. They pass
// through 16 rows of shared memory, the warp's own, to become runs of 16 bytes.
template <int columns, class At>
DEV void store_sums(const float (&sums)[columns / 8][4], float factor, bf16* mine, int count, bool wide, At&& at) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int n = 0; n < columns / 8; ++n) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      bf16* const to = mine + place<columns>(half * 8 + lane / 4, n) + lane % 4 * 2;
      st(reinterpret_cast<uint32_t*>(to), pack_bf16(sums[n][2 * half] * factor, sums[n][2 * half + 1] * factor));
    }
  }
  __syncwarp();
  constexpr int kRuns = columns / 8;
#pragma unroll 1
  for (int i = lane; i < kWarpRows * kRuns; i += 32) {
    const int run = i % kRuns;
    bf16* const to = at(i / kRuns);
    if (to == nullptr || run * 8 >= count) continue;
    const Pack<bf16> x = ld128(mine + place<columns>(i / kRuns, run));
    if (wide) {
      st128(to + run * 8, x);
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (run * 8 + j < count) st(to + run * 8 + j, x.at[j]);
      }
    }
  }
  __syncwarp();
}

}  // namespace backward_mma
}  // namespace cuda
}  // namespace luffy
