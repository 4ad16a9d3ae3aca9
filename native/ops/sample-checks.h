// sample-checks: what every backend checks of sample-tokens' arguments.
#pragma once

#include "sample-tokens.h"

namespace luffy {
namespace LUFFY_BACKEND {

LUFFY_INLINE void check_options(const char* op, const SamplingOptions& o) {
  LUFFY_CHECK(o.temperature >= 0 && o.temperature <= 1e30, "%s: expected temperature >= 0, got %g", op, o.temperature);
  LUFFY_CHECK(o.top_k >= 0, "%s: expected topK >= 0, got %lld", op, static_cast<long long>(o.top_k));
  LUFFY_CHECK(o.top_p > 0 && o.top_p <= 1, "%s: expected topP in (0, 1], got %g", op, o.top_p);
  LUFFY_CHECK(o.min_p >= 0 && o.min_p <= 1, "%s: expected minP in [0, 1], got %g", op, o.min_p);
  LUFFY_CHECK(o.seed >= 0 && o.seed <= 9007199254740991.0 && o.seed == __builtin_floor(o.seed),
              "%s: expected seed to be a non-negative safe integer, got %g", op, o.seed);
}

// The number of rows.
LUFFY_INLINE int64_t check_sampling(const Tensor& logits, const Tensor& counters, const SamplingOptions& options,
                                    const Tensor& tokens, const Tensor& log_probs, const Tensor& drawn_log_probs,
                                    const Tensor& entropy, const Tensor& bad) {
  const char* op = "sample-tokens";
  check_rows(op, "logits", logits, DType::f32, -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_rows(op, "counters", counters, DType::i32, rows, 3);
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  check_vector(op, "drawnLogProbs", drawn_log_probs, DType::f32, rows);
  if (entropy) check_vector(op, "entropy", entropy, DType::f32, rows);
  check_vector(op, "bad", bad, DType::i32, rows);
  check_options(op, options);
  LUFFY_CHECK(rows == 0 || (columns > 0 && columns <= INT32_MAX), "%s: expected 1 to %d columns, got %lld", op,
              INT32_MAX, static_cast<long long>(columns));
  return rows;
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
