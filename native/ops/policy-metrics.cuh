// What the three policy losses share on CUDA: the loss of a row, and the sums of the metrics over rows.
//
// Metrics are added in ascending rows by one thread each, whatever the blocks, so that they have the bits of one long
// sum and do not depend on how a batch was cut into calls. Each row leaves its kMetricCount numbers in scratch memory.
#pragma once

#include "../core/context.h"
#include "../core/cu.cuh"
#include "policy-rows.h"

namespace luffy {
namespace cuda {

// A kind that there is not leaves a fault, and makes its row NaN.
DEV TokenLoss<double> row_loss(const PolicyObjective& objective, const PolicyRows& rows, int64_t r, double log_prob,
                               const FaultSink& faults) {
  const auto at = [r](const float* p) { return p == nullptr ? 0.0f : ld(p + r); };
  const PolicyRow row = {at(rows.old_log_probs), at(rows.advantages),    at(rows.weights),
                         at(rows.ref_log_probs), at(rows.teacher_probs), ld(rows.kinds + r)};
  TokenInput<double> input = token_input(rows, row, log_prob);
  if (input.kind > kSupervised) {
    leave_fault(faults, FaultKind::token_kind, r, input.kind);
    input = {};
    input.kind = kSupervised;
    input.log_prob = input.weight = NAN;
  }
  return token_loss(objective, input);
}

// The numbers of row i of `count`, as [metric][row].
DEV void keep_metrics(const TokenLoss<double>& loss, float entropy, double* kept, int64_t count, int64_t i) {
  double metrics[kMetricCount] = {};
  add_token_metrics(loss, static_cast<double>(entropy), metrics);
#pragma unroll
  for (int m = 0; m < kMetricCount; ++m) st(kept + m * count + i, metrics[m]);
}

// metrics += the rows of kept[kMetricCount][count].
void add_metrics(Context& context, const double* kept, int64_t count, double* metrics);

}  // namespace cuda
}  // namespace luffy
