// cast and fill on the CPU. See cast.h.
//
// Every format is read into float32 vectors and written from them; float32 holds both 16-bit formats exactly, so no
// pair of formats rounds twice. The bits do not depend on the instruction set, NaN payloads included: the portable
// float16 code below does what F16C does.
#include "cast.h"

#include <cinttypes>

#include "../core/simd.h"
#include "ranges.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// Signed words, which every instruction set can compare; sums that may wrap are done in unsigned ones.
typedef int32_t Words __attribute__((vector_size(kLanes * 4)));
typedef uint32_t UnsignedWords __attribute__((vector_size(kLanes * 4)));
typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));

LUFFY_INLINE Words bits_of(Vec a) {
  Words words;
  __builtin_memcpy(&words, &a, sizeof words);
  return words;
}

LUFFY_INLINE Vec floats_of(Words words) {
  Vec a;
  __builtin_memcpy(&a, &words, sizeof a);
  return a;
}

LUFFY_INLINE Words load_halves(const uint16_t* p) {
  Halves halves;
  __builtin_memcpy(&halves, p, sizeof halves);
  return __builtin_convertvector(halves, Words);
}

// The low halves of the words.
LUFFY_INLINE void store_halves(uint16_t* p, Words words) {
  const Halves halves = __builtin_convertvector(words, Halves);
  __builtin_memcpy(p, &halves, sizeof halves);
}

struct Float32 {
  using Element = float;
  static LUFFY_INLINE Vec read(const float* p) { return load(p); }
  static LUFFY_INLINE void write(float* p, Vec a) { store(p, a); }
};

struct BFloat16 {
  using Element = uint16_t;
  static LUFFY_INLINE Vec read(const uint16_t* p) { return floats_of(load_halves(p) << 16); }
  static LUFFY_INLINE void write(uint16_t* p, Vec a) {
    const Words bits = bits_of(a);
    // Half of the last place, less one when the last kept bit is even: ties go to even, and overflow to infinity.
    const Words rounded = (Words)((UnsignedWords)bits + 0x7fff + ((UnsignedWords)bits >> 16 & 1));
    const Words quiet = bits | 0x400000;
    store_halves(p, (((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded) >> 16) & 0xffff);
  }
};

struct Float16 {
  using Element = uint16_t;
#if defined(__AVX512F__)
  static LUFFY_INLINE Vec read(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static LUFFY_INLINE void write(uint16_t* p, Vec a) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
#elif defined(__AVX2__) && defined(__F16C__)
  static LUFFY_INLINE Vec read(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static LUFFY_INLINE void write(uint16_t* p, Vec a) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
#else
  static LUFFY_INLINE Vec read(const uint16_t* p) {
    const Words half = load_halves(p);
    const Words magnitude = (half & 0x7fff) << 13;
    // The exponent moves by 112 with one exact product, which also makes normal numbers of float16's denormals.
    const Words finite = bits_of(mul(floats_of(magnitude), vec(0x1p112f)));
    const Words quiet = magnitude > 0x0f800000 ? Words{} + 0x400000 : Words{};
    const Words value = magnitude >= 0x0f800000 ? magnitude | 0x7f800000 | quiet : finite;
    return floats_of(value | ((half & 0x8000) << 16));
  }
  static LUFFY_INLINE void write(uint16_t* p, Vec a) {
    const Words bits = bits_of(a);
    const Words magnitude = bits & 0x7fffffff;
    const Words normal =
        (Words)((UnsignedWords)magnitude - (112u << 23) + 0xfff + ((UnsignedWords)magnitude >> 13 & 1)) >> 13;
    // The last place of 0.5 is float16's smallest denormal: the addition rounds to it.
    const Words denormal = bits_of(add(floats_of(magnitude), vec(0.5f))) - 0x3f000000;
    const Words nan = ((magnitude >> 13) & 0x3ff) | 0x7e00;
    Words value = magnitude < 0x38800000 ? denormal : normal;
    value = magnitude >= 0x477ff000 ? Words{} + 0x7c00 : value;
    value = magnitude > 0x7f800000 ? nan : value;
    store_halves(p, value | ((bits >> 16) & 0x8000));
  }
#endif
};

template <class From, class To>
void convert(Context& context, const void* in, void* out, int64_t size) {
  const auto* from = static_cast<const typename From::Element*>(in);
  auto* to = static_cast<typename To::Element*>(out);
  parallel_ranges(context, size, kTaskFloats, [=](int64_t begin, int64_t end) {
    int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes) To::write(to + i, From::read(from + i));
    if (i == end) return;
    const size_t rest = static_cast<size_t>(end - i);
    typename From::Element last[kLanes] = {};
    typename To::Element converted[kLanes];
    __builtin_memcpy(last, from + i, rest * sizeof last[0]);
    To::write(converted, From::read(last));
    __builtin_memcpy(to + i, converted, rest * sizeof converted[0]);
  });
}

template <class From>
void convert_from(Context& context, const void* in, const Tensor& out) {
  switch (out.dtype) {
    case DType::f32:
      return convert<From, Float32>(context, in, out.data, out.size());
    case DType::bf16:
      return convert<From, BFloat16>(context, in, out.data, out.size());
    case DType::f16:
      return convert<From, Float16>(context, in, out.data, out.size());
    default:
      fail("cast: cannot convert to %s", dtype_name(out.dtype));
  }
}

void copy(Context& context, const Tensor& in, const Tensor& out) {
  const char* from = static_cast<const char*>(in.data);
  char* to = static_cast<char*>(out.data);
  if (from == to) return;
  parallel_ranges(context, in.size() * dtype_bytes(in.dtype), kTaskFloats * 4, [=](int64_t begin, int64_t end) {
    __builtin_memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
  });
}

template <class Element>
void fill_with(Context& context, Element* out, int64_t size, Element value) {
  parallel_ranges(context, size, kTaskFloats, [=](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = value;
  });
}

}  // namespace

void cast(Context& context, Tensor in, Tensor out) {
  LUFFY_CHECK(in && out, "cast: %s is missing", in ? "out" : "in");
  LUFFY_CHECK(in.contiguous() && out.contiguous(), "cast: expected contiguous tensors");
  LUFFY_CHECK(in.size() == out.size(), "cast: in has %" PRId64 " elements, out has %" PRId64, in.size(), out.size());
  if (in.dtype == out.dtype) return copy(context, in, out);
  switch (in.dtype) {
    case DType::f32:
      return convert_from<Float32>(context, in.data, out);
    case DType::bf16:
      return convert_from<BFloat16>(context, in.data, out);
    case DType::f16:
      return convert_from<Float16>(context, in.data, out);
    default:
      fail("cast: cannot convert %s to %s", dtype_name(in.dtype), dtype_name(out.dtype));
  }
}

void fill(Context& context, Tensor out, double value) {
  LUFFY_CHECK(out, "fill: out is missing");
  LUFFY_CHECK(out.contiguous(), "fill: expected contiguous out");
  if (out.dtype == DType::f32) return fill_with(context, out.f32(), out.size(), static_cast<float>(value));
  LUFFY_CHECK(out.dtype == DType::i32, "fill: expected float32 or int32, got %s", dtype_name(out.dtype));
  LUFFY_CHECK(
      value >= -2147483648.0 && value <= 2147483647.0 && static_cast<double>(static_cast<int32_t>(value)) == value,
      "fill: %g is no int32", value);
  fill_with(context, out.i32(), out.size(), static_cast<int32_t>(value));
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
