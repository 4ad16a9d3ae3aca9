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

template <class T>
struct LogitsLossCall {
  T* logits;
  int64_t stride, columns;
  const int32_t* tokens;
  RowTemperature temperature;
  PolicyObjective objective;
  PolicyRows inputs;
  float* log_probs;
  float* entropy;
  double* kept;  // metrics of the rows of this launch
  int64_t first, count;
  FaultSink faults;
};

// What the second walk over a row needs: logit x becomes 2^y (slope y + constant), that of the token `chosen`.
struct RowGradient {
  float constant, slope, chosen;
  bool masked;
};

// Row i of the launch, by one thread; a token outside the vocabulary makes the row NaN, and leaves a fault. As on the CPU the gradient is
// q (a + b log q) with q = e / sum and log q = y log(2) - log(sum), where a = (-g + share H) / temperature and b = share /
// temperature; for the token 1 - q must not be a difference of rounded numbers.
template <class T>
DEV void finish_row(const LogitsLossCall<T>& call, int64_t i, const RowStatistics& row, RowGradient* gradient) {
  const int64_t r = call.first + i;
  const int64_t token = ld(call.tokens + r);
  const bool known = token >= 0 && token < call.columns;
  if (!known) leave_fault(call.faults, FaultKind::token, r, static_cast<int32_t>(token), call.columns);
  const double temperature = call.temperature.exact;
  const double share = call.objective.entropy_share;
  const double log_prob =
      known ? row_log_prob(row, to_float(ld(call.logits + r * call.stride + token)), temperature) : NAN;
  const double entropy = known ? row_entropy(row) : NAN;
  st(call.log_probs + r, static_cast<float>(log_prob));
  st(call.entropy + r, static_cast<float>(entropy));
  const TokenLoss<double> loss = row_loss(call.objective, call.inputs, r, log_prob, call.faults);

  const double a = (share * entropy - loss.gradient) / temperature;
  const double b = share / temperature;
  const double q = exp(log_prob);
  const double bonus = q != 0 ? share * q * (log_prob + entropy) : 0.0;
  gradient->constant = known ? static_cast<float>((a - b * row_log_sum(row)) / row.sum) : NAN;
  gradient->slope = static_cast<float>(b * 0.6931471805599453 / row.sum);
  gradient->chosen = static_cast<float>((bonus - loss.gradient * expm1(log_prob)) / temperature);
  gradient->masked = loss.kind == kMasked;
  keep_metrics(loss, static_cast<float>(entropy), call.kept, call.count, i);
}

template <class T, int threads, bool wide>
KERNEL(threads, threads == 32 ? 16 : 2)
logits_policy_loss_kernel(const LogitsLossCall<T> call) {
  constexpr int64_t step = 4 * threads;
  SHARED(RowScratch, scratch, 1);
  SHARED(RowGradient, shared_gradient, 1);
  const float factor = call.temperature.factor;
  const int64_t columns = call.columns;
  const int64_t r = call.first + blockIdx.x;
  T* const x = call.logits + r * call.stride;
  const RowStatistics row = row_statistics<threads, wide>(x, columns, call.temperature.exact, factor, scratch);
  if (threadIdx.x == 0) finish_row(call, blockIdx.x, row, shared_gradient);
  __syncthreads();
  const RowGradient gradient = *shared_gradient;
  const int64_t token = ld(call.tokens + r);
  const auto differentiate = [&](Pack<float>& four, int64_t i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float y = row_exponent(four.at[j], row.largest, factor);
      const float value = exp2f(y) * fmaf(gradient.slope, y, gradient.constant);
      four.at[j] = gradient.masked ? 0.0f : i + j == token ? gradient.chosen : value;
    }
  };
  // Backwards: the last logits one four at a time, then several fours, so that enough loads are under way.
  constexpr int fours = 4;
  const int64_t first = 4 * static_cast<int64_t>(threadIdx.x);
  const int64_t whole = columns / (fours * step) * (fours * step);
  for (int64_t i = whole + first + (fours - 1) * step; i >= whole; i -= step) {
    if (i >= columns) continue;
    Pack<float> four{};
    if (!gradient.masked) four = load_four<wide>(x + i, columns - i, 0.0f);
    differentiate(four, i);
    store_four<wide>(x + i, columns - i, four);
  }
  for (int64_t i = whole + first - fours * step; i >= 0; i -= fours * step) {
    Pack<float> several[fours] = {};
    if (!gradient.masked) {
#pragma unroll
      for (int k = 0; k < fours; ++k) several[k] = load_four<wide>(x + i + k * step);
    }
#pragma unroll
    for (int k = 0; k < fours; ++k) {
      differentiate(several[k], i + k * step);
      store_four<wide>(x + i + k * step, several[k]);
    }
  }
}

void logits_policy_loss(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor old_log_probs,
                        Tensor advantages, Tensor weights, Tensor kinds, Tensor ref_log_probs, Tensor teacher_probs,
                        PolicyObjective objective, Tensor log_probs, Tensor entropy, Tensor metrics) {
  const char* op = "logits-policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_rows(op, "logits", logits, activation_dtype(logits), -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_temperature(op, temperature);
  check_policy_shapes(op, inputs, objective, rows);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  check_vector(op, "entropy", entropy, DType::f32, rows);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);

  const int64_t most = rows < kRowsOfMetrics ? rows : kRowsOfMetrics;
  double* const kept = context.scratch<double>(most * kMetricCount);
  for_activation(logits.dtype, [&](auto element) {
    using T = decltype(element);
    LogitsLossCall<T> call{};
    call.logits = static_cast<T*>(logits.data);
    call.stride = logits.row_stride;
    call.columns = columns;
    call.tokens = tokens.i32();
    call.temperature = row_temperature(temperature);
    call.objective = objective;
    call.inputs = policy_rows(inputs);
    call.log_probs = log_probs.f32();
    call.entropy = entropy.f32();
    call.kept = kept;
    call.faults = context.fault_sink(FaultOp::logits_policy_loss);
    for (call.first = 0; call.first < rows; call.first += kRowsOfMetrics) {
      call.count = rows - call.first < kRowsOfMetrics ? rows - call.first : kRowsOfMetrics;
      for_row_kernel(columns, rows_aligned(logits), [&](auto threads, auto wide) {
        constexpr int block = decltype(threads)::value;
        const Launch how(dim3(static_cast<unsigned>(call.count)), dim3(block), 0, stream_of(context));
        launch<logits_policy_loss_kernel<T, block, decltype(wide)::value>>(how, call);
      });
      add_metrics(context, call.kept, call.count, metrics.f64());
    }
  });
}

}  // namespace cuda
}  // namespace luffy
