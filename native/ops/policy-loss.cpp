// policy-loss on the CPU. See policy-loss.h; the formula is in policy-loss-math.h.
#include "policy-loss.h"

#include "policy-inputs.h"
#include "ranges.h"

namespace luffy {
namespace LUFFY_BACKEND {

void policy_loss(Context& context, Tensor log_probs, Tensor old_log_probs, Tensor advantages, Tensor weights,
                 Tensor kinds, Tensor ref_log_probs, Tensor teacher_probs, PolicyObjective objective,
                 Tensor grad_log_probs, Tensor metrics) {
  const char* op = "policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_vector(op, "logProbs", log_probs, DType::f32, -1);
  const int64_t rows = log_probs.shape[0];
  check_policy_inputs(op, inputs, objective, rows);
  check_vector(op, "gradLogProbs", grad_log_probs, DType::f32, rows);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);

  // A token costs about as much as 64 floats of a memory-bound kernel.
  const int64_t grain = task_rows(64);
  TokenLoss<double>* losses = context.scratch<TokenLoss<double>>(at_most(rows, kRowsOfMetrics));
  for (int64_t first = 0; first < rows; first += kRowsOfMetrics) {
    const int64_t count = at_most(kRowsOfMetrics, rows - first);
    parallel_ranges(context, count, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t r = first + i;
        losses[i] = token_loss(objective, token_input(inputs, r, log_probs.f32()[r]));
        grad_log_probs.f32()[r] = static_cast<float>(losses[i].gradient);
      }
    });
    for (int64_t i = 0; i < count; ++i) add_token_metrics(losses[i], 0.0, metrics.f64());
  }
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
