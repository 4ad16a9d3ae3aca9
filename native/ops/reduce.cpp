// reduce and add_rows on the CPU. See reduce.h.
#include "reduce.h"

#include "../core/simd.h"
#include "ranges.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// Half a Vec of floats, and the same numbers as doubles: as wide as a Vec.
constexpr int kHalf = kLanes / 2;
typedef float Floats __attribute__((vector_size(kHalf * 4)));
typedef double Doubles __attribute__((vector_size(kHalf * 8)));
typedef int32_t Words __attribute__((vector_size(kLanes * 4)));

constexpr int kSums = 4;
constexpr int32_t kMagnitude = 0x7fffffff;
constexpr int32_t kInfinity = 0x7f800000;

LUFFY_INLINE Doubles load_doubles(const float* p) {
  Floats a;
  __builtin_memcpy(&a, p, sizeof a);
  return __builtin_convertvector(a, Doubles);
}

LUFFY_INLINE Words load_words(const float* p) {
  Words a;
  __builtin_memcpy(&a, p, sizeof a);
  return a;
}

LUFFY_INLINE int32_t word_of(float x) {
  int32_t a;
  __builtin_memcpy(&a, &x, sizeof a);
  return a;
}

// Sum of x or x^2 over one chunk: kSums vectors of doubles side by side, then the lanes, then the last numbers.
template <bool kSquares>
LUFFY_INLINE double sum_chunk(const float* x, int64_t count) {
  Doubles sums[kSums] = {};
  int64_t i = 0;
  for (; i + kSums * kHalf <= count; i += kSums * kHalf) {
    for (int k = 0; k < kSums; ++k) {
      const Doubles a = load_doubles(x + i + k * kHalf);
      sums[k] += kSquares ? a * a : a;
    }
  }
  const Doubles total = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double result = 0;
  for (int lane = 0; lane < kHalf; ++lane) result += total[lane];
  for (; i < count; ++i) result += kSquares ? static_cast<double>(x[i]) * static_cast<double>(x[i]) : x[i];
  return result;
}

// The largest |x| by its bits, which order as integers and put NaN above infinity.
LUFFY_INLINE double largest_in_chunk(const float* x, int64_t count) {
  Words largest[2] = {};
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    for (int k = 0; k < 2; ++k) {
      const Words a = load_words(x + i + k * kLanes) & kMagnitude;
      largest[k] = a > largest[k] ? a : largest[k];
    }
  }
  int32_t result = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const int32_t a = largest[0][lane] > largest[1][lane] ? largest[0][lane] : largest[1][lane];
    if (a > result) result = a;
  }
  for (; i < count; ++i) {
    const int32_t a = word_of(x[i]) & kMagnitude;
    if (a > result) result = a;
  }
  float value;
  __builtin_memcpy(&value, &result, sizeof value);
  return value;
}

LUFFY_INLINE double non_finite_in_chunk(const float* x, int64_t count) {
  Words found = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) found -= (load_words(x + i) & kInfinity) == kInfinity;
  int64_t result = 0;
  for (int lane = 0; lane < kLanes; ++lane) result += found[lane];
  for (; i < count; ++i) result += (word_of(x[i]) & kInfinity) == kInfinity;
  return static_cast<double>(result);
}

LUFFY_INLINE double reduce_chunk(Reduction reduction, const float* x, int64_t count) {
  switch (reduction) {
    case Reduction::sum:
      return sum_chunk<false>(x, count);
    case Reduction::sum_of_squares:
      return sum_chunk<true>(x, count);
    case Reduction::largest_absolute:
      return largest_in_chunk(x, count);
    case Reduction::non_finite:
      return non_finite_in_chunk(x, count);
  }
  return 0;
}

void add_span(const float* a, const float* b, float* out, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(out + i, add(load(a + i), load(b + i)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_first(out + i, add(load_first(a + i, rest), load_first(b + i, rest)), rest);
}

}  // namespace

void reduce(Context& context, Tensor x, int64_t reduction, Tensor out) {
  check_vector("reduce", "x", x, DType::f32, -1);
  check_vector("reduce", "out", out, DType::f64, 1);
  LUFFY_CHECK(reduction >= 0 && reduction <= 3, "reduce: no reduction has number %lld",
              static_cast<long long>(reduction));

  const Reduction kind = static_cast<Reduction>(reduction);
  const int64_t chunks = (x.shape[0] + kTaskFloats - 1) / kTaskFloats;
  double* partial = context.scratch<double>(chunks);
  parallel_ranges(context, x.shape[0], kTaskFloats, [&](int64_t begin, int64_t end) {
    partial[begin / kTaskFloats] = reduce_chunk(kind, x.f32() + begin, end - begin);
  });
  double result = 0;
  for (int64_t i = 0; i < chunks; ++i) {
    if (kind != Reduction::largest_absolute) {
      result += partial[i];
    } else if (!(partial[i] <= result)) {
      // A NaN compares with nothing: it enters by the negation, and ends the search.
      result = partial[i];
      if (result != result) break;
    }
  }
  *out.f64() = result;
}

void add_rows(Context& context, Tensor a, Tensor b, Tensor out) {
  check_rows("add", "a", a, DType::f32, -1, -1);
  check_rows("add", "b", b, DType::f32, a.shape[0], a.shape[1]);
  check_rows("add", "out", out, DType::f32, a.shape[0], a.shape[1]);
  if (a.contiguous() && b.contiguous() && out.contiguous()) {
    parallel_ranges(context, a.size(), kTaskFloats, [&](int64_t begin, int64_t end) {
      add_span(a.f32() + begin, b.f32() + begin, out.f32() + begin, end - begin);
    });
    return;
  }
  parallel_ranges(context, a.shape[0], task_rows(a.shape[1]), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) add_span(a.row(t), b.row(t), out.row(t), a.shape[1]);
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
