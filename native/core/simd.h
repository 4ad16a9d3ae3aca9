// Vectors of floats, one width per instruction set: 16 lanes with AVX-512, 8 with AVX2, 4 otherwise (GCC's portable
// vectors: SSE2, NEON). Kernels use these names only, so one source serves every processor. All arithmetic is
// explicit (the build sets -ffp-contract=off): fma() is one rounding where the processor has it, two on the
// baseline, and the same everywhere inside one backend, which is what makes decoding and training agree bit for bit.
#pragma once

#include <cstdint>
#include <cstring>

#include "macros.h"

#if defined(__AVX512F__) || defined(__AVX2__)
#if defined(__GNUC__) && !defined(__clang__)
// GCC 12 warns of its own _mm512_undefined_ps() wherever a 512-bit cast is inlined (its bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#else
#include <immintrin.h>
#endif
#endif

namespace luffy {
namespace LUFFY_BACKEND {

#if defined(__AVX512F__)

constexpr int kLanes = 16;
using Vec = __m512;

LUFFY_INLINE Vec vec(float x) { return _mm512_set1_ps(x); }
LUFFY_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
LUFFY_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a); }
LUFFY_INLINE __mmask16 first_lanes(int n) { return static_cast<__mmask16>((1u << n) - 1u); }
// The first n (0..kLanes) lanes from memory, `fill` in the others; nothing beyond them is touched.
LUFFY_INLINE Vec load_first(const float* p, int n, float fill = 0.0f) {
  return _mm512_mask_loadu_ps(vec(fill), first_lanes(n), p);
}
LUFFY_INLINE void store_first(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), a); }
// The first n lanes of a, `fill` in the others.
LUFFY_INLINE Vec keep_first(Vec a, int n, float fill) { return _mm512_mask_blend_ps(first_lanes(n), vec(fill), a); }
LUFFY_INLINE Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
LUFFY_INLINE Vec sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
LUFFY_INLINE Vec mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
LUFFY_INLINE Vec div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
LUFFY_INLINE Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
LUFFY_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
// c - a * b
LUFFY_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }
// a NaN in either operand may be lost, as with SSE's max: callers that must see NaN check sums, not maxima.
LUFFY_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
LUFFY_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
// condition > 0 ? a : b, lane by lane (false for NaN)
LUFFY_INLINE Vec select_positive(Vec condition, Vec a, Vec b) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(condition, _mm512_setzero_ps(), _CMP_GT_OQ), b, a);
}
LUFFY_INLINE Vec round_nearest(Vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// a * 2^n for integral n; underflows gradually, overflows to infinity
LUFFY_INLINE Vec scale_by_power_of_two(Vec a, Vec n) { return _mm512_scalef_ps(a, n); }
LUFFY_INLINE float reduce_add(Vec a) {
  // Fixed pairwise tree, written out so that no compiler picks another order.
  __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  c = _mm_add_ss(c, _mm_movehdup_ps(c));
  return _mm_cvtss_f32(c);
}
LUFFY_INLINE float reduce_max(Vec a) { return _mm512_reduce_max_ps(a); }

#elif defined(__AVX2__)

constexpr int kLanes = 8;
using Vec = __m256;

LUFFY_INLINE Vec vec(float x) { return _mm256_set1_ps(x); }
LUFFY_INLINE Vec load(const float* p) { return _mm256_loadu_ps(p); }
LUFFY_INLINE void store(float* p, Vec a) { _mm256_storeu_ps(p, a); }
LUFFY_INLINE __m256i first_lanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
LUFFY_INLINE Vec keep_first(Vec a, int n, float fill) {
  return _mm256_blendv_ps(vec(fill), a, _mm256_castsi256_ps(first_lanes(n)));
}
LUFFY_INLINE Vec load_first(const float* p, int n, float fill = 0.0f) {
  return keep_first(_mm256_maskload_ps(p, first_lanes(n)), n, fill);
}
LUFFY_INLINE void store_first(float* p, Vec a, int n) { _mm256_maskstore_ps(p, first_lanes(n), a); }
LUFFY_INLINE Vec add(Vec a, Vec b) { return _mm256_add_ps(a, b); }
LUFFY_INLINE Vec sub(Vec a, Vec b) { return _mm256_sub_ps(a, b); }
LUFFY_INLINE Vec mul(Vec a, Vec b) { return _mm256_mul_ps(a, b); }
LUFFY_INLINE Vec div(Vec a, Vec b) { return _mm256_div_ps(a, b); }
LUFFY_INLINE Vec sqrt(Vec a) { return _mm256_sqrt_ps(a); }
LUFFY_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
LUFFY_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
LUFFY_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
LUFFY_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
LUFFY_INLINE Vec select_positive(Vec condition, Vec a, Vec b) {
  return _mm256_blendv_ps(b, a, _mm256_cmp_ps(condition, _mm256_setzero_ps(), _CMP_GT_OQ));
}
LUFFY_INLINE Vec round_nearest(Vec a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LUFFY_INLINE Vec scale_by_power_of_two(Vec a, Vec n) {
  // In two halves, so that results below 2^-126 come out denormal and not garbage.
  __m256i whole = _mm256_cvtps_epi32(n);
  __m256i half = _mm256_srai_epi32(whole, 1);
  __m256i rest = _mm256_sub_epi32(whole, half);
  __m256i bias = _mm256_set1_epi32(127);
  a = mul(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
  return mul(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
}
LUFFY_INLINE float reduce_add(Vec a) {
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  c = _mm_add_ss(c, _mm_movehdup_ps(c));
  return _mm_cvtss_f32(c);
}
LUFFY_INLINE float reduce_max(Vec a) {
  __m128 c = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  c = _mm_max_ps(c, _mm_movehl_ps(c, c));
  c = _mm_max_ss(c, _mm_movehdup_ps(c));
  return _mm_cvtss_f32(c);
}

#else

constexpr int kLanes = 4;
typedef float Vec __attribute__((vector_size(16)));
typedef int32_t VecInt __attribute__((vector_size(16)));

LUFFY_INLINE Vec vec(float x) { return Vec{x, x, x, x}; }
LUFFY_INLINE Vec load(const float* p) {
  Vec a;
  std::memcpy(&a, p, sizeof a);
  return a;
}
LUFFY_INLINE void store(float* p, Vec a) { std::memcpy(p, &a, sizeof a); }
LUFFY_INLINE Vec load_first(const float* p, int n, float fill = 0.0f) {
  Vec a = vec(fill);
  for (int i = 0; i < n; ++i) a[i] = p[i];
  return a;
}
LUFFY_INLINE void store_first(float* p, Vec a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a[i];
}
LUFFY_INLINE Vec keep_first(Vec a, int n, float fill) {
  for (int i = n; i < kLanes; ++i) a[i] = fill;
  return a;
}
LUFFY_INLINE Vec add(Vec a, Vec b) { return a + b; }
LUFFY_INLINE Vec sub(Vec a, Vec b) { return a - b; }
LUFFY_INLINE Vec mul(Vec a, Vec b) { return a * b; }
LUFFY_INLINE Vec div(Vec a, Vec b) { return a / b; }
LUFFY_INLINE Vec sqrt(Vec a) {
  for (int i = 0; i < kLanes; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
LUFFY_INLINE Vec fma(Vec a, Vec b, Vec c) { return a * b + c; }
LUFFY_INLINE Vec fnma(Vec a, Vec b, Vec c) { return c - a * b; }
LUFFY_INLINE Vec max(Vec a, Vec b) { return a > b ? a : b; }
LUFFY_INLINE Vec min(Vec a, Vec b) { return a < b ? a : b; }
LUFFY_INLINE Vec select_positive(Vec condition, Vec a, Vec b) { return condition > vec(0.0f) ? a : b; }
LUFFY_INLINE Vec round_nearest(Vec a) {
  // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, for |a| < 2^22: all that exp() asks for.
  Vec magic = vec(12582912.0f);
  return (a + magic) - magic;
}
LUFFY_INLINE Vec scale_by_power_of_two(Vec a, Vec n) {
  VecInt whole = __builtin_convertvector(n, VecInt);
  VecInt half = whole >> 1;
  VecInt rest = whole - half;
  VecInt first = (half + 127) << 23;
  VecInt second = (rest + 127) << 23;
  Vec x, y;
  std::memcpy(&x, &first, sizeof x);
  std::memcpy(&y, &second, sizeof y);
  return a * x * y;
}
LUFFY_INLINE float reduce_add(Vec a) { return (a[0] + a[2]) + (a[1] + a[3]); }
LUFFY_INLINE float reduce_max(Vec a) {
  float x = a[0] > a[2] ? a[0] : a[2];
  float y = a[1] > a[3] ? a[1] : a[3];
  return x > y ? x : y;
}

#endif

// e^x. Error below 1.5 ulp for results in the normal range; 0 for x <= -104 and for -infinity; infinity above 88.73;
// NaN stays NaN. Cephes' reduction (x = n ln2 + r, |r| <= ln2 / 2) with a polynomial of degree 6 in r.
LUFFY_INLINE Vec exp(Vec x) {
  // min and max return the second operand when one is NaN (SSE rule), so x stands second.
  x = max(vec(-150.0f), min(vec(128.0f), x));
  const Vec n = round_nearest(mul(x, vec(1.44269504088896341f)));
  Vec r = fnma(n, vec(0.693359375f), x);
  r = fnma(n, vec(-2.12194440e-4f), r);
  Vec p = vec(1.9875691500e-4f);
  p = fma(p, r, vec(1.3981999507e-3f));
  p = fma(p, r, vec(8.3334519073e-3f));
  p = fma(p, r, vec(4.1665795894e-2f));
  p = fma(p, r, vec(1.6666665459e-1f));
  p = fma(p, r, vec(5.0000001201e-1f));
  p = fma(p, mul(r, r), add(r, vec(1.0f)));
  return scale_by_power_of_two(p, n);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
