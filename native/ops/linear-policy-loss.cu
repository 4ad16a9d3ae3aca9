// linear-policy-loss on CUDA. See linear-policy-loss.h: three matrix products and logits-policy-loss per chunk of rows,
// over one chunk of logits in scratch memory. Bound by the products' arithmetic.
#include "linear-policy-loss.h"

#include "logits-policy-loss.h"
#include "matmul-product.cuh"
#include "matmul.h"
#include "policy-inputs.h"
#include "token-log-prob.h"

namespace luffy {
namespace cuda {

// A chunk of logits takes 1 MiB for each multiprocessor. With a large vocabulary that is few rows, and each chunk reads
// the whole matrix three times, so no chunk has fewer than 64. Neither number shows in a log-probability: a row's bits
// depend on no other row.
constexpr int64_t kChunkFloats = int64_t{1} << 18;
constexpr int64_t kLeastRows = 64;
constexpr int64_t kRowMultiple = 32;

// Rows per chunk: chunks of nearly equal size, because a short last one would read the matrix for few rows.
static int64_t rows_per_chunk(int64_t rows, int64_t words) {
  const int64_t floats = kChunkFloats * multiprocessors();
  int64_t most = words > 0 ? floats / words / kRowMultiple * kRowMultiple : rows;
  if (most < kLeastRows) most = kLeastRows;
  if (most >= rows) return rows;
  const int64_t chunks = (rows + most - 1) / most;
  const int64_t even = (rows + chunks - 1) / chunks;
  return (even + kRowMultiple - 1) / kRowMultiple * kRowMultiple;
}

// Rows [begin, begin + count) of a vector or matrix; nothing of an argument that was not given.
static Tensor rows_of(const Tensor& t, int64_t begin, int64_t count) {
  if (!t) return t;
  Tensor part = t;
  part.data = static_cast<char*>(t.data) + begin * t.row_stride * dtype_bytes(t.dtype);
  part.shape[0] = count;
  return part;
}

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
  const int64_t chunk = rows_per_chunk(rows, words);
  // Rows of whole 16 bytes, which the kernels read fastest.
  const int64_t stride = (words + 3) / 4 * 4;
  Tensor logits;
  logits.data = context.scratch<float>(chunk * stride);
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

static void check_product(const char* op, const Tensor& hidden, const Tensor& weight, const Tensor& tokens,
                          double temperature) {
  check_rows(op, "hidden", hidden, DType::f32, -1, -1);
  check_rows(op, "weight", weight, DType::f32, -1, hidden.shape[1]);
  check_vector(op, "tokens", tokens, DType::i32, hidden.shape[0]);
  check_temperature(op, temperature);
}

void linear_policy_loss(Context& context, Tensor hidden, Tensor weight, Tensor tokens, double temperature,
                        Tensor old_log_probs, Tensor advantages, Tensor weights, Tensor kinds, Tensor ref_log_probs,
                        Tensor teacher_probs, PolicyObjective objective, Tensor log_probs, Tensor entropy,
                        Tensor grad_hidden, Tensor grad_weight, Tensor metrics) {
  const char* op = "linear-policy-loss";
  check_product(op, hidden, weight, tokens, temperature);
  const int64_t rows = hidden.shape[0];
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_policy_shapes(op, inputs, objective, rows);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  check_vector(op, "entropy", entropy, DType::f32, rows);
  check_rows(op, "gradHidden", grad_hidden, DType::f32, rows, hidden.shape[1]);
  check_rows(op, "gradWeight", grad_weight, DType::f32, weight.shape[0], weight.shape[1]);
  check_vector(op, "metrics", metrics, DType::f64, kMetricCount);

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
  check_product(op, hidden, weight, tokens, temperature);
  const int64_t rows = hidden.shape[0];
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  if (entropy) check_vector(op, "entropy", entropy, DType::f32, rows);

  for_each_chunk(context, FaultOp::linear_log_prob, hidden, weight,
                 [&](int64_t begin, int64_t count, const Tensor& logits) {
                   token_log_prob_forward(context, logits, rows_of(tokens, begin, count), temperature,
                                          rows_of(log_probs, begin, count), rows_of(entropy, begin, count));
                 });
}

}  // namespace cuda
}  // namespace luffy
