// Packing for the matrix product: copies a strip of an operand into the order the tile kernel reads it, [k][Width],
// zero beyond the strip's last column. Both operands and both transpose flags come down to two cases: the strip's
// columns stand side by side in memory (copy), or its k does (transpose in registers, kLanes x kLanes at a time).
#pragma once

#include "../core/simd.h"

namespace luffy {
namespace LUFFY_BACKEND {

#if defined(__AVX512F__)

// rows[i] becomes the i-th column of what rows held.
LUFFY_INLINE void transpose(Vec (&rows)[kLanes]) {
  Vec a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    a[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  // b[4g + j], 128-bit lane l: rows 4g..4g+3 of column 4l + j.
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    for (int j = 0; j < 2; ++j) {
      const __m512d low = _mm512_castps_pd(a[i + j]);
      const __m512d high = _mm512_castps_pd(a[i + j + 2]);
      b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  }
  // Gather each column's four lanes.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const Vec top_even = _mm512_shuffle_f32x4(b[j], b[4 + j], 0x88);
    const Vec top_odd = _mm512_shuffle_f32x4(b[j], b[4 + j], 0xdd);
    const Vec bottom_even = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0x88);
    const Vec bottom_odd = _mm512_shuffle_f32x4(b[8 + j], b[12 + j], 0xdd);
    rows[j] = _mm512_shuffle_f32x4(top_even, bottom_even, 0x88);
    rows[4 + j] = _mm512_shuffle_f32x4(top_odd, bottom_odd, 0x88);
    rows[8 + j] = _mm512_shuffle_f32x4(top_even, bottom_even, 0xdd);
    rows[12 + j] = _mm512_shuffle_f32x4(top_odd, bottom_odd, 0xdd);
  }
}

#elif defined(__AVX2__)

LUFFY_INLINE void transpose(Vec (&rows)[kLanes]) {
  Vec a[8], b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    a[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
    b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
    b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    rows[j] = _mm256_permute2f128_ps(b[j], b[4 + j], 0x20);
    rows[4 + j] = _mm256_permute2f128_ps(b[j], b[4 + j], 0x31);
  }
}

#else

LUFFY_INLINE void transpose(Vec (&rows)[kLanes]) {
  const Vec a = rows[0], b = rows[1], c = rows[2], d = rows[3];
  for (int i = 0; i < 4; ++i) rows[i] = Vec{a[i], b[i], c[i], d[i]};
}

#endif

// to[k * Width + j] = from[k * stride + j] for j < columns, 0 for the other j.
template <int Width>
LUFFY_INLINE void pack_copy(float* to, const float* from, int64_t stride, int columns, int64_t count) {
  static_assert(Width % kLanes == 0, "whole vectors");
  if (columns == Width) {
#pragma GCC unroll 4
    for (int64_t k = 0; k < count; ++k, to += Width, from += stride) {
      for (int j = 0; j < Width; j += kLanes) store(to + j, load(from + j));
    }
    return;
  }
  for (int64_t k = 0; k < count; ++k, to += Width, from += stride) {
    for (int j = 0; j < Width; j += kLanes) {
      const int left = columns - j < 0 ? 0 : columns - j < kLanes ? columns - j : kLanes;
      store(to + j, left == 0 ? vec(0.0f) : left == kLanes ? load(from + j) : load_first(from + j, left));
    }
  }
}

// to[k * Width + j] = from[j * stride + k] for j < columns, 0 for the other j.
template <int Width>
LUFFY_INLINE void pack_transpose(float* to, const float* from, int64_t stride, int columns, int64_t count) {
  static_assert(Width % kLanes == 0, "whole vectors");
  for (int64_t k = 0; k < count; k += kLanes, to += Width * kLanes, from += kLanes) {
    const int deep = count - k < kLanes ? static_cast<int>(count - k) : kLanes;
    for (int j = 0; j < Width; j += kLanes) {
      const int wide = columns - j;
      Vec rows[kLanes];
      if (wide >= kLanes && deep == kLanes) {
        const float* row = from + j * stride;
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i, row += stride) rows[i] = load(row);
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) store(to + i * Width + j, rows[i]);
      } else {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          rows[i] = i < wide ? load_first(from + (j + i) * stride, deep) : vec(0.0f);
        }
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) {
          if (i < deep) store(to + i * Width + j, rows[i]);
        }
      }
    }
  }
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
