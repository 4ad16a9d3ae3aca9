// linear-policy-loss and its forward half: their arguments as every backend checks them, and how rows are cut in chunks.
#pragma once

#include "linear-policy-loss.h"
#include "policy-inputs.h"

namespace luffy {
namespace LUFFY_BACKEND {

// A chunk has a multiple of kRowMultiple rows and no fewer than kLeastRows: each reads the whole matrix three times.
// Neither number shows in a log-probability: a row's bits depend on no other row.
constexpr int64_t kLeastRows = 64;
constexpr int64_t kRowMultiple = 32;

// Rows per chunk of about `floats` logits: chunks of nearly equal size, because a short last one would read the matrix
// for few rows.
LUFFY_INLINE int64_t rows_per_chunk(int64_t rows, int64_t words, int64_t floats) {
  int64_t most = words > 0 ? floats / words / kRowMultiple * kRowMultiple : rows;
  if (most < kLeastRows) most = kLeastRows;
  if (most >= rows) return rows;
  const int64_t chunks = (rows + most - 1) / most;
  const int64_t even = (rows + chunks - 1) / chunks;
  return (even + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
}

// `dtype` is that of hidden and weight.
LUFFY_INLINE void check_linear_log_prob(const char* op, const Tensor& hidden, const Tensor& weight,
                                        const Tensor& tokens, double temperature, const Tensor& log_probs,
                                        const Tensor& entropy /* optional */, DType dtype) {
  check_rows(op, "hidden", hidden, dtype, -1, -1);
  check_rows(op, "weight", weight, dtype, -1, hidden.shape[1]);
  check_vector(op, "tokens", tokens, DType::i32, hidden.shape[0]);
  check_temperature(op, temperature);
  check_vector(op, "logProbs", log_probs, DType::f32, hidden.shape[0]);
  if (entropy) check_vector(op, "entropy", entropy, DType::f32, hidden.shape[0]);
}

LUFFY_INLINE void check_linear_policy_loss(const char* op, const Tensor& hidden, const Tensor& weight,
                                           const Tensor& tokens, double temperature, const PolicyInputs& inputs,
                                           const PolicyObjective& objective, const Tensor& log_probs,
                                           const Tensor& entropy, const Tensor& grad_hidden, const Tensor& grad_weight,
                                           const Tensor& metrics, DType dtype) {
  check_linear_log_prob(op, hidden, weight, tokens, temperature, log_probs, Tensor(), dtype);
  check_policy_shapes(op, inputs, objective, hidden.shape[0]);
  check_vector(op, "entropy", entropy, DType::f32, hidden.shape[0]);
  check_rows(op, "gradHidden", grad_hidden, dtype, hidden.shape[0], hidden.shape[1]);
  check_rows(op, "gradWeight", grad_weight, DType::f32, weight.shape[0], weight.shape[1]);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
