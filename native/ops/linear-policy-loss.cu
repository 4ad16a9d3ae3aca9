// linear-policy-loss on CUDA. See linear-policy-loss.h: three matrix products and logits-policy-loss per chunk of rows,
// over one chunk of logits in scratch memory. Bound by the products' arithmetic.
#include "linear-policy-loss.h"

#include "cuda-rows.cuh"
#include "device-limits.cuh"
#include "linear-policy-loss-checks.h"
#include "logits-policy-loss.h"
#include "matmul.h"
#include "token-log-prob.h"

namespace luffy {
namespace cuda {

// A chunk of logits takes 1 MiB for each multiprocessor.
constexpr int64_t kChunkFloats = int64_t{1} << 18;

// The faults of the ops inside are this op's, of rows from `begin` on.
class OuterFaults {
 public:
  OuterFaults(Context& context, FaultOp op, int64_t begin) : context_(context), sink_(context.fault_sink(op)) {
    sink_.first_row = begin;
    context_.outer_faults = &sink_;
  }
  OuterFaults(const OuterFaults&) = delete;
  OuterFaults& operator=(const OuterFaults&) = delete;
  ~OuterFaults() { context_.outer_faults = nullptr; }

 private:
  Context& context_;
  FaultSink sink_;
};

// body(begin, count, logits) for each chunk of rows, with its logits computed.
template <class Body>
static void for_each_chunk(Context& context, FaultOp op, const Tensor& hidden, const Tensor& weight, Body&& body) {
  const int64_t rows = hidden.shape[0];
  const int64_t words = weight.shape[0];
  if (rows == 0) return;
  const int64_t chunk = rows_per_chunk(rows, words, kChunkFloats * multiprocessors());
  // Rows of whole 16 bytes, which the kernels read fastest.
  const int64_t stride = (words + 7) / 8 * 8;
  Tensor logits;
  logits.dtype = hidden.dtype;
  logits.data = context.scratch_bytes(static_cast<size_t>(chunk * stride * dtype_bytes(logits.dtype)));
  logits.rank = 2;
  logits.shape[1] = words;
  logits.row_stride = stride;
  const Context::ScratchMark mark = context.scratch_mark();
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = rows - begin < chunk ? rows - begin : chunk;
    logits.shape[0] = count;
    matmul(context, rows_of(hidden, begin, count), weight, logits, false, true, false);
    const OuterFaults faults(context, op, begin);
    body(begin, count, logits);
    context.scratch_release(mark);
  }
}

void linear_policy_loss(Context& context, Tensor hidden, Tensor weight, Tensor tokens, double temperature,
                        Tensor old_log_probs, Tensor advantages, Tensor weights, Tensor kinds, Tensor ref_log_probs,
                        Tensor teacher_probs, PolicyObjective objective, Tensor log_probs, Tensor entropy,
                        Tensor grad_hidden, Tensor grad_weight, Tensor metrics) {
  const char* op = "linear-policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_linear_policy_loss(op, hidden, weight, tokens, temperature, inputs, objective, log_probs, entropy, grad_hidden,
                           grad_weight, metrics, activation_dtype(hidden));

  for_each_chunk(context, FaultOp::linear_policy_loss, hidden, weight,
                 [&](int64_t begin, int64_t count, const Tensor& logits) {
                   const auto part = [&](const Tensor& t) { return rows_of(t, begin, count); };
                   logits_policy_loss(context, logits, part(tokens), temperature, part(old_log_probs), part(advantages),
                                      part(weights), part(kinds), part(ref_log_probs), part(teacher_probs), objective,
                                      part(log_probs), part(entropy), metrics);
                   // Whether all rows are masked is not known on this side; their products then are of zeros.
                   matmul(context, logits, weight, part(grad_hidden), false, false, false);
                   matmul(context, logits, part(hidden), grad_weight, true, false, true);
                 });
}

void linear_log_prob(Context& context, Tensor hidden, Tensor weight, Tensor tokens, double temperature,
                     Tensor log_probs, Tensor entropy) {
  const char* op = "linear-log-prob";
  check_linear_log_prob(op, hidden, weight, tokens, temperature, log_probs, entropy, activation_dtype(hidden));

  for_each_chunk(context, FaultOp::linear_log_prob, hidden, weight,
                 [&](int64_t begin, int64_t count, const Tensor& logits) {
                   token_log_prob_forward(context, logits, rows_of(tokens, begin, count), temperature,
                                          rows_of(log_probs, begin, count), rows_of(entropy, begin, count));
                 });
}

}  // namespace cuda
}  // namespace luffy
