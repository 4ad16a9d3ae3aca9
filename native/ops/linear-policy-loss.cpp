// linear-policy-loss on the CPU. See linear-policy-loss.h: three matrix products and logits-policy-loss per chunk of
// rows, over one chunk of logits in scratch memory.
#include "linear-policy-loss.h"

#include "linear-policy-loss-checks.h"
#include "logits-policy-loss.h"
#include "matmul.h"
#include "ranges.h"
#include "token-log-prob.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// A chunk of logits takes about 4 Mi floats (16 MiB).
constexpr int64_t kChunkFloats = int64_t{4} << 20;

Tensor matrix(float* data, int64_t rows, int64_t columns) {
  Tensor t;
  t.data = data;
  t.rank = 2;
  t.shape[0] = rows;
  t.shape[1] = columns;
  t.row_stride = columns;
  return t;
}

// body(begin, count, logits) for each chunk of rows, with its logits computed.
template <class Body>
void for_each_chunk(Context& context, const Tensor& hidden, const Tensor& weight, Body&& body) {
  const int64_t rows = hidden.shape[0];
  const int64_t words = weight.shape[0];
  if (rows == 0) return;
  const int64_t chunk = rows_per_chunk(rows, words, kChunkFloats);
  float* data = context.scratch<float>(chunk * words);
  const Context::ScratchMark mark = context.scratch_mark();
  for (int64_t begin = 0; begin < rows; begin += chunk) {
    const int64_t count = at_most(chunk, rows - begin);
    const Tensor logits = matrix(data, count, words);
    matmul(context, rows_of(hidden, begin, count), weight, logits, false, true, false);
    body(begin, count, logits);
    context.scratch_release(mark);
  }
}

// True if no row of the chunk asks for a gradient: then the two products that bring it back are of zeros.
bool all_masked(const Tensor& kinds) {
  for (int64_t r = 0; r < kinds.shape[0]; ++r) {
    if (kinds.u8()[r] != kMasked) return false;
  }
  return true;
}

void fill_zeros(const Tensor& t) {
  for (int64_t r = 0; r < t.shape[0]; ++r) {
    __builtin_memset(t.row(r), 0, static_cast<size_t>(t.shape[1]) * sizeof(float));
  }
}

}  // namespace

void linear_policy_loss(Context& context, Tensor hidden, Tensor weight, Tensor tokens, double temperature,
                        Tensor old_log_probs, Tensor advantages, Tensor weights, Tensor kinds, Tensor ref_log_probs,
                        Tensor teacher_probs, PolicyObjective objective, Tensor log_probs, Tensor entropy,
                        Tensor grad_hidden, Tensor grad_weight, Tensor metrics) {
  const char* op = "linear-policy-loss";
  const PolicyInputs inputs = {old_log_probs, advantages, weights, kinds, ref_log_probs, teacher_probs};
  check_linear_policy_loss(op, hidden, weight, tokens, temperature, inputs, objective, log_probs, entropy, grad_hidden,
                           grad_weight, metrics, DType::f32);
  check_tokens(op, tokens, hidden.shape[0], weight.shape[0]);
  check_policy_inputs(op, inputs, objective, hidden.shape[0]);

  for_each_chunk(context, hidden, weight, [&](int64_t begin, int64_t count, const Tensor& logits) {
    const auto part = [&](const Tensor& t) { return rows_of(t, begin, count); };
    logits_policy_loss(context, logits, part(tokens), temperature, part(old_log_probs), part(advantages), part(weights),
                       part(kinds), part(ref_log_probs), part(teacher_probs), objective, part(log_probs), part(entropy),
                       metrics);
    if (all_masked(part(kinds))) {
      fill_zeros(part(grad_hidden));
      return;
    }
    matmul(context, logits, weight, part(grad_hidden), false, false, false);
    matmul(context, logits, part(hidden), grad_weight, true, false, true);
  });
}

void linear_log_prob(Context& context, Tensor hidden, Tensor weight, Tensor tokens, double temperature,
                     Tensor log_probs, Tensor entropy) {
  const char* op = "linear-log-prob";
  check_linear_log_prob(op, hidden, weight, tokens, temperature, log_probs, entropy, DType::f32);
  check_tokens(op, tokens, hidden.shape[0], weight.shape[0]);

  for_each_chunk(context, hidden, weight, [&](int64_t begin, int64_t count, const Tensor& logits) {
    token_log_prob_forward(context, logits, rows_of(tokens, begin, count), temperature,
                           rows_of(log_probs, begin, count), rows_of(entropy, begin, count));
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
