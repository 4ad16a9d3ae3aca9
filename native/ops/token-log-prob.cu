// token-log-prob on CUDA: a block for each row, a warp for short ones; the statistics are in row-softmax.cuh. See
// token-log-prob.h.
//
// Bound by memory: the forward pass reads each logit once, 4 bytes; the backward pass reads it twice and writes once,
// 12 bytes, and walks back over the row, whose end is still in the cache.
#include "token-log-prob.h"

#include "policy-inputs.h"
#include "row-softmax.cuh"

namespace luffy {
namespace cuda {

// A token outside the vocabulary makes its row NaN, and leaves a fault.
template <class T, int threads, bool wide>
KERNEL(threads)
token_log_prob_forward_kernel(const T* logits, int64_t stride, const int32_t* tokens, int64_t rows, int64_t columns,
                              double temperature, float factor, float* log_probs, float* entropy, FaultSink faults) {
  SHARED(RowScratch<threads>, scratch, 1);
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* x = logits + r * stride;
    const RowStatistics row = row_statistics<threads, wide>(x, columns, temperature, factor, scratch);
    if (threadIdx.x == 0) {
      const int64_t token = ld(tokens + r);
      const bool known = token >= 0 && token < columns;
      if (!known) leave_fault(faults, FaultKind::token, r, static_cast<int32_t>(token), columns);
      st(log_probs + r, known ? static_cast<float>(row_log_prob(row, to_float(ld(x + token)), temperature)) : NAN);
      if (entropy != nullptr) st(entropy + r, known ? static_cast<float>(row_entropy(row)) : NAN);
    }
    __syncthreads();
  }
}

// What the second walk over a row needs: logit x becomes 2^y scale, that of the token `chosen`.
struct TokenGradient {
  float scale, chosen;
};

// Each thread writes what it has read itself, so that grad_logits may be logits.
template <class T, int threads, bool wide>
KERNEL(threads, threads == 32 ? 16 : 2)
token_log_prob_backward_kernel(const T* logits, int64_t stride, const int32_t* tokens, int64_t rows, int64_t columns,
                               double temperature, float factor, const float* grad_log_probs, T* grad_logits,
                               int64_t grad_stride, FaultSink faults) {
  constexpr int64_t step = 4 * threads;
  SHARED(RowScratch<threads>, scratch, 1);
  SHARED(TokenGradient, shared_gradient, 1);
  for (int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* x = logits + r * stride;
    T* out = grad_logits + r * grad_stride;
    const RowStatistics row = row_statistics<threads, wide>(x, columns, temperature, factor, scratch);
    const int64_t token = ld(tokens + r);
    if (threadIdx.x == 0) {
      const bool known = token >= 0 && token < columns;
      if (!known) leave_fault(faults, FaultKind::token, r, static_cast<int32_t>(token), columns);
      const double g = known ? static_cast<double>(ld(grad_log_probs + r)) : NAN;
      const double log_prob = known ? row_log_prob(row, to_float(ld(x + token)), temperature) : NAN;
      *shared_gradient = {static_cast<float>(-g / temperature / row.sum),
                          static_cast<float>(-g * expm1(log_prob) / temperature)};
    }
    __syncthreads();
    const TokenGradient gradient = *shared_gradient;
    const int64_t first = 4 * static_cast<int64_t>(threadIdx.x);
    for (int64_t i = first + (columns - 1) / step * step; i >= first; i -= step) {
      const int64_t left = columns - i;
      if (left <= 0) continue;
      Pack<float> four = load_four<wide>(x + i, left, 0.0f);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float value = exp2f(row_exponent(four.at[j], row.largest, factor)) * gradient.scale;
        four.at[j] = i + j == token ? gradient.chosen : value;
      }
      store_four<wide>(out + i, left, four);
    }
    __syncthreads();
  }
}

void token_log_prob_forward(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor log_probs,
                            Tensor entropy) {
  const char* op = "token-log-prob";
  const DType dtype = activation_dtype(logits);
  check_rows(op, "logits", logits, dtype, -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_temperature(op, temperature);
  check_vector(op, "logProbs", log_probs, DType::f32, rows);
  if (entropy) check_vector(op, "entropy", entropy, DType::f32, rows);
  if (rows == 0) return;

  const RowTemperature scale = row_temperature(temperature);
  for_activation(dtype, [&](auto element) {
    using T = decltype(element);
    for_row_kernel(columns, rows_aligned(logits), [&](auto threads, auto wide) {
      constexpr int block = decltype(threads)::value;
      const Launch how(dim3(blocks_for(rows, 1)), dim3(block), 0, stream_of(context));
      launch<token_log_prob_forward_kernel<T, block, decltype(wide)::value>>(
          how, static_cast<const T*>(logits.data), logits.row_stride, static_cast<const int32_t*>(tokens.i32()), rows,
          columns, scale.exact, scale.factor, log_probs.f32(), entropy.f32(),
          context.fault_sink(FaultOp::token_log_prob));
    });
  });
}

void token_log_prob_backward(Context& context, Tensor logits, Tensor tokens, double temperature, Tensor grad_log_probs,
                             Tensor grad_logits) {
  const char* op = "token-log-prob (backward)";
  const DType dtype = activation_dtype(logits);
  check_rows(op, "logits", logits, dtype, -1, -1);
  const int64_t rows = logits.shape[0];
  const int64_t columns = logits.shape[1];
  check_vector(op, "tokens", tokens, DType::i32, rows);
  check_temperature(op, temperature);
  check_vector(op, "gradLogProbs", grad_log_probs, DType::f32, rows);
  check_rows(op, "gradLogits", grad_logits, dtype, rows, columns);
  if (rows == 0 || columns == 0) return;

  const RowTemperature scale = row_temperature(temperature);
  for_activation(dtype, [&](auto element) {
    using T = decltype(element);
    for_row_kernel(columns, rows_aligned(logits) && rows_aligned(grad_logits), [&](auto threads, auto wide) {
      constexpr int block = decltype(threads)::value;
      const Launch how(dim3(blocks_for(rows, 1)), dim3(block), 0, stream_of(context));
      launch<token_log_prob_backward_kernel<T, block, decltype(wide)::value>>(
          how, static_cast<const T*>(logits.data), logits.row_stride, static_cast<const int32_t*>(tokens.i32()), rows,
          columns, scale.exact, scale.factor, static_cast<const float*>(grad_log_probs.f32()),
          static_cast<T*>(grad_logits.data), grad_logits.row_stride,
          context.fault_sink(FaultOp::token_log_prob_backward));
    });
  });
}

}  // namespace cuda
}  // namespace luffy
