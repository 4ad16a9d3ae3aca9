// The tile kernel of the matrix product: rows x columns of `out` held in registers over one block of k.
//
// Every element is its own chain of fused multiply-adds over ascending k, starting from zero, whatever the tile's
// shape: which kernel computes an element never shows in its bits.
#pragma once

#include "../core/simd.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Columns of one panel of B: two vectors.
constexpr int kPanel = 2 * kLanes;

// Rows of the tallest tile: accumulators, one row of B and one broadcast fill the registers (32 with AVX-512, else 16).
// Tiles of at most kShortRows rows read A where it is; they may be wider than a panel, because it takes about eight
// chains to hide the latency of one. Taller ones are one panel wide, and there are two of each height: for rows of A side
// by side (a packed strip, or a transposed A where it is), and for rows of A apart. Tiles of one vector may be kStrip rows tall: what their B costs to bring in is
// shared by all rows in one pass.
#if defined(__AVX512F__)
constexpr int kTileRows = 14;
constexpr int kShortRows = 6;
#else
constexpr int kTileRows = 6;
constexpr int kShortRows = 2;
#endif

// Floats between two k of a packed strip of A.
constexpr int kStrip = kLanes < 8 ? 8 : kLanes;

struct Tile {
  int64_t depth;   // length of this block of k
  const float* a;  // element (row, k) at a[row * a_row + k * a_step]; a packed strip has 1 and kStrip
  int64_t a_row;
  int64_t a_step;
  const float* b;  // element (k, column) at b[k * b_step + (column / kPanel) * b_panel + ... ], the second vector of a
  int64_t b_step;  // panel b_vector floats after its first
  int64_t b_panel;
  int64_t b_vector;
  // What is asked for meanwhile, evenly over k, so that the tile's own loads are not held up. Tiles for few rows: `fetch`
  // floats ahead of each row of B (0 = nothing). Others: two rows of the next strip of A, `depth` floats each (null = none).
  int64_t fetch;
  const float* next[2];
  float* out;
  int64_t out_stride;
  int columns;        // valid columns; the others are not touched
  bool add;           // out += instead of out =
  const float* bias;  // [columns], added last; or null
};

using TileKernel = void (*)(const Tile& tile);

// Rows x (Vectors * kLanes) of out. Apart: rows of A are a_row apart and their k side by side; else the rows of more than
// kShortRows stand side by side.
template <int Rows, int Vectors, bool Apart = false>
void run_tile(const Tile& tile) {
  constexpr int kPanels = (Vectors + 1) / 2;
  constexpr bool kFetches = Rows <= kShortRows || Vectors == 1;
  const int64_t a_row = Rows <= kShortRows || Apart ? tile.a_row : 1;
  const int64_t a_step = Apart ? 1 : tile.a_step;
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
    for (int p = 0; p < kPanels; ++p) __builtin_prefetch(tile.out + r * tile.out_stride + p * kPanel, 1);
  }
  Vec sum[Rows][Vectors];
#pragma GCC unroll 16
  for (int r = 0; r < Rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) sum[r][v] = vec(0.0f);
  }
  // Row r is at a[r / 3] + r % 3 * a_row: addresses that the processor forms by itself, from few registers.
  constexpr int kBases = Apart ? (Rows + 2) / 3 : 1;
  const float* a[kBases];
#pragma GCC unroll 8
  for (int i = 0; i < kBases; ++i) a[i] = tile.a + 3 * i * a_row;
  const float* b = tile.b;
  const int64_t b_step = tile.b_step;
  const int64_t b_panel = tile.b_panel;
  const int64_t b_vector = tile.b_vector;
  const int64_t fetch = tile.fetch;
  const int64_t next_step = tile.next[0] == nullptr ? 0 : 1;
  const float* next0 = next_step == 0 ? b : tile.next[0];
  const float* next1 = next_step == 0 ? b : tile.next[1];
#pragma GCC unroll 4
  for (int64_t k = tile.depth; k > 0; --k) {
    Vec row[Vectors];
#pragma GCC unroll 8
    for (int v = 0; v < Vectors; ++v) {
      const float* from = b + v / 2 * b_panel + v % 2 * b_vector;
      row[v] = load(from);
      if (kFetches) __builtin_prefetch(from + fetch);
    }
    if (!kFetches) {
      __builtin_prefetch(next0);
      __builtin_prefetch(next1);
      next0 += next_step;
      next1 += next_step;
    }
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      const Vec x = vec(Apart ? a[r / 3 % kBases][r % 3 * a_row] : a[0][r * a_row]);
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(x, row[v], sum[r][v]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kBases; ++i) a[i] += a_step;
    b += b_step;
  }
  float* out = tile.out;
  const float* bias = tile.bias;
  if (tile.columns == Vectors * kLanes) {
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r, out += tile.out_stride) {
#pragma GCC unroll 8
      for (int v = 0; v < Vectors; ++v) {
        Vec x = sum[r][v];
        if (tile.add) x = add(load(out + v * kLanes), x);
        if (bias != nullptr) x = add(x, load(bias + v * kLanes));
        store(out + v * kLanes, x);
      }
    }
    return;
  }
#pragma GCC unroll 8
  for (int v = 0; v < Vectors; ++v) {
    const int left = tile.columns - v * kLanes;
    if (left <= 0) break;
    const int n = left < kLanes ? left : kLanes;
#pragma GCC unroll 16
    for (int r = 0; r < Rows; ++r) {
      float* to = out + r * tile.out_stride + v * kLanes;
      Vec x = sum[r][v];
      if (tile.add) x = add(load_first(to, n), x);
      if (bias != nullptr) x = add(x, load_first(bias + v * kLanes, n));
      store_first(to, x, n);
    }
  }
}

// The most panels that a tile of `rows` rows can span without running out of registers.
LUFFY_INLINE int widest_tile(int rows) {
#if defined(__AVX512F__)
  return rows <= 2 ? 4 : rows <= 6 ? 2 : 1;
#else
  return rows <= 1 ? 4 : rows <= 2 ? 2 : 1;
#endif
}

// The kernel for `rows` (1..kStrip) rows and one vector of B.
LUFFY_INLINE TileKernel vector_kernel(int rows) {
  static constexpr TileKernel one[] = {
    run_tile<1, 1>,
    run_tile<2, 1>,
    run_tile<3, 1>,
    run_tile<4, 1>,
    run_tile<5, 1>,
    run_tile<6, 1>,
    run_tile<7, 1>,
    run_tile<8, 1>,
#if defined(__AVX512F__)
    run_tile<9, 1>,
    run_tile<10, 1>,
    run_tile<11, 1>,
    run_tile<12, 1>,
    run_tile<13, 1>,
    run_tile<14, 1>,
    run_tile<15, 1>,
    run_tile<16, 1>,
#endif
  };
  static_assert(sizeof one / sizeof *one == kStrip, "a kernel for every height");
  return one[rows - 1];
}

// The kernel for `rows` (1..kTileRows) rows and `panels` (1, 2 or 4, at most widest_tile(rows)) panels of B. apart: more
// than kShortRows rows of A stand apart.
LUFFY_INLINE TileKernel tile_kernel(int rows, int panels, bool apart = false) {
#if defined(__AVX512F__)
  static constexpr TileKernel one[] = {
      run_tile<1, 2>,  run_tile<2, 2>,  run_tile<3, 2>,  run_tile<4, 2>,  run_tile<5, 2>,
      run_tile<6, 2>,  run_tile<7, 2>,  run_tile<8, 2>,  run_tile<9, 2>,  run_tile<10, 2>,
      run_tile<11, 2>, run_tile<12, 2>, run_tile<13, 2>, run_tile<14, 2>,
  };
  static constexpr TileKernel one_apart[] = {
      run_tile<7, 2, true>,  run_tile<8, 2, true>,  run_tile<9, 2, true>,  run_tile<10, 2, true>,
      run_tile<11, 2, true>, run_tile<12, 2, true>, run_tile<13, 2, true>, run_tile<14, 2, true>,
  };
  static constexpr TileKernel two[] = {run_tile<1, 4>, run_tile<2, 4>, run_tile<3, 4>,
                                       run_tile<4, 4>, run_tile<5, 4>, run_tile<6, 4>};
  static constexpr TileKernel four[] = {run_tile<1, 8>, run_tile<2, 8>};
#else
  static constexpr TileKernel one[] = {run_tile<1, 2>, run_tile<2, 2>, run_tile<3, 2>,
                                       run_tile<4, 2>, run_tile<5, 2>, run_tile<6, 2>};
  static constexpr TileKernel one_apart[] = {run_tile<3, 2, true>, run_tile<4, 2, true>, run_tile<5, 2, true>,
                                             run_tile<6, 2, true>};
  static constexpr TileKernel two[] = {run_tile<1, 4>, run_tile<2, 4>};
  static constexpr TileKernel four[] = {run_tile<1, 8>};
#endif
  static_assert(sizeof one_apart / sizeof *one_apart == kTileRows - kShortRows, "a kernel for every height");
  if (apart && rows > kShortRows) return one_apart[rows - kShortRows - 1];
  return (panels == 1 ? one : panels == 2 ? two : four)[rows - 1];
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
