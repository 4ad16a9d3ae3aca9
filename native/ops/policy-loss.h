// policy-loss: the token objective of LUFFY and of the methods beside it, from log-probabilities (design: docs/luffy.md).
//
//   logProbs[R] float32; oldLogProbs[R] (absent, or NaN for a token: the ratio is 1 and its gradient that of
//   p/p_detached);
//   advantages[R], weights[R] float32 (the reduction: a token's share of the update, e.g. 1/divisor); kinds[R] uint8
//   (TokenKind); refLogProbs[R] (needed when klCoef > 0); teacherProbs[R] (absent: taken as 1).
//   loss of a token = weight * (objective + klCoef * k3(ref, policy)), where objective is
//     on-policy   -A r, r = exp(clamp(logProb - old)); with clip: max(-A r, -A clip(r)), and dual clip for A < 0
//     off-policy  -A min(cap, f(p / teacher)), f = none: x | regularized: x/(x+gamma) | sqrt | power: x^exponent
//     supervised  -phi logProb, phi detached: 1 | p | p (1 - p)
//   gradLogProbs[R] = d loss / d logProb (0 where masked). metrics[kMetricCount] float64 +=, in ascending r.
//   The scalar formula and its derivative stand in policy-loss-math.h. Selected by `?:`, never multiplied by a mask.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"
#include "policy-objective.h"

namespace luffy {
namespace LUFFY_BACKEND {

void policy_loss(Context& context, Tensor log_probs, Tensor old_log_probs /* optional */, Tensor advantages,
                 Tensor weights, Tensor kinds, Tensor ref_log_probs /* optional */, Tensor teacher_probs /* optional */,
                 PolicyObjective objective, Tensor grad_log_probs, Tensor metrics);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
