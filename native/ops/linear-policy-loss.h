// linear-policy-loss: logits-policy-loss from hidden states and the output matrix, in chunks of rows, so that the logits
// of a batch never exist at once: 6 FLOPs per (row, hidden, word) and memory that does not grow with R * V.
//
//   hidden[R, C], weight[V, C] float32; on CUDA they, gradHidden and the logits may be bfloat16. The other inputs are those
//   of logits-policy-loss.
//   gradHidden[R, C] =, gradWeight[V, C] +=; logProbs[R] =, entropy[R] =; metrics[kMetricCount] float64 +=.
//   linear_log_prob is its forward half: log-probabilities and entropy only, bit-equal to the above.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"
#include "policy-objective.h"

namespace luffy {
namespace LUFFY_BACKEND {

void linear_policy_loss(Context& context, Tensor hidden, Tensor weight, Tensor tokens, double temperature,
                        Tensor old_log_probs /* optional */, Tensor advantages, Tensor weights, Tensor kinds,
                        Tensor ref_log_probs /* optional */, Tensor teacher_probs /* optional */,
                        PolicyObjective objective, Tensor log_probs, Tensor entropy, Tensor grad_hidden,
                        Tensor grad_weight, Tensor metrics);
void linear_log_prob(Context& context, Tensor hidden, Tensor weight, Tensor tokens, double temperature,
                     Tensor log_probs, Tensor entropy /* optional */);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
