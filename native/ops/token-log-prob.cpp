// token-log-prob on the CPU. See token-log-prob.h; the statistics are in row-softmax.h.
#include "token-log-prob.h"

#include "policy-inputs.h"
#include "ranges.h"
#include "row-softmax.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// Cost of a row beside its logits, in floats of memory traffic.
constexpr int64_t kRowCost = 256;

// body(row, chunks) for every row, where chunks is room for the statistics of one row.
template <class Body>
LUFFY_INLINE void for_each_row(Context& context, int64_t rows, int64_t columns, Body&& body) {
  const int64_t chunk_count = row_chunks(columns);
  RowChunk* all_chunks = context.scratch<RowChunk>(context.threads() * chunk_count);
  const int64_t grain = task_rows(columns + kRowCost);
  parallel_for(context, (rows + grain - 1) / grain, [&](int64_t task, int thread) {
    const int64_t end = at_most((task + 1) * grain, rows);
    for (int64_t r = task * grain; r < end; ++r) body(r, all_chunks + thread * chunk_count);
  });
}

}  // namespace

void token_log_prob_forward(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor log_probs,
                            Tensor entropy) {
  const char* op = "token-log-prob";
  check_rows(op, "logits", logits, DType::f32, -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_tokens(op, tokens, rows, columns);
  check_temperature(op, temperature);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  if (entropy) check_vector(op, "entropy", entropy, DType::f32, rows);

  const Temperature scale = temperature_of(temperature);
  for_each_row(context, rows, columns, [&](int64_t r, RowChunk* chunks) {
    const float* x = logits.row(r);
    const RowSoftmax row = row_softmax<false>(x, columns, scale, chunks, nullptr);
    log_probs.f32()[r] = static_cast<float>(log_prob_of(row, x[tokens.i32()[r]], scale));
    if (entropy) entropy.f32()[r] = static_cast<float>(row.entropy);
  });
}

void token_log_prob_backward(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor grad_log_probs,
                             Tensor grad_logits) {
  const char* op = "token-log-prob (backward)";
  check_rows(op, "logits", logits, DType::f32, -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_tokens(op, tokens, rows, columns);
  check_temperature(op, temperature);
  check_vector(op, "gradLogProbs", grad_log_probs, DType::f32, rows);
  check_rows(op, "gradLogits", grad_logits, DType::f32, rows, columns);

  const Temperature scale = temperature_of(temperature);
  for_each_row(context, rows, columns, [&](int64_t r, RowChunk* chunks) {
    const float* x = logits.row(r);
    const int64_t token = tokens.i32()[r];
    const float chosen = x[token];  // read before gradLogits, which may be logits, is written
    const double g = grad_log_probs.f32()[r];
    float* out = grad_logits.row(r);
    const RowSoftmax row = row_softmax<true>(x, columns, scale, chunks, out);
    scale_to_softmax(out, columns, row, chunks, scale, -g / temperature);
    out[token] = static_cast<float>(-g * __builtin_expm1(log_prob_of(row, chosen, scale)) / temperature);
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
