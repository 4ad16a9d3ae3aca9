// logits-policy-loss: policy-loss from logits, fused, in place: nothing of size V besides the logits themselves.
//
//   logits[R, V] float32 (on CUDA also bfloat16) in; on return d loss / d logits (rows of masked tokens: zeros). tokens[R] int32.
//   logProbs[R] =, entropy[R] = of softmax(logits / temperature), also for masked rows. The other arguments are
//   those of policy-loss. The entropy bonus: loss -= entropyShare * H for every unmasked token; with q = softmax(z),
//     d loss / d logit_v = (g (1[v = token] - q_v) + entropyShare q_v (log q_v + H)) / temperature,  g = d loss / d logProb.
//   metrics[kMetricCount] float64 +=, in ascending r. A token outside [0, V) fails the op before anything is written.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"
#include "policy-objective.h"

namespace luffy {
namespace LUFFY_BACKEND {

void logits_policy_loss(Context& context, Tensor logits, Tensor tokens, double temperature,
                        Tensor old_log_probs /* optional */, Tensor advantages, Tensor weights, Tensor kinds,
                        Tensor ref_log_probs /* optional */, Tensor teacher_probs /* optional */,
                        PolicyObjective objective, Tensor log_probs, Tensor entropy, Tensor metrics);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
