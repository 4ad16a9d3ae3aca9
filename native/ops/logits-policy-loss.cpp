// logits-policy-loss on the CPU. See logits-policy-loss.h; statistics are in row-softmax.h, the token's loss in
// policy-loss-math.h.
//
// One task is one or more rows, read from memory once and written once: a row of 152k logits stays in the second-level
// cache between its two passes. Without an entropy bonus the first pass leaves e^(z - largest of the chunk) in place of
// the logits and the second only scales it.
#include "logits-policy-loss.h"

#include "policy-inputs.h"
#include "ranges.h"
#include "row-softmax.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// Cost of a row beside its logits (logarithms, the token's loss), in floats of memory traffic.
constexpr int64_t kRowCost = 512;

struct RowGradient {
  double log_prob;  // d loss / d logProb
  double entropy;   // the entropy share
};

void zero_row(float* x, int64_t columns) { __builtin_memset(x, 0, static_cast<size_t>(columns) * sizeof(float)); }

// x holds logits: x = q (a + b log q), where a = (-g + share H) / temperature and b = share / temperature.
void gradient_with_entropy(float* x, int64_t columns, const RowSoftmax& row, Temperature temperature,
                           const RowGradient& gradient) {
  const double a = (gradient.entropy * row.entropy - gradient.log_prob) / temperature.exact;
  const double b = gradient.entropy / temperature.exact;
  // q = e / sum and log q = y log(2) - log_sum.
  const Vec constant = vec(static_cast<float>((a - b * row.log_sum) / row.sum));
  const Vec slope = vec(static_cast<float>(b * kLogOf2 / row.sum));
  const Vec factor = vec(temperature.factor);
  const Vec top = vec(row.largest);
  int64_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    const Vec y = exponent_of(load(x + i), top, factor);
    store(x + i, mul(exp2_of(y), fma(slope, y, constant)));
  }
  const int rest = static_cast<int>(columns - i);
  if (rest > 0) {
    const Vec y = exponent_of(load_first(x + i, rest), top, factor);
    store_first(x + i, mul(exp2_of(y), fma(slope, y, constant)), rest);
  }
}

// The drawn token's own entry, where 1 - q must not be a difference of rounded numbers.
float gradient_of_token(double log_prob, const RowSoftmax& row, Temperature temperature, const RowGradient& gradient) {
  const double q = __builtin_exp(log_prob);
  const double entropy = q != 0 ? gradient.entropy * q * (log_prob + row.entropy) : 0.0;
  const double chosen = -gradient.log_prob * __builtin_expm1(log_prob);
  return static_cast<float>((chosen + entropy) / temperature.exact);
}

}  // namespace

void logits_policy_loss(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor old_log_probs,
                        Tensor advantages, Tensor weights, Tensor kinds, Tensor ref_log_probs, Tensor teacher_probs,
                        PolicyObjective objective, Tensor log_probs, Tensor entropy, Tensor metrics) {
  const char* op = "logits-policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_rows(op, "logits", logits, DType::f32, -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_tokens(op, tokens, rows, columns);
  check_temperature(op, temperature);
  check_policy_inputs(op, inputs, objective, rows);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  check_vector(op, "entropy", entropy, DType::f32, rows);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);

  const Temperature scale = temperature_of(temperature);
  const bool keeps = objective.entropy_share == 0;
  const int64_t chunk_count = row_chunks(columns);
  RowChunk* all_chunks = context.scratch<RowChunk>(context.threads() * chunk_count);
  TokenLoss<double>* losses = context.scratch<TokenLoss<double>>(at_most(rows, kRowsOfMetrics));

  for (int64_t first = 0; first < rows; first += kRowsOfMetrics) {
    const int64_t count = at_most(kRowsOfMetrics, rows - first);
    const int64_t grain = task_rows(columns + kRowCost);
    parallel_for(context, (count + grain - 1) / grain, [&](int64_t task, int thread) {
      RowChunk* chunks = all_chunks + thread * chunk_count;
      const int64_t end = at_most((task + 1) * grain, count);
      for (int64_t i = task * grain; i < end; ++i) {
        const int64_t r = first + i;
        float* x = logits.row(r);
        const int64_t token = tokens.i32()[r];
        const float chosen = x[token];
        const bool masked = kinds.u8()[r] == kMasked;
        const RowSoftmax row = keeps && !masked ? row_softmax<true>(x, columns, scale, chunks, x)
                                                : row_softmax<false>(x, columns, scale, chunks, nullptr);
        const double log_prob = log_prob_of(row, chosen, scale);
        log_probs.f32()[r] = static_cast<float>(log_prob);
        entropy.f32()[r] = static_cast<float>(row.entropy);
        losses[i] = token_loss(objective, token_input(inputs, r, log_prob));
        if (masked) {
          zero_row(x, columns);
          continue;
        }
        const RowGradient gradient = {losses[i].gradient, objective.entropy_share};
        if (keeps) {
          scale_to_softmax(x, columns, row, chunks, scale, -gradient.log_prob / temperature);
        } else {
          gradient_with_entropy(x, columns, row, scale, gradient);
        }
        x[token] = gradient_of_token(log_prob, row, scale, gradient);
      }
    });
    for (int64_t i = 0; i < count; ++i) add_token_metrics(losses[i], entropy.f32()[first + i], metrics.f64());
  }
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
