// rms-norm on the CPU. See rms-norm.h.
//
// Sums over a group of C numbers run in kSums vectors side by side (element i goes to vector i / kLanes % kSums), the
// vectors that remain go to the first one; then (s0 + s1) + (s2 + s3), then the lanes. C alone decides the order.
#include "rms-norm.h"

#include "../core/simd.h"
#include "ranges.h"
#include "rms-norm-checks.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

constexpr int kSums = 4;
// Partial sums of gradWeight: at least so many rows each, and no more than so many of them.
constexpr int64_t kSmallestChunk = 16;
constexpr int64_t kMostChunks = 256;

// The sum over c of term(c, vector of C) with term a fused multiply-add onto the running vector:
// step(c, sum) for whole vectors, step_first(c, n, sum) for the last n numbers.
template <class Step, class StepFirst>
LUFFY_INLINE float sum_over(int64_t columns, Step&& step, StepFirst&& step_first) {
  Vec sums[kSums] = {vec(0.0f), vec(0.0f), vec(0.0f), vec(0.0f)};
  int64_t c = 0;
  for (; c + kSums * kLanes <= columns; c += kSums * kLanes) {
    for (int k = 0; k < kSums; ++k) sums[k] = step(c + k * kLanes, sums[k]);
  }
  for (; c + kLanes <= columns; c += kLanes) sums[0] = step(c, sums[0]);
  if (c < columns) sums[0] = step_first(c, static_cast<int>(columns - c), sums[0]);
  return reduce_add(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
}

// One group. With a residual but no `sum` to keep it in, x + residual is formed twice.
template <bool kResidual>
LUFFY_INLINE float normalise(const float* x, const float* residual, const float* weight, float* sum, float* out,
                             int64_t columns, double epsilon, int64_t ahead) {
  const auto value = [&](int64_t c) {
    if (kResidual) return add(load(x + c), load(residual + c));
    return load(x + c);
  };
  const auto value_first = [&](int64_t c, int n) {
    if (kResidual) return add(load_first(x + c, n), load_first(residual + c, n));
    return load_first(x + c, n);
  };
  const float squares = sum_over(
      columns,
      [&](int64_t c, Vec acc) {
        prefetch(x + c, ahead);
        if (kResidual) prefetch(residual + c, ahead);
        const Vec s = value(c);
        if (sum != nullptr) store(sum + c, s);
        return fma(s, s, acc);
      },
      [&](int64_t c, int n, Vec acc) {
        const Vec s = value_first(c, n);
        if (sum != nullptr) store_first(sum + c, s, n);
        return fma(s, s, acc);
      });
  const float scale =
      static_cast<float>(1.0 / __builtin_sqrt(static_cast<double>(squares) / static_cast<double>(columns) + epsilon));
  const Vec scales = vec(scale);
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    const Vec s = sum != nullptr ? load(sum + c) : value(c);
    store(out + c, mul(mul(s, scales), load(weight + c)));
  }
  if (c < columns) {
    const int n = static_cast<int>(columns - c);
    const Vec s = sum != nullptr ? load_first(sum + c, n) : value_first(c, n);
    store_first(out + c, mul(mul(s, scales), load_first(weight + c, n)), n);
  }
  return scale;
}

// One group: gradWeight's terms are added to `partial`, then
// gradX = rstd (weight gradOut - s rstd mean(weight gradOut s rstd)) + gradSum.
LUFFY_INLINE void backward_group(const float* grad_out, const float* s, const float* weight, float scale,
                                 const float* grad_sum, float* grad_x, float* partial, int64_t columns, int64_t ahead) {
  const Vec scales = vec(scale);
  const float dot = sum_over(
      columns,
      [&](int64_t c, Vec acc) {
        prefetch(grad_out + c, ahead);
        prefetch(s + c, ahead);
        if (grad_sum != nullptr) prefetch(grad_sum + c, ahead);
        const Vec g = load(grad_out + c);
        const Vec x = load(s + c);
        store(partial + c, fma(g, mul(x, scales), load(partial + c)));
        return fma(mul(g, load(weight + c)), x, acc);
      },
      [&](int64_t c, int n, Vec acc) {
        const Vec g = load_first(grad_out + c, n);
        const Vec x = load_first(s + c, n);
        store_first(partial + c, fma(g, mul(x, scales), load_first(partial + c, n)), n);
        return fma(mul(g, load_first(weight + c, n)), x, acc);
      });
  const Vec mean = vec(dot * scale / static_cast<float>(columns));
  int64_t c = 0;
  for (; c + kLanes <= columns; c += kLanes) {
    const Vec g = mul(load(grad_out + c), load(weight + c));
    const Vec inner = fnma(mul(load(s + c), scales), mean, g);
    store(grad_x + c, grad_sum != nullptr ? fma(inner, scales, load(grad_sum + c)) : mul(inner, scales));
  }
  if (c < columns) {
    const int n = static_cast<int>(columns - c);
    const Vec g = mul(load_first(grad_out + c, n), load_first(weight + c, n));
    const Vec inner = fnma(mul(load_first(s + c, n), scales), mean, g);
    const Vec grad = grad_sum != nullptr ? fma(inner, scales, load_first(grad_sum + c, n)) : mul(inner, scales);
    store_first(grad_x + c, grad, n);
  }
}

// gradWeight += the partial sums, first to last.
void add_partial_sums(Context& context, const float* partial, int64_t chunks, float* grad_weight, int64_t columns) {
  const int64_t grain = (task_rows(chunks) + kLanes - 1) / kLanes * kLanes;
  parallel_ranges(context, columns, grain, [=](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; c += kLanes) {
      const int n = static_cast<int>(at_most(end - c, kLanes));
      Vec total = load_first(partial + c, n);
      for (int64_t chunk = 1; chunk < chunks; ++chunk) total = add(total, load_first(partial + chunk * columns + c, n));
      store_first(grad_weight + c, add(load_first(grad_weight + c, n), total), n);
    }
  });
}

}  // namespace

void rms_norm_forward(Context& context, Tensor x, Tensor residual, Tensor weight, double epsilon, Tensor sum,
                      Tensor out, Tensor rstd) {
  const int64_t groups = check_rms_norm_forward(x, residual, weight, epsilon, sum, out, rstd, DType::f32);
  const int64_t rows = x.shape[0];
  const int64_t row_size = x.shape[1];

  const int64_t columns = weight.shape[0];
  const int64_t ahead = prefetch_distance(row_size, x.row_stride);
  parallel_ranges(context, rows, task_rows(row_size), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t offset = group * columns;
        float* kept = sum ? sum.row(t) + offset : nullptr;
        const float scale = residual ? normalise<true>(x.row(t) + offset, residual.row(t) + offset, weight.f32(), kept,
                                                       out.row(t) + offset, columns, epsilon, ahead)
                                     : normalise<false>(x.row(t) + offset, nullptr, weight.f32(), kept,
                                                        out.row(t) + offset, columns, epsilon, ahead);
        if (rstd) rstd.f32()[t * groups + group] = scale;
      }
    }
  });
}

void rms_norm_backward(Context& context, Tensor grad_out, Tensor s, Tensor weight, Tensor rstd, Tensor grad_sum,
                       Tensor grad_x, Tensor grad_weight) {
  const int64_t groups = check_rms_norm_backward(grad_out, s, weight, rstd, grad_sum, grad_x, grad_weight, DType::f32);
  const int64_t rows = s.shape[0];
  const int64_t row_size = s.shape[1];
  const int64_t columns = weight.shape[0];
  if (rows == 0 || groups == 0) return;

  int64_t grain = task_rows(row_size);
  if (grain < kSmallestChunk) grain = kSmallestChunk;
  if (grain * kMostChunks < rows) grain = (rows + kMostChunks - 1) / kMostChunks;
  const int64_t chunks = (rows + grain - 1) / grain;
  const int64_t ahead = prefetch_distance(row_size, s.row_stride);
  float* partial = context.scratch<float>(chunks * columns);
  parallel_ranges(context, rows, grain, [&](int64_t begin, int64_t end) {
    float* mine = partial + begin / grain * columns;
    for (int64_t c = 0; c < columns; ++c) mine[c] = 0.0f;
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t group = 0; group < groups; ++group) {
        const int64_t offset = group * columns;
        backward_group(grad_out.row(t) + offset, s.row(t) + offset, weight.f32(), rstd.f32()[t * groups + group],
                       grad_sum ? grad_sum.row(t) + offset : nullptr, grad_x.row(t) + offset, mine, columns, ahead);
      }
    }
  });
  add_partial_sums(context, partial, chunks, grad_weight.f32(), columns);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
