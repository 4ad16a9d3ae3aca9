// The per-token arguments that policy-loss, logits-policy-loss and linear-policy-loss share: checks, reading, metrics.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"
#include "policy-rows.h"

namespace luffy {
namespace LUFFY_BACKEND {

struct PolicyInputs {
  Tensor old_log_probs;  // optional
  Tensor advantages;
  Tensor weights;
  Tensor kinds;
  Tensor ref_log_probs;  // optional
  Tensor teacher_probs;  // optional
};

LUFFY_INLINE bool is_bound(double x) { return x >= 0 && x <= 1e30; }

LUFFY_INLINE void check_objective(const char* op, const PolicyObjective& o) {
  LUFFY_CHECK(is_bound(o.clip_low) && o.clip_low <= 1, "%s: expected clipLow in [0, 1], got %g", op, o.clip_low);
  LUFFY_CHECK(is_bound(o.clip_high), "%s: expected clipHigh >= 0, got %g", op, o.clip_high);
  LUFFY_CHECK(o.dual_clip == 0 || (is_bound(o.dual_clip) && o.dual_clip > 1),
              "%s: expected dualClip above 1, or 0 for none, got %g", op, o.dual_clip);
  LUFFY_CHECK(is_bound(o.log_ratio_clamp), "%s: expected logRatioClamp >= 0, got %g", op, o.log_ratio_clamp);
  LUFFY_CHECK(o.shaping >= 0 && o.shaping <= 3, "%s: no shaping has number %lld", op,
              static_cast<long long>(o.shaping));
  const Shaping shaping = static_cast<Shaping>(o.shaping);
  LUFFY_CHECK(shaping != Shaping::regularized || (is_bound(o.gamma) && o.gamma > 0),
              "%s: expected gamma above 0, got %g", op, o.gamma);
  LUFFY_CHECK(shaping != Shaping::power || (is_bound(o.exponent) && o.exponent > 0),
              "%s: expected exponent above 0, got %g", op, o.exponent);
  LUFFY_CHECK(is_bound(o.off_policy_cap), "%s: expected offPolicyCap >= 0, got %g", op, o.off_policy_cap);
  LUFFY_CHECK(o.supervised_weight >= 0 && o.supervised_weight <= 2, "%s: no supervised weight has number %lld", op,
              static_cast<long long>(o.supervised_weight));
  LUFFY_CHECK(is_bound(o.kl_coef), "%s: expected klCoef >= 0, got %g", op, o.kl_coef);
  LUFFY_CHECK(o.entropy_share - o.entropy_share == 0, "%s: expected a finite entropyShare, got %g", op,
              o.entropy_share);
}

// All but what the arrays hold, which only a CPU can read here.
LUFFY_INLINE void check_policy_shapes(const char* op, const PolicyInputs& in, const PolicyObjective& objective,
                                      int64_t rows) {
  if (in.old_log_probs) check_vector(op, "oldLogProbs", in.old_log_probs, DType::f32, rows);
  check_vector(op, "advantages", in.advantages, DType::f32, rows);
  check_vector(op, "weights", in.weights, DType::f32, rows);
  check_vector(op, "kinds", in.kinds, DType::u8, rows);
  if (in.ref_log_probs) check_vector(op, "refLogProbs", in.ref_log_probs, DType::f32, rows);
  if (in.teacher_probs) check_vector(op, "teacherProbs", in.teacher_probs, DType::f32, rows);
  check_objective(op, objective);
  LUFFY_CHECK(objective.kl_coef == 0 || in.ref_log_probs, "%s: klCoef %g needs refLogProbs", op, objective.kl_coef);
}

LUFFY_INLINE void check_policy_inputs(const char* op, const PolicyInputs& in, const PolicyObjective& objective,
                                      int64_t rows) {
  check_policy_shapes(op, in, objective, rows);
  const uint8_t* kinds = in.kinds.u8();
  for (int64_t r = 0; r < rows; ++r) {
    LUFFY_CHECK(kinds[r] <= kSupervised, "%s: kinds[%lld]: no kind of token has number %d", op,
                static_cast<long long>(r), static_cast<int>(kinds[r]));
  }
}

// Every token, those of masked rows too, must name a column.
LUFFY_INLINE void check_tokens(const char* op, const Tensor& tokens, int64_t rows, int64_t columns) {
  check_vector(op, "tokens", tokens, DType::i32, rows);
  const int32_t* token = tokens.i32();
  for (int64_t r = 0; r < rows; ++r) {
    LUFFY_CHECK(token[r] >= 0 && token[r] < columns, "%s: tokens[%lld] is %d, outside a vocabulary of %lld", op,
                static_cast<long long>(r), token[r], static_cast<long long>(columns));
  }
}

LUFFY_INLINE void check_temperature(const char* op, double temperature) {
  LUFFY_CHECK(temperature > 0 && temperature <= 1e30, "%s: expected a temperature above 0, got %g", op, temperature);
}

LUFFY_INLINE PolicyRows policy_rows(const PolicyInputs& in) {
  return {in.old_log_probs.f32(), in.advantages.f32(),    in.weights.f32(),
          in.kinds.u8(),          in.ref_log_probs.f32(), in.teacher_probs.f32()};
}

LUFFY_INLINE TokenInput<double> token_input(const PolicyInputs& in, int64_t r, double log_prob) {
  const PolicyRows rows = policy_rows(in);
  const auto at = [r](const float* p) { return p == nullptr ? 0.0f : p[r]; };
  const PolicyRow row = {at(rows.old_log_probs), at(rows.advantages),    at(rows.weights),
                         at(rows.ref_log_probs), at(rows.teacher_probs), rows.kinds[r]};
  return ::luffy::token_input(rows, row, log_prob);
}

// Rows whose TokenLoss is kept at a time: metrics are summed row after row by one thread, whatever the threads, and
// hence do not depend on how a batch was cut into calls either.
constexpr int64_t kRowsOfMetrics = 16384;

}  // namespace LUFFY_BACKEND
}  // namespace luffy
