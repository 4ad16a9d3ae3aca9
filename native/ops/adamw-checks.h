// adamw: its arguments as every backend checks them.
#pragma once

#include "adamw.h"

namespace luffy {
namespace LUFFY_BACKEND {

LUFFY_INLINE void check_adamw(const Tensor& params, const Tensor& grads, const Tensor& first_moment,
                              const Tensor& second_moment, const Tensor& control, const AdamWOptions& options) {
  check_vector("adamw", "params", params, DType::f32, -1);
  const int64_t count = params.shape[0];
  check_vector("adamw", "grads", grads, DType::f32, count);
  check_vector("adamw", "firstMoment", first_moment, DType::f32, count);
  check_vector("adamw", "secondMoment", second_moment, DType::f32, count);
  check_vector("adamw", "control", control, DType::f32, 4);
  LUFFY_CHECK(options.step >= 1, "adamw: step is %lld, must count from 1", static_cast<long long>(options.step));
  LUFFY_CHECK(options.beta1 >= 0 && options.beta1 < 1 && options.beta2 >= 0 && options.beta2 < 1,
              "adamw: betas %g and %g must be in [0, 1)", options.beta1, options.beta2);
  LUFFY_CHECK(
      __builtin_isfinite(options.learning_rate) && __builtin_isfinite(options.weight_decay) && options.epsilon >= 0,
      "adamw: learningRate %g, weightDecay %g, epsilon %g", options.learning_rate, options.weight_decay,
      options.epsilon);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
