// logits-policy-loss on CUDA: a block for each row, a warp for short ones. See logits-policy-loss.h; statistics are in
// row-softmax.cuh, the token's loss in policy-loss-math.h.
//
// Bound by memory: each logit is read twice and written once, 12 bytes; the second walk goes backwards over the row, whose
// end is still in the cache. Rows of masked tokens are read once.
#include "logits-policy-loss.h"

#include "policy-inputs.h"
#include "policy-metrics.cuh"
#include "row-softmax.cuh"

namespace luffy {
namespace cuda {

struct LogitsLossCall {
  float* logits;
  int64_t stride, columns;
  const int32_t* tokens;
  RowTemperature temperature;
  PolicyObjective objective;
  PolicyRows inputs;
  float* log_probs;
  float* entropy;
  double* kept;  // metrics of the rows of this launch
  int64_t first, count;
};

// What the second walk over a row needs: logit x becomes 2^y (slope y + constant), that of the token `chosen`.
struct RowGradient {
  float constant, slope, chosen;
  bool masked;
};

// As on the CPU: q (a + b log q) with q = e / sum and log q = y log(2) - log(sum), where a = (-g + share H) / temperature
// and b = share / temperature; for the token 1 - q must not be a difference of rounded numbers.
DEV RowGradient row_gradient(const RowStatistics& row, double log_prob, double g, double share, double temperature) {
  const double log_sum = row_log_sum(row);
  const double entropy = row_entropy(row);
  const double a = (share * entropy - g) / temperature;
  const double b = share / temperature;
  const double q = exp(log_prob);
  const double bonus = q != 0 ? share * q * (log_prob + entropy) : 0.0;
  RowGradient gradient;
  gradient.constant = static_cast<float>((a - b * log_sum) / row.sum);
  gradient.slope = static_cast<float>(b * 0.6931471805599453 / row.sum);
  gradient.chosen = static_cast<float>((-g * expm1(log_prob) + bonus) / temperature);
  gradient.masked = false;
  return gradient;
}

// Row r, by one thread; a token outside the vocabulary makes the row NaN.
DEV RowGradient finish_row(const LogitsLossCall& call, int64_t i, int64_t token, float logit,
                           const RowStatistics& row) {
  const int64_t r = call.first + i;
  const bool known = token >= 0 && token < call.columns;
  const double log_prob = known ? row_log_prob(row, logit, call.temperature.exact) : NAN;
  const float entropy = known ? static_cast<float>(row_entropy(row)) : NAN;
  const TokenLoss<double> loss = row_loss(call.objective, call.inputs, r, log_prob);
  st(call.log_probs + r, static_cast<float>(log_prob));
  st(call.entropy + r, entropy);
  keep_metrics(loss, entropy, call.kept, call.count, i);
  RowGradient gradient =
      row_gradient(row, log_prob, known ? loss.gradient : NAN, call.objective.entropy_share, call.temperature.exact);
  gradient.masked = loss.kind == kMasked;
  return gradient;
}

template <int threads, bool wide>
KERNEL(threads, threads == 32 ? 16 : 2)
logits_policy_loss_kernel(const LogitsLossCall call) {
  constexpr int64_t step = 4 * threads;
  SHARED(RowScratch, scratch, 1);
  SHARED(RowGradient, shared_gradient, 1);
  const float factor = call.temperature.factor;
  for (int64_t i = blockIdx.x; i < call.count; i += gridDim.x) {
    const int64_t columns = call.columns;
    float* const x = call.logits + (call.first + i) * call.stride;
    const RowStatistics row = row_statistics<threads, wide>(x, columns, call.temperature.exact, factor, scratch);
    const int64_t token = ld(call.tokens + call.first + i);
    if (threadIdx.x == 0) {
      *shared_gradient = finish_row(call, i, token, token >= 0 && token < columns ? ld(x + token) : NAN, row);
    }
    __syncthreads();
    const RowGradient gradient = *shared_gradient;
    const int64_t first = 4 * static_cast<int64_t>(threadIdx.x);
    for (int64_t at = first + (columns - 1) / step * step; at >= first; at -= step) {
      const int64_t left = columns - at;
      if (left <= 0) continue;
      Pack<float> four{};
      if (!gradient.masked) {
        four = load_four<wide>(x + at, left, 0.0f);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float y = row_exponent(four.at[j], row.largest, factor);
          four.at[j] = exp2f(y) * fmaf(gradient.slope, y, gradient.constant);
          if (at + j == token) four.at[j] = gradient.chosen;
        }
      }
      store_four<wide>(x + at, left, four);
    }
    // The next row writes the shared memory that slower threads still read.
    __syncthreads();
  }
}

// run(threads, wide) with both as constants; the threads are those of token-log-prob for a row of this length.
template <class Run>
static void for_loss_kernel(int64_t columns, bool wide, Run&& run) {
  using Short = std::integral_constant<int, 32>;
  using Long = std::integral_constant<int, kRowBlock>;
  if (columns <= kShortRow && wide) return run(Short(), std::true_type());
  if (columns <= kShortRow) return run(Short(), std::false_type());
  if (wide) return run(Long(), std::true_type());
  run(Long(), std::false_type());
}

void logits_policy_loss(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor old_log_probs,
                        Tensor advantages, Tensor weights, Tensor kinds, Tensor ref_log_probs, Tensor teacher_probs,
                        PolicyObjective objective, Tensor log_probs, Tensor entropy, Tensor metrics) {
  const char* op = "logits-policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_rows(op, "logits", logits, DType::f32, -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_temperature(op, temperature);
  check_policy_shapes(op, inputs, objective, rows);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  check_vector(op, "entropy", entropy, DType::f32, rows);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);

  LogitsLossCall call{};
  call.logits = logits.f32();
  call.stride = logits.row_stride;
  call.columns = columns;
  call.tokens = tokens.i32();
  call.temperature = row_temperature(temperature);
  call.objective = objective;
  call.inputs = policy_rows(inputs);
  call.log_probs = log_probs.f32();
  call.entropy = entropy.f32();
  const int64_t most = rows < kRowsOfMetrics ? rows : kRowsOfMetrics;
  call.kept = context.scratch<double>(most * kMetricCount);
  for (call.first = 0; call.first < rows; call.first += kRowsOfMetrics) {
    call.count = rows - call.first < kRowsOfMetrics ? rows - call.first : kRowsOfMetrics;
    for_loss_kernel(columns, rows_aligned(logits), [&](auto threads, auto wide) {
      constexpr int block = decltype(threads)::value;
      const Launch how(dim3(static_cast<unsigned>(call.count)), dim3(block), 0, stream_of(context));
      launch<logits_policy_loss_kernel<block, decltype(wide)::value>>(how, call);
    });
    add_metrics(context, call.kept, call.count, metrics.f64());
  }
}

}  // namespace cuda
}  // namespace luffy
