// token-log-prob: the log-probability of one token per row, and the entropy of the row, under softmax(logits / temperature).
//
//   logits[R, V] float32 (on CUDA logits and gradLogits may be bfloat16), tokens[R] int32; logProbs[R] =, entropy[R] = (optional).
//   H = lse - sum over q > 0 of q z (a logit of -infinity contributes nothing).
//   Row statistics come from row-softmax.h, shared with logits-policy-loss and sample-tokens: the same bits everywhere.
//   backward: gradLogits[R, V] = (may be logits itself) from gradLogProbs[R]: g (1[v = token] - q_v) / temperature.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void token_log_prob_forward(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor log_probs,
                            Tensor entropy /* optional */);
void token_log_prob_backward(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor grad_log_probs,
                             Tensor grad_logits);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
