// adamw on CUDA: one pass over the four arrays, each thread four elements. See adamw.h.
//
// Bound by memory: 16 bytes read and 12 written an element. What depends on the step alone is computed once on the host
// in float64 and used as float32; the bits are those of a processor with fused multiply-adds. The factor and the
// verdict of gradient-norm are read on the device, so that nothing waits for them.
#include "adamw.h"

#include <cmath>

#include "adamw-checks.h"
#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

constexpr int kAdamWBlock = 256;

struct AdamWStep {
  float decay, beta1, rest1, beta2, rest2, root_correction, epsilon, size;
};

DEV void adamw_update(const AdamWStep& step, float factor, float grad, float& param, float& first, float& second) {
  const float g = grad * factor;
  const float decayed = fmaf(-step.decay, param, param);
  first = fmaf(step.beta1, first, step.rest1 * g);
  second = fmaf(step.beta2, second, step.rest2 * (g * g));
  const float denominator = sqrtf(second) / step.root_correction + step.epsilon;
  param = fmaf(-step.size, first / denominator, decayed);
}

template <bool wide>
KERNEL(kAdamWBlock)
adamw_kernel(float* params, const float* grads, float* firsts, float* seconds, const float* control, int64_t count,
             AdamWStep step) {
  const float factor = ld(control + 1);
  if (ld(control + 2) == 0.0f) return;  // not finite
  for (int64_t i = 4 * grid_thread(); i < count; i += 4 * grid_step()) {
    const int64_t left = count - i;
    const auto grad = load_four<wide>(grads + i, left, 0.0f);
    auto param = load_four<wide>(params + i, left, 0.0f);
    auto first = load_four<wide>(firsts + i, left, 0.0f);
    auto second = load_four<wide>(seconds + i, left, 0.0f);
#pragma unroll
    for (int j = 0; j < 4; ++j) adamw_update(step, factor, grad.at[j], param.at[j], first.at[j], second.at[j]);
    store_four<wide>(params + i, left, param);
    store_four<wide>(firsts + i, left, first);
    store_four<wide>(seconds + i, left, second);
  }
}

static AdamWStep adamw_step(const AdamWOptions& options) {
  const double steps = static_cast<double>(options.step);
  AdamWStep step;
  step.decay = static_cast<float>(options.learning_rate * options.weight_decay);
  step.beta1 = static_cast<float>(options.beta1);
  step.rest1 = static_cast<float>(1.0 - options.beta1);
  step.beta2 = static_cast<float>(options.beta2);
  step.rest2 = static_cast<float>(1.0 - options.beta2);
  step.root_correction = static_cast<float>(std::sqrt(1.0 - std::pow(options.beta2, steps)));
  step.epsilon = static_cast<float>(options.epsilon);
  step.size = static_cast<float>(options.learning_rate / (1.0 - std::pow(options.beta1, steps)));
  return step;
}

void adamw(Context& context, Tensor params, Tensor grads, Tensor first_moment, Tensor second_moment, Tensor control,
           AdamWOptions options) {
  check_adamw(params, grads, first_moment, second_moment, control, options);
  const int64_t count = params.shape[0];
  if (count == 0) return;

  const AdamWStep step = adamw_step(options);
  const Launch how(dim3(blocks_for((count + 3) / 4, kAdamWBlock)), dim3(kAdamWBlock), 0, stream_of(context));
  const auto run = [&](auto kernel) {
    kernel(how, params.f32(), static_cast<const float*>(grads.f32()), first_moment.f32(), second_moment.f32(),
           static_cast<const float*>(control.f32()), count, step);
  };
  // A vector has one row of its own length, whatever its stride says.
  const auto aligned = [](const Tensor& t) { return reinterpret_cast<uintptr_t>(t.data) % 16 == 0; };
  if (aligned(params) && aligned(grads) && aligned(first_moment) && aligned(second_moment)) {
    run([](auto... arguments) { launch<adamw_kernel<true>>(arguments...); });
  } else {
    run([](auto... arguments) { launch<adamw_kernel<false>>(arguments...); });
  }
}

}  // namespace cuda
}  // namespace luffy
