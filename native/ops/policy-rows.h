// The per-token arguments of the policy losses as arrays, and one row of them, which every backend reads in its own way
// (this header compiles as CUDA too).
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

// What there is none of is 0.
struct PolicyRow {
  float old_log_prob, advantage, weight, ref_log_prob, teacher_prob;
  uint8_t kind;
};

LUFFY_HD LUFFY_INLINE TokenInput<double> token_input(const PolicyRows& in, const PolicyRow& row, double log_prob) {
  TokenInput<double> token = {};
  token.kind = static_cast<TokenKind>(row.kind);
  token.has_old = in.old_log_probs != nullptr;
  token.has_reference = in.ref_log_probs != nullptr;
  token.has_teacher = in.teacher_probs != nullptr;
  token.log_prob = log_prob;
  if (token.has_old) {
    const float old = row.old_log_prob;
    token.has_old = old == old;  // NaN: not known for this token, so its ratio is 1
    token.old_log_prob = old;
  }
  token.advantage = row.advantage;
  token.weight = row.weight;
  if (token.has_reference) token.reference_log_prob = row.ref_log_prob;
  if (token.has_teacher) token.teacher_prob = row.teacher_prob;
  return token;
}

}  // namespace luffy
