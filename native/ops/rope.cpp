// rope on the CPU. See rope.h.
#include "rope.h"

#include "../core/simd.h"
#include "indexed-rows.h"
#include "ranges.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// Rotates the pairs (first[i], second[i]) by the angles whose cosine and sine are given:
// first' = first cos - second sin, second' = second cos + first sin, the product with cos rounded first.
LUFFY_INLINE void rotate(Vec cosine, Vec sine, Vec& first, Vec& second) {
  const Vec rotated = fnma(second, sine, mul(first, cosine));
  second = fma(first, sine, mul(second, cosine));
  first = rotated;
}

// One row of `heads` heads of 2 * half numbers. The sign turns the angle round: exact, so the inverse is the
// transpose to the bit.
LUFFY_INLINE void rotate_row(float* x, const float* cosine, const float* sine, int64_t heads, int64_t half, Vec sign,
                             int64_t ahead) {
  const int64_t whole = half / kLanes * kLanes;
  const int rest = static_cast<int>(half - whole);
  for (int64_t i = 0; i < whole; i += kLanes) {
    const Vec c = load(cosine + i);
    const Vec s = mul(load(sine + i), sign);
    float* p = x + i;
    for (int64_t head = 0; head < heads; ++head, p += 2 * half) {
      prefetch(p, ahead);
      prefetch(p + half, ahead);
      Vec first = load(p);
      Vec second = load(p + half);
      rotate(c, s, first, second);
      store(p, first);
      store(p + half, second);
    }
  }
  if (rest == 0) return;
  const Vec c = load_first(cosine + whole, rest);
  const Vec s = mul(load_first(sine + whole, rest), sign);
  float* p = x + whole;
  for (int64_t head = 0; head < heads; ++head, p += 2 * half) {
    Vec first = load_first(p, rest);
    Vec second = load_first(p + half, rest);
    rotate(c, s, first, second);
    store_first(p, first, rest);
    store_first(p + half, second, rest);
  }
}

}  // namespace

void rope(Context& context, Tensor x, Tensor positions, Tensor cosine, Tensor sine, bool inverse) {
  check_rows("rope", "x", x, DType::f32, -1, -1);
  check_vector("rope", "positions", positions, DType::i32, x.shape[0]);
  check_matrix("rope", "cosine", cosine, DType::f32, -1, -1);
  check_matrix("rope", "sine", sine, DType::f32, cosine.shape[0], cosine.shape[1]);
  const int64_t half = cosine.shape[1];
  LUFFY_CHECK(half > 0 && x.shape[1] % (2 * half) == 0,
              "rope: rows of %" PRId64 " numbers are no whole heads of 2 * %" PRId64, x.shape[1], half);
  check_indices("rope", "positions", positions, cosine.shape[0]);

  const int64_t heads = x.shape[1] / (2 * half);
  const int32_t* position = positions.i32();
  const int64_t ahead = prefetch_distance(x.shape[1], x.row_stride);
  const Vec sign = vec(inverse ? -1.0f : 1.0f);
  parallel_ranges(context, x.shape[0], task_rows(x.shape[1]), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t offset = position[t] * half;
      rotate_row(x.row(t), cosine.f32() + offset, sine.f32() + offset, heads, half, sign, ahead);
    }
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
