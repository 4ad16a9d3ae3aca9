// swiglu on CUDA: each thread four neighbouring columns of a row. See swiglu.h.
#include "swiglu.h"

#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

constexpr int kSwigluBlock = 256;

struct Sigmoid {
  float value;
  float rest;  // 1 - value
};

// With e = e^-|g|, which never overflows: both parts keep their relative precision however large |g| is.
DEV Sigmoid sigmoid(float g) {
  const float e = expf(fminf(g, -g));
  const float large = 1.0f / (1.0f + e);
  const float small = e * large;
  return g > 0.0f ? Sigmoid{large, small} : Sigmoid{small, large};
}

DEV float swiglu_value(float gate, float up) { return gate * sigmoid(gate).value * up; }

// gate becomes d loss / d gate, up becomes d loss / d up.
DEV void swiglu_gradients(float grad_out, float& gate, float& up) {
  const Sigmoid s = sigmoid(gate);
  const float slope = s.value * fmaf(gate, s.rest, 1.0f);
  const float grad_up = grad_out * (gate * s.value);
  gate = grad_out * up * slope;
  up = grad_up;
}

template <class T, bool wide>
KERNEL(kSwigluBlock)
swiglu_forward_kernel(const T* gate_up, int64_t stride, T* out, int64_t out_stride, int64_t rows, int64_t columns) {
  const int64_t fours = (columns + 3) / 4;
  for (int64_t i = grid_thread(); i < rows * fours; i += grid_step()) {
    const int64_t row = i / fours;
    const int64_t column = 4 * (i - row * fours);
    const int64_t left = columns - column;
    const T* gate = gate_up + row * stride + column;
    auto g = load_four<wide>(gate, left, 0.0f);
    const auto u = load_four<wide>(gate + columns, left, 0.0f);
#pragma unroll
    for (int j = 0; j < 4; ++j) g.at[j] = swiglu_value(g.at[j], u.at[j]);
    store_four<wide>(out + row * out_stride + column, left, g);
  }
}

template <class T, bool wide>
KERNEL(kSwigluBlock)
swiglu_backward_kernel(const T* grad_out, int64_t grad_out_stride, const T* gate_up, int64_t stride, T* grad,
                       int64_t grad_stride, int64_t rows, int64_t columns) {
  const int64_t fours = (columns + 3) / 4;
  for (int64_t i = grid_thread(); i < rows * fours; i += grid_step()) {
    const int64_t row = i / fours;
    const int64_t column = 4 * (i - row * fours);
    const int64_t left = columns - column;
    const T* gate = gate_up + row * stride + column;
    auto g = load_four<wide>(gate, left, 0.0f);
    auto u = load_four<wide>(gate + columns, left, 0.0f);
    const auto upstream = load_four<wide>(grad_out + row * grad_out_stride + column, left, 0.0f);
#pragma unroll
    for (int j = 0; j < 4; ++j) swiglu_gradients(upstream.at[j], g.at[j], u.at[j]);
    T* to = grad + row * grad_stride + column;
    store_four<wide>(to, left, g);
    store_four<wide>(to + columns, left, u);
  }
}

void swiglu_forward(Context& context, Tensor gate_up, Tensor out) {
  const DType dtype = activation_dtype(gate_up);
  check_matrix("swiglu", "out", out, dtype, -1, -1);
  const int64_t rows = out.shape[0];
  const int64_t columns = out.shape[1];
  check_matrix("swiglu", "gateUp", gate_up, dtype, rows, 2 * columns);
  if (rows == 0 || columns == 0) return;
  const bool wide = columns % 4 == 0 && rows_aligned(gate_up) && rows_aligned(out);
  const Launch how(dim3(blocks_for(rows * ((columns + 3) / 4), kSwigluBlock)), dim3(kSwigluBlock), 0,
                   stream_of(context));
  for_activation(dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      kernel(how, static_cast<const T*>(gate_up.data), gate_up.row_stride, static_cast<T*>(out.data), out.row_stride,
             rows, columns);
    };
    if (wide) {
      run([](auto... a) { launch<swiglu_forward_kernel<T, true>>(a...); });
    } else {
      run([](auto... a) { launch<swiglu_forward_kernel<T, false>>(a...); });
    }
  });
}

void swiglu_backward(Context& context, Tensor grad_out, Tensor gate_up, Tensor grad_gate_up) {
  const DType dtype = activation_dtype(gate_up);
  check_matrix("swiglu", "gradOut", grad_out, dtype, -1, -1);
  const int64_t rows = grad_out.shape[0];
  const int64_t columns = grad_out.shape[1];
  check_matrix("swiglu", "gateUp", gate_up, dtype, rows, 2 * columns);
  check_matrix("swiglu", "gradGateUp", grad_gate_up, dtype, rows, 2 * columns);
  if (rows == 0 || columns == 0) return;
  const bool wide = columns % 4 == 0 && rows_aligned(gate_up) && rows_aligned(grad_out) && rows_aligned(grad_gate_up);
  const Launch how(dim3(blocks_for(rows * ((columns + 3) / 4), kSwigluBlock)), dim3(kSwigluBlock), 0,
                   stream_of(context));
  for_activation(dtype, [&](auto element) {
    using T = decltype(element);
    const auto run = [&](auto kernel) {
      kernel(how, static_cast<const T*>(grad_out.data), grad_out.row_stride, static_cast<const T*>(gate_up.data),
             gate_up.row_stride, static_cast<T*>(grad_gate_up.data), grad_gate_up.row_stride, rows, columns);
    };
    if (wide) {
      run([](auto... a) { launch<swiglu_backward_kernel<T, true>>(a...); });
    } else {
      run([](auto... a) { launch<swiglu_backward_kernel<T, false>>(a...); });
    }
  });
}

}  // namespace cuda
}  // namespace luffy
