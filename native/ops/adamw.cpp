// adamw on the CPU: one pass over the four arrays. See adamw.h.
//
// Everything that depends on the step alone is computed once in float64, as PyTorch does, and then used as float32.
// Weight decay is a fused p - (lr wd) p: a factor 1 - lr wd would lose most of lr wd when rounded to float32.
#include "adamw.h"

#include "../core/simd.h"
#include "adamw-checks.h"
#include "ranges.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

struct Step {
  Vec factor, decay, beta1, rest1, beta2, rest2, root_correction, epsilon, size;
};

LUFFY_INLINE void update(const Step& step, Vec grad, Vec& param, Vec& first, Vec& second) {
  const Vec g = mul(grad, step.factor);
  const Vec decayed = fnma(step.decay, param, param);
  first = fma(step.beta1, first, mul(step.rest1, g));
  second = fma(step.beta2, second, mul(step.rest2, mul(g, g)));
  const Vec denominator = add(div(sqrt(second), step.root_correction), step.epsilon);
  param = fnma(step.size, div(first, denominator), decayed);
}

void update_span(const Step& step, const float* grads, float* params, float* firsts, float* seconds, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Vec param = load(params + i);
    Vec first = load(firsts + i);
    Vec second = load(seconds + i);
    update(step, load(grads + i), param, first, second);
    store(params + i, param);
    store(firsts + i, first);
    store(seconds + i, second);
  }
  const int rest = static_cast<int>(count - i);
  if (rest == 0) return;
  Vec param = load_first(params + i, rest);
  Vec first = load_first(firsts + i, rest);
  Vec second = load_first(seconds + i, rest);
  update(step, load_first(grads + i, rest), param, first, second);
  store_first(params + i, param, rest);
  store_first(firsts + i, first, rest);
  store_first(seconds + i, second, rest);
}

LUFFY_INLINE Vec as_vec(double x) { return vec(static_cast<float>(x)); }

}  // namespace

void adamw(Context& context, Tensor params, Tensor grads, Tensor first_moment, Tensor second_moment, Tensor control,
           AdamWOptions options) {
  check_adamw(params, grads, first_moment, second_moment, control, options);
  const int64_t count = params.shape[0];
  if (control.f32()[2] == 0.0f) return;

  const double steps = static_cast<double>(options.step);
  Step step;
  step.factor = vec(control.f32()[1]);
  step.decay = as_vec(options.learning_rate * options.weight_decay);
  step.beta1 = as_vec(options.beta1);
  step.rest1 = as_vec(1.0 - options.beta1);
  step.beta2 = as_vec(options.beta2);
  step.rest2 = as_vec(1.0 - options.beta2);
  step.root_correction = as_vec(__builtin_sqrt(1.0 - __builtin_pow(options.beta2, steps)));
  step.epsilon = as_vec(options.epsilon);
  step.size = as_vec(options.learning_rate / (1.0 - __builtin_pow(options.beta1, steps)));
  // An element reads four floats and writes three.
  parallel_ranges(context, count, kTaskFloats / 4, [&](int64_t begin, int64_t end) {
    update_span(step, grads.f32() + begin, params.f32() + begin, first_moment.f32() + begin,
                second_moment.f32() + begin, end - begin);
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
