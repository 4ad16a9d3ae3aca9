// Packing for the matrix product: copies strips of an operand into the order the tile kernel reads them, [k][Width],
// zero beyond a strip's last column. Both operands and both transpose flags come down to two cases: the columns stand
// side by side in memory (copy), or the k do (transpose in registers, kLanes x kLanes at a time).
#pragma once

#include "../core/context.h"
#include "../core/simd.h"
#include "matmul-tile.h"

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

// Start of part i of `parts` nearly equal parts of n, in multiples of `unit`.
LUFFY_INLINE int64_t part(int64_t n, int64_t unit, int64_t i, int64_t parts) {
  const int64_t start = (n + unit - 1) / unit * i / parts * unit;
  return start < n ? start : n;
}

// An operand over one block of k: `depth` long in k and `extent` wide, cut into `parts` strips of at most Width.
struct Source {
  const float* from;  // its first element
  int64_t stride;
  bool across;  // element (k, j) at from[j * stride + k]; else at from[k * stride + j]
  int64_t depth;
  int64_t extent;
  int64_t unit;  // strips start at multiples of it
  int64_t parts;

  LUFFY_INLINE int64_t start(int64_t strip) const { return part(extent, unit, strip, parts); }
};

// Strips that stand side by side in memory: one k of all of them at a time, because every k is another page. The rows
// of a later k are asked for in advance; no hardware prefetcher foresees them.
template <int Width>
LUFFY_INLINE void pack_copy(const Source& source, int64_t first, int64_t end, float* to) {
  constexpr int64_t kAhead = 8;
  const int64_t left_edge = source.start(first);
  const int64_t right_edge = source.start(end);
  const float* row = source.from;
  for (int64_t k = 0; k < source.depth; ++k, row += source.stride, to += Width) {
    if (k + kAhead < source.depth) {
      const float* ahead = row + kAhead * source.stride;
      for (int64_t j = left_edge; j < right_edge; j += 16) __builtin_prefetch(ahead + j);
    }
    float* out = to;
    int64_t start = left_edge;
    for (int64_t strip = first; strip < end; ++strip, out += Width * source.depth) {
      const int64_t next = source.start(strip + 1);
      for (int j = 0; j < Width; j += kLanes) {
        const int64_t left = next - start - j;
        const float* from = row + start + j;
        store(out + j, left >= kLanes ? load(from) : left > 0 ? load_first(from, static_cast<int>(left)) : vec(0.0f));
      }
      start = next;
    }
  }
}

// Strips whose k stand side by side: kLanes columns by kLanes k at a time. All k of one group of columns come first:
// more source rows at a time would push each other out of the cache when the stride is a large power of two.
template <int Width>
LUFFY_INLINE void pack_across(const Source& source, int64_t first, int64_t end, float* to) {
  constexpr int kAhead = 64;
  const int64_t stride = source.stride;
  for (int64_t strip = first; strip < end; ++strip, to += Width * source.depth) {
    const int64_t start = source.start(strip);
    for (int lane = 0; lane < Width; lane += kLanes) {
      const int wide = static_cast<int>(source.start(strip + 1) - start) - lane;
      const float* from = source.from + (start + lane) * stride;
      float* out = to + lane;
      for (int64_t k = 0; k < source.depth; k += kLanes, from += kLanes, out += kLanes * Width) {
        const int deep = source.depth - k < kLanes ? static_cast<int>(source.depth - k) : kLanes;
        const float* row = from;
        Vec rows[kLanes];
        if (wide >= kLanes && deep == kLanes) {
#pragma GCC unroll 16
          for (int i = 0; i < kLanes; ++i, row += stride) {
            __builtin_prefetch(row + kAhead);
            rows[i] = load(row);
          }
          transpose(rows);
#pragma GCC unroll 16
          for (int i = 0; i < kLanes; ++i) store(out + i * Width, rows[i]);
        } else {
#pragma GCC unroll 16
          for (int i = 0; i < kLanes; ++i, row += stride) {
            if (i < wide) __builtin_prefetch(row + kAhead);
            rows[i] = i >= wide ? vec(0.0f) : deep == kLanes ? load(row) : load_first(row, deep);
          }
          transpose(rows);
#pragma GCC unroll 16
          for (int i = 0; i < kLanes; ++i) {
            if (i < deep) store(out + i * Width, rows[i]);
          }
        }
      }
    }
  }
}

// Strips first .. end - 1, each as [depth][Width], one after the other.
template <int Width>
void pack(const Source& source, int64_t first, int64_t end, float* to) {
  static_assert(Width % kLanes == 0, "whole vectors");
  if (source.across) {
    pack_across<Width>(source, first, end, to);
  } else {
    pack_copy<Width>(source, first, end, to);
  }
}

// weight[N,K] as vectors of kLanes outputs, [vector][K][kLanes], zero beyond N, up to a whole panel: each vector's part
// is one run of memory, which few rows meet at the speed of memory.
void pack_weight(Context& context, const float* weight, int64_t stride, int64_t n, int64_t k, float* packed);
LUFFY_INLINE int64_t packed_weight_size(int64_t n, int64_t k) { return (n + kPanel - 1) / kPanel * kPanel * k; }

}  // namespace LUFFY_BACKEND
}  // namespace luffy
