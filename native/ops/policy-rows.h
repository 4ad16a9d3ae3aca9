// The per-token arguments of the policy losses as arrays, read row by row on every backend (this header compiles as
// CUDA too).
#pragma once

#include "policy-loss-math.h"

namespace luffy {

struct PolicyRows {
  const float* old_log_probs;  // or null
  const float* advantages;
  const float* weights;
  const uint8_t* kinds;
  const float* ref_log_probs;  // or null
  const float* teacher_probs;  // or null
};

LUFFY_HD LUFFY_INLINE TokenInput<double> token_input(const PolicyRows& in, int64_t r, double log_prob) {
  TokenInput<double> token = {};
  token.kind = static_cast<TokenKind>(in.kinds[r]);
  token.has_old = in.old_log_probs != nullptr;
  token.has_reference = in.ref_log_probs != nullptr;
  token.has_teacher = in.teacher_probs != nullptr;
  token.log_prob = log_prob;
  if (token.has_old) {
    const float old = in.old_log_probs[r];
    token.has_old = old == old;  // NaN: not known for this token, so its ratio is 1
    token.old_log_prob = old;
  }
  token.advantage = in.advantages[r];
  token.weight = in.weights[r];
  if (token.has_reference) token.reference_log_prob = in.ref_log_probs[r];
  if (token.has_teacher) token.teacher_prob = in.teacher_probs[r];
  return token;
}

}  // namespace luffy
