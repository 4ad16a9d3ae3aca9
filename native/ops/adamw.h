// adamw: one step of AdamW (Loshchilov & Hutter, arXiv 1711.05101, Algorithm 2; PyTorch's order of operations).
//
//   params[n], firstMoment[n], secondMoment[n] float32 in place; grads[n] float32; control[4] from gradient-norm;
//   half[n] bfloat16 (optional) = the new params, rounded.
//   g = grads * control.factor
//   params -= learningRate * weightDecay * params
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   params -= learningRate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
//   When control.ok is 0 nothing changes, not a bit, half included. Moves 7 floats an element at the memory's speed, one pass.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {

struct AdamWOptions {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  int64_t step = 1;  // counts applied updates from 1

  template <class Visitor>
  static void fields(Visitor&& visit) {
    visit("learningRate", &AdamWOptions::learning_rate);
    visit("beta1", &AdamWOptions::beta1);
    visit("beta2", &AdamWOptions::beta2);
    visit("epsilon", &AdamWOptions::epsilon);
    visit("weightDecay", &AdamWOptions::weight_decay);
    visit("step", &AdamWOptions::step);
  }
};

namespace LUFFY_BACKEND {

void adamw(Context& context, Tensor params, Tensor grads, Tensor first_moment, Tensor second_moment, Tensor control,
           Tensor half /* optional */, AdamWOptions options);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
