// policy-loss on CUDA: a row a thread, then the sums of the metrics. See policy-loss.h; the formula is in
// policy-loss-math.h, in float64 as on the CPU.
//
// Bound by the sums: 18 chains of additions in order, 8 to 16 cycles each, while other threads bring in what comes next.
#include "policy-loss.h"

#include "policy-inputs.h"
#include "policy-metrics.cuh"

namespace luffy {
namespace cuda {

constexpr int kPolicyBlock = 128;
constexpr int kMetricBlock = 256;
constexpr int kMetricRows = 1024;  // in shared memory at a time

KERNEL(kPolicyBlock)
policy_loss_kernel(PolicyObjective objective, PolicyRows inputs, const float* log_probs, int64_t first, int64_t count,
                   float* grad_log_probs, double* kept, FaultSink faults) {
  const int64_t i = int64_t{blockIdx.x} * kPolicyBlock + threadIdx.x;
  if (i >= count) return;
  const TokenLoss<double> loss = row_loss(objective, inputs, first + i, ld(log_probs + first + i), faults);
  st(grad_log_probs + first + i, static_cast<float>(loss.gradient));
  keep_metrics(loss, 0.0f, kept, count, i);
}

// Block m sums metric m: one thread adds rows that all have brought to shared memory, while the others bring the next.
KERNEL(kMetricBlock)
policy_metrics_kernel(const double* kept, int64_t count, double* metrics) {
  SHARED(double, rows, 2 * kMetricRows);
  const double* from = kept + blockIdx.x * count;
  double sum = threadIdx.x == 0 ? ld(metrics + blockIdx.x) : 0.0;
  int half = 0;
  for (int64_t begin = 0; begin < count; begin += kMetricRows) {
    const int n = static_cast<int>(min(count - begin, int64_t{kMetricRows}));
    double* const part = rows + half * kMetricRows;
    for (int i = static_cast<int>(threadIdx.x); i < n; i += kMetricBlock) part[i] = ld(from + begin + i);
    __syncthreads();
    if (threadIdx.x == 0) {
#pragma unroll 8
      for (int i = 0; i < n; ++i) sum += part[i];
    }
    half = 1 - half;
  }
  if (threadIdx.x == 0) st(metrics + blockIdx.x, sum);
}

void add_metrics(Context& context, const double* kept, int64_t count, double* metrics) {
  launch<policy_metrics_kernel>(
      Launch(dim3(kMetricCount), dim3(kMetricBlock), 0, static_cast<cudaStream_t>(context.stream)), kept, count,
      metrics);
}

void policy_loss(Context& context, Tensor log_probs, Tensor old_log_probs, Tensor advantages, Tensor weights,
                 Tensor kinds, Tensor ref_log_probs, Tensor teacher_probs, PolicyObjective objective,
                 Tensor grad_log_probs, Tensor metrics) {
  const char* op = "policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_vector(op, "logProbs", log_probs, DType::f32, -1);
  const int64_t rows = log_probs.shape[0];
  check_policy_shapes(op, inputs, objective, rows);
  check_vector(op, "gradLogProbs", grad_log_probs, DType::f32, rows);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);

  const int64_t most = rows < kRowsOfMetrics ? rows : kRowsOfMetrics;
  double* kept = context.scratch<double>(most * kMetricCount);
  for (int64_t first = 0; first < rows; first += kRowsOfMetrics) {
    const int64_t count = rows - first < kRowsOfMetrics ? rows - first : kRowsOfMetrics;
    const auto blocks = static_cast<unsigned>((count + kPolicyBlock - 1) / kPolicyBlock);
    launch<policy_loss_kernel>(Launch(dim3(blocks), dim3(kPolicyBlock), 0, static_cast<cudaStream_t>(context.stream)),
                               objective, policy_rows(inputs), static_cast<const float*>(log_probs.f32()), first, count,
                               grad_log_probs.f32(), kept, context.fault_sink(FaultOp::policy_loss));
    add_metrics(context, kept, count, metrics.f64());
  }
}

}  // namespace cuda
}  // namespace luffy
