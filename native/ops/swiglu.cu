// swiglu on CUDA: each thread sixteen bytes of neighbouring columns of a row. See swiglu.h.
#include "swiglu.h"

#include "cuda-rows.cuh"
#include "swiglu-math.cuh"

namespace luffy {
namespace cuda {

constexpr int kSwigluBlock = 256;

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
  constexpr int size = Floats<T>::size;
  for (GridPieces at(pieces_of(columns, size)); at.row < rows; at.next()) {
    const int64_t column = at.piece * size;
    const int64_t left = columns - column;
    const T* gate = gate_up + at.row * stride + column;
    auto g = load_floats<wide>(gate, left);
    const auto u = load_floats<wide>(gate + columns, left);
#pragma unroll
    for (int j = 0; j < size; ++j) g.at[j] = swiglu_value(g.at[j], u.at[j]);
    store_floats<wide>(out + at.row * out_stride + column, left, g);
  }
}

template <class T, bool wide>
KERNEL(kSwigluBlock)
swiglu_backward_kernel(const T* grad_out, int64_t grad_out_stride, const T* gate_up, int64_t stride, T* grad,
                       int64_t grad_stride, int64_t rows, int64_t columns) {
  constexpr int size = Floats<T>::size;
  for (GridPieces at(pieces_of(columns, size)); at.row < rows; at.next()) {
    const int64_t column = at.piece * size;
    const int64_t left = columns - column;
    const T* gate = gate_up + at.row * stride + column;
    auto g = load_floats<wide>(gate, left);
    auto u = load_floats<wide>(gate + columns, left);
    const auto upstream = load_floats<wide>(grad_out + at.row * grad_out_stride + column, left);
#pragma unroll
    for (int j = 0; j < size; ++j) swiglu_gradients(upstream.at[j], g.at[j], u.at[j]);
    T* to = grad + at.row * grad_stride + column;
    store_floats<wide>(to, left, g);
    store_floats<wide>(to + columns, left, u);
  }
}

void swiglu_forward(Context& context, Tensor gate_up, Tensor out) {
  const DType dtype = activation_dtype(gate_up);
  check_matrix("swiglu", "out", out, dtype, -1, -1);
  const int64_t rows = out.shape[0];
  const int64_t columns = out.shape[1];
  check_matrix("swiglu", "gateUp", gate_up, dtype, rows, 2 * columns);
  if (rows == 0 || columns == 0) return;
  const int size = static_cast<int>(16 / dtype_bytes(dtype));
  const bool wide = columns % size == 0 && packs_aligned(gate_up) && packs_aligned(out);
  const Launch how(dim3(blocks_for(rows * pieces_of(columns, size), kSwigluBlock)), dim3(kSwigluBlock), 0,
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
  const int size = static_cast<int>(16 / dtype_bytes(dtype));
  const bool wide =
      columns % size == 0 && packs_aligned(gate_up) && packs_aligned(grad_out) && packs_aligned(grad_gate_up);
  const Launch how(dim3(blocks_for(rows * pieces_of(columns, size), kSwigluBlock)), dim3(kSwigluBlock), 0,
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
