// attention-product: tiles of 64 x 64 floats in shared memory and the three products that attention is made of. Every
// output element is one chain of fmaf in ascending order, so its bits do not depend on the tile it stands in. What
// causality hides is never multiplied, not even by zero: a NaN in a later key stays there. Private to attention.cu.
//
// Rows are 68 floats apart: eight neighbouring rows, and the 16-byte loads of a warp, meet no bank twice.
#pragma once

#include "../core/cu.cuh"
#include "attention.h"

namespace luffy {
namespace cuda {

constexpr int kTileStride = kAttentionBlock + 4;
constexpr int kTileFloats = kAttentionBlock * kTileStride;

// Copies 64 rows of `width` (at most 64) columns to a tile: row i from row(i), or zeros where that is null. Columns
// are filled up to a multiple of 4. wide: rows are 16-byte aligned and cp.async brings them: they are there after
// commit, wait and a barrier. `any`: an address that can be read.
template <int threads, bool wide, class Row>
DEV void load_tile(float* tile, int width, const float* any, Row&& row) {
  const int thread = static_cast<int>(threadIdx.x);
  if constexpr (wide) {
#pragma unroll 2
    for (int i = thread; i < kAttentionBlock * (kAttentionBlock / 4); i += threads) {
      const int r = i / (kAttentionBlock / 4);
      const int c = i % (kAttentionBlock / 4) * 4;
      if (c >= width) continue;
      const float* from = row(r);
      cp_async16(tile + r * kTileStride + c, from == nullptr ? any : from + c, from == nullptr ? 0 : 16);
    }
  } else {
    const int filled = (width + 3) / 4 * 4;
#pragma unroll 2
    for (int i = thread; i < kAttentionBlock * kAttentionBlock; i += threads) {
      const int r = i / kAttentionBlock;
      const int c = i % kAttentionBlock;
      if (c >= filled) continue;
      const float* from = row(r);
      tile[r * kTileStride + c] = from == nullptr || c >= width ? 0.0f : ld(from + c);
    }
  }
}

// out[i][j] += sum over d of a[row i][d] b[row j][d]: a at the thread's first row, the others `row_step` apart; b at
// its first row, the others 16 apart.
template <int rows, int row_step>
DEV void multiply_rows(float (&out)[rows][4], const float* a, const float* b, int width) {
#pragma unroll 1
  for (int d = 0; d < width; d += 4) {
    Pack<float> x[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) x[j] = ld128(b + j * 16 * kTileStride + d);
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      const Pack<float> y = ld128(a + i * row_step * kTileStride + d);
#pragma unroll
      for (int u = 0; u < 4; ++u) {
#pragma unroll
        for (int j = 0; j < 4; ++j) out[i][j] = fmaf(y.at[u], x[j].at[u], out[i][j]);
      }
    }
  }
}

// out[i][c] += sum over j of a[row i][j] b[j][c]: the thread's four columns of b. masked: the thread's first row meets
// the first `visible` j, each later row `row_step` more.
template <int rows, int row_step, bool masked>
DEV void multiply_columns(float (&out)[rows][4], const float* a, const float* b, int count, int visible) {
#pragma unroll 1
  for (int j = 0; j < count; j += 4) {
    Pack<float> x[4];
#pragma unroll
    for (int u = 0; u < 4; ++u) x[u] = ld128(b + (j + u) * kTileStride);
#pragma unroll
    for (int i = 0; i < rows; ++i) {
      const Pack<float> y = ld128(a + i * row_step * kTileStride + j);
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        if (masked && j + u >= visible + i * row_step) continue;
#pragma unroll
        for (int c = 0; c < 4; ++c) out[i][c] = fmaf(y.at[u], x[u].at[c], out[i][c]);
      }
    }
  }
}

// out[r][c] += sum over i of a[i][r] b[i][c]: four neighbouring columns of either tile. masked: r meets i from
// first[r] on.
template <bool masked>
DEV void multiply_transposed(float (&out)[4][4], const float* a, const float* b, int count, const int (&first)[4]) {
#pragma unroll 2
  for (int i = 0; i < count; ++i) {
    const Pack<float> y = ld128(a + i * kTileStride);
    const Pack<float> x = ld128(b + i * kTileStride);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      if (masked && i < first[r]) continue;
#pragma unroll
      for (int c = 0; c < 4; ++c) out[r][c] = fmaf(y.at[r], x.at[c], out[r][c]);
    }
  }
}

}  // namespace cuda
}  // namespace luffy
