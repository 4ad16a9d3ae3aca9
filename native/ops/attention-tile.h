// attention-tile: the small products that attention is made of, register-blocked, and the packing that feeds them.
// Private to attention.cpp and attention-decode.cpp.
//
// Over the keys of a block, scores stand as [rows][64]. Keys stand transposed by groups of kKeyGroup, [4][D][16]: a group
// is one run of memory, for the processor's prefetchers and for a cache that grows key by key. Every output element is one chain of fma() in ascending order, so its bits do not depend on how many rows a
// tile has. What causality hides is never multiplied, not even by zero: a NaN in a later key stays there.
#pragma once

#include <type_traits>

#include "../core/simd.h"
#include "attention.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Rows of a tile: with two vectors of columns beside them they fill the fused multiply-add units and fit the registers.
#if defined(__AVX512F__)
constexpr int kTileRows = 8;
#else
constexpr int kTileRows = 4;
#endif

static_assert(kKeyGroup % kLanes == 0 && kAttentionBlock % kKeyGroup == 0, "groups are whole vectors");

template <class T>
LUFFY_INLINE T smaller(T a, T b) {
  return a < b ? a : b;
}

template <class T>
LUFFY_INLINE T larger(T a, T b) {
  return a > b ? a : b;
}

// Calls body(std::integral_constant<int, rows>) for the rows (1..kTileRows) of a tile.
template <class Body>
LUFFY_INLINE void with_rows(int rows, Body&& body) {
  switch (rows) {
#if defined(__AVX512F__)
    case 8:
      return body(std::integral_constant<int, 8>());
    case 7:
      return body(std::integral_constant<int, 7>());
    case 6:
      return body(std::integral_constant<int, 6>());
    case 5:
      return body(std::integral_constant<int, 5>());
#endif
    case 4:
      return body(std::integral_constant<int, 4>());
    case 3:
      return body(std::integral_constant<int, 3>());
    case 2:
      return body(std::integral_constant<int, 2>());
    default:
      return body(std::integral_constant<int, 1>());
  }
}

// ---- packing

// a0 b0 a1 b1 ...: the lower and the upper half of two vectors interleaved.
#if defined(__AVX512F__)
LUFFY_INLINE Vec interleave_low(Vec a, Vec b) {
  const __m512i index = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  return _mm512_permutex2var_ps(a, index, b);
}
LUFFY_INLINE Vec interleave_high(Vec a, Vec b) {
  const __m512i index = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  return _mm512_permutex2var_ps(a, index, b);
}
#elif defined(__AVX2__)
LUFFY_INLINE Vec interleave_low(Vec a, Vec b) {
  return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}
LUFFY_INLINE Vec interleave_high(Vec a, Vec b) {
  return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}
#else
LUFFY_INLINE Vec interleave_low(Vec a, Vec b) { return Vec{a[0], b[0], a[1], b[1]}; }
LUFFY_INLINE Vec interleave_high(Vec a, Vec b) { return Vec{a[2], b[2], a[3], b[3]}; }
#endif

// Transposes kLanes x kLanes floats. Seen as a flat index of row bits and column bits, each round rotates the bits by
// one; after log2(kLanes) rounds rows and columns have changed places.
LUFFY_INLINE void transpose(Vec (&x)[kLanes]) {
#pragma GCC unroll 4
  for (int round = 1; round < kLanes; round *= 2) {
    Vec y[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; ++i) {
      y[2 * i] = interleave_low(x[i], x[i + kLanes / 2]);
      y[2 * i + 1] = interleave_high(x[i], x[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) x[i] = y[i];
  }
}

// Where key j of a block begins in [4][D][16]: its d at + d * kKeyGroup.
LUFFY_INLINE int64_t key_offset(int j, int dim) { return int64_t{j / kKeyGroup} * dim * kKeyGroup + j % kKeyGroup; }

// rows[j][d] for `count` rows as [4][D][16]; the keys up to the next multiple of kKeyGroup become zeros.
LUFFY_INLINE void pack_transposed(const float* const* rows, int count, int dim, float* keys) {
  const int columns = (count + kKeyGroup - 1) / kKeyGroup * kKeyGroup;
  for (int j = 0; j < columns; j += kLanes) {
    const int present = smaller(kLanes, count - j);
    float* out = keys + key_offset(j, dim);
    for (int d = 0; d < dim; d += kLanes) {
      const int width = smaller(kLanes, dim - d);
      Vec x[kLanes];
      if (present == kLanes && width == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) x[i] = load(rows[j + i] + d);
        transpose(x);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(out + (d + i) * kKeyGroup, x[i]);
      } else {
        for (int i = 0; i < kLanes; ++i) x[i] = i < present ? load_first(rows[j + i] + d, width) : vec(0.0f);
        transpose(x);
        for (int i = 0; i < width; ++i) store(out + (d + i) * kKeyGroup, x[i]);
      }
    }
  }
}

// Fetches a row that will be packed soon into the second-level cache.
LUFFY_INLINE void prefetch_row(const float* row, int dim) {
  for (int d = 0; d < dim; d += 16) __builtin_prefetch(row + d, 0, 2);
}

LUFFY_INLINE void copy_row(const float* from, int dim, float* to) {
  int d = 0;
  for (; d + kLanes <= dim; d += kLanes) store(to + d, load(from + d));
  if (d < dim) store_first(to + d, load_first(from + d, dim - d), dim - d);
}

LUFFY_INLINE void add_row(const float* from, int dim, float* to) {
  int d = 0;
  for (; d + kLanes <= dim; d += kLanes) store(to + d, add(load(to + d), load(from + d)));
  if (d < dim) {
    store_first(to + d, add(load_first(to + d, dim - d), load_first(from + d, dim - d)), dim - d);
  }
}

// ---- fetching ahead

// What a product asks for while it runs: line by line, as it reads its own operand line by line. In one burst the same
// requests would fill the processor's miss buffers and hold up its own loads.
struct NoFetch {
  LUFFY_INLINE void lines(int) {}
};
struct Fetch {
  const float* at;
  const float* end;
  LUFFY_INLINE void lines(int count) {
    for (int i = 0; i < count && at < end; ++i, at += 16) __builtin_prefetch(at);
  }
};

// ---- products

// Rows From..To-1 of sums += a[row] * b. Partial: one vector of columns, of which the first `lanes` exist.
template <int From, int To, bool Partial, int R, int V>
LUFFY_INLINE void multiply_add(Vec (&sums)[R][V], const float* a, int64_t a_stride, const float* b, int lanes) {
  Vec x[V];
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) x[v] = Partial ? load_first(b, lanes) : load(b + v * kLanes);
#pragma GCC unroll 8
  for (int r = From; r < To; ++r) {
    const Vec y = vec(a[r * a_stride]);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[r][v] = fma(y, x[v], sums[r][v]);
  }
}

template <bool Partial>
LUFFY_INLINE Vec load_columns(const float* p, int lanes) {
  return Partial ? load_first(p, lanes) : load(p);
}

template <bool Partial>
LUFFY_INLINE void store_columns(float* p, Vec a, int lanes) {
  if (Partial) {
    store_first(p, a, lanes);
  } else {
    store(p, a);
  }
}

// Calls body(vectors, partial, column, lanes) over `columns` columns, as many vectors at a time as suit R rows.
template <int R, class Body>
LUFFY_INLINE void over_columns(int columns, Body&& body) {
  using Wide = std::integral_constant<int, (R <= 2 ? 4 : 2)>;
  int j = 0;
  for (; j + Wide::value * kLanes <= columns; j += Wide::value * kLanes) body(Wide(), std::false_type(), j, kLanes);
  if (R <= 2 && j + 2 * kLanes <= columns) {
    body(std::integral_constant<int, 2>(), std::false_type(), j, kLanes);
    j += 2 * kLanes;
  }
  if (j + kLanes <= columns) {
    body(std::integral_constant<int, 1>(), std::false_type(), j, kLanes);
    j += kLanes;
  }
  if (j < columns) body(std::integral_constant<int, 1>(), std::true_type(), j, columns - j);
}

// out[r][j] = (sum over d of a[r][d] * key j [d]) * scale for the first `columns` keys, a multiple of kKeyGroup; keys as
// [4][D][16].
template <int R, class Ahead = NoFetch>
LUFFY_INLINE void key_product(int dim, const float* a, int64_t a_stride, const float* keys, int columns, float scale,
                              float* out, Ahead ahead = Ahead()) {
  over_columns<R>(
      columns, [&](auto vectors, auto, int j, int) __attribute__((always_inline)) {
        constexpr int V = decltype(vectors)::value;
        Vec sums[R][V];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) sums[r][v] = vec(0.0f);
        }
        const float* from[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) from[v] = keys + key_offset(j + v * kLanes, dim);
        for (int d = 0; d < dim; ++d) {
          Vec x[V];
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) x[v] = load(from[v] + d * kKeyGroup);
          ahead.lines(V * kLanes / 16);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) {
            const Vec y = vec(a[r * a_stride + d]);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) sums[r][v] = fma(y, x[v], sums[r][v]);
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) store(out + r * kAttentionBlock + j + v * kLanes, mul(sums[r][v], vec(scale)));
        }
      });
}

// Keys common + T - 1 for T = 1 .. extra: seen by the rows from T on.
template <int T, bool Partial, int R, int V>
LUFFY_INLINE void multiply_add_triangle(Vec (&sums)[R][V], int extra, const float* a, const float* b, int64_t b_stride,
                                        int lanes) {
  if constexpr (T < R) {
    if (T > extra) return;
    multiply_add<T, R, Partial>(sums, a, kAttentionBlock, b, lanes);
    multiply_add_triangle<T + 1, Partial>(sums, extra, a + 1, b + b_stride, b_stride, lanes);
  }
}

// out[r] = out[r] * factors[r] + sum over j of a[r][j] * b[j], over the keys that row r sees: the first `common`, and
// of the `extra` (at most R - 1) keys after them the first r. fresh: out's old values do not count and are not read.
template <int R, class Ahead = NoFetch>
LUFFY_INLINE void value_product(int common, int extra, const float* a, const float* b, int64_t b_stride, int dim,
                                bool fresh, const float* factors, float* out, int64_t out_stride,
                                Ahead ahead = Ahead()) {
  over_columns<R>(
      dim, [&](auto vectors, auto partial, int column, int lanes) __attribute__((always_inline)) {
        constexpr int V = decltype(vectors)::value;
        constexpr bool Partial = decltype(partial)::value;
        Vec sums[R][V];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) {
            sums[r][v] = vec(0.0f);
            if (fresh) continue;
            sums[r][v] = mul(load_columns<Partial>(out + r * out_stride + column + v * kLanes, lanes), vec(factors[r]));
          }
        }
        const float* x = b + column;
        for (int j = 0; j < common; ++j) {
          multiply_add<0, R, Partial>(sums, a + j, kAttentionBlock, x + j * b_stride, lanes);
          ahead.lines((V * kLanes + 15) / 16);
        }
        multiply_add_triangle<1, Partial>(sums, extra, a + common, x + common * b_stride, b_stride, lanes);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) {
            store_columns<Partial>(out + r * out_stride + column + v * kLanes, sums[r][v], lanes);
          }
        }
      });
}

// Query first + T, which sees the first T + 1 of the tile's keys, for T = 0 .. R - 2.
template <int T, bool Partial, int R, int V>
LUFFY_INLINE void multiply_add_corner(Vec (&sums)[R][V], int first, int queries, const float* a, const float* b,
                                      int64_t b_stride, int lanes) {
  if constexpr (T + 1 < R) {
    const int i = first + T;
    if (i >= 0 && i < queries) {
      multiply_add<0, T + 1, Partial>(sums, a + i * kAttentionBlock, 1, b + i * b_stride, lanes);
    }
    multiply_add_corner<T + 1, Partial>(sums, first, queries, a, b, b_stride, lanes);
  }
}

// out[r] += sum over i of a[i][r] * b[i]: R keys receive from those of `queries` queries that see them, key r being
// seen from query first + r on (first may be negative).
template <int R>
LUFFY_INLINE void query_product(int first, int queries, const float* a, const float* b, int dim, float* out) {
  over_columns<R>(
      dim, [&](auto vectors, auto partial, int column, int lanes) __attribute__((always_inline)) {
        constexpr int V = decltype(vectors)::value;
        constexpr bool Partial = decltype(partial)::value;
        Vec sums[R][V];
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) sums[r][v] = load_columns<Partial>(out + r * dim + column + v * kLanes, lanes);
        }
        const float* x = b + column;
        multiply_add_corner<0, Partial>(sums, first, queries, a, x, dim, lanes);
        for (int i = larger(0, first + R - 1); i < queries; ++i) {
          multiply_add<0, R, Partial>(sums, a + i * kAttentionBlock, 1, x + static_cast<int64_t>(i) * dim, lanes);
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) {
            store_columns<Partial>(out + r * dim + column + v * kLanes, sums[r][v], lanes);
          }
        }
      });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
