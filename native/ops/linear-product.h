// linear's ops as matrix products, their arguments checked: the same on every backend.
#pragma once

#include "linear.h"
#include "matmul-product.h"
#include "swiglu.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Of the weight where it is; the size of `packed` is the caller's to check and its use the caller's to choose.
template <class T>
LUFFY_INLINE ProductOf<T, T> linear_forward_product(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                                    const Tensor& residual, const Tensor& out) {
  constexpr DType dtype = ElementType<T>::dtype;
  check_rows("linear", "weight", weight, dtype, -1, -1);
  const int64_t n = weight.shape[0];
  check_rows("linear", "x", x, dtype, -1, weight.shape[1]);
  check_rows("linear", "out", out, dtype, x.shape[0], n);
  if (bias) check_vector("linear", "bias", bias, dtype, n);
  if (residual) check_rows("linear", "residual", residual, dtype, x.shape[0], n);
  ProductOf<T, T> product{};
  set_operands(product, x, false, weight, BLayout::columns, out);
  product.bias = static_cast<const T*>(bias.data);
  return product;
}

LUFFY_INLINE void check_linear_swiglu(const Tensor& x, const Tensor& weight, const Tensor& out, DType dtype) {
  check_rows("linear-swiglu", "weight", weight, dtype, -1, -1);
  LUFFY_CHECK(weight.shape[0] % 2 == 0, "linear-swiglu: weight has %lld rows, expected as many of gate as of up",
              static_cast<long long>(weight.shape[0]));
  check_rows("linear-swiglu", "x", x, dtype, -1, weight.shape[1]);
  check_matrix("linear-swiglu", "out", out, dtype, x.shape[0], weight.shape[0] / 2);
}

// linear and swiglu one after the other, so many rows at a time that gateUp stays small.
LUFFY_INLINE void linear_swiglu_by_parts(Context& context, const Tensor& x, const Tensor& weight, const Tensor& packed,
                                         const Tensor& out) {
  constexpr int64_t kRows = 512;
  const int64_t rows = out.shape[0];
  const int64_t most = rows < kRows ? rows : kRows;
  Tensor gate_up = out;
  gate_up.shape[1] = gate_up.row_stride = weight.shape[0];
  gate_up.data = context.scratch_bytes(static_cast<size_t>(most * weight.shape[0] * dtype_bytes(out.dtype)));
  const Context::ScratchMark mark = context.scratch_mark();
  for (int64_t begin = 0; begin < rows; begin += most) {
    const int64_t count = rows - begin < most ? rows - begin : most;
    gate_up.shape[0] = count;
    linear_forward(context, rows_of(x, begin, count), weight, packed, Tensor{}, Tensor{}, gate_up);
    swiglu_forward(context, gate_up, rows_of(out, begin, count));
    context.scratch_release(mark);
  }
}

template <class T>
LUFFY_INLINE ProductOf<T, T> linear_input_product(const Tensor& grad_out, const Tensor& weight, const Tensor& grad_x,
                                                  bool accumulate) {
  constexpr DType dtype = ElementType<T>::dtype;
  check_rows("linear", "weight", weight, dtype, -1, -1);
  check_rows("linear", "gradOut", grad_out, dtype, -1, weight.shape[0]);
  check_rows("linear", "gradX", grad_x, dtype, grad_out.shape[0], weight.shape[1]);
  ProductOf<T, T> product{};
  set_operands(product, grad_out, false, weight, BLayout::rows, grad_x);
  product.accumulate = accumulate;
  return product;
}

// Gradients of weights and biases are float32 whatever T is.
template <class T>
LUFFY_INLINE ProductOf<T, float> linear_weight_product(const Tensor& grad_out, const Tensor& x,
                                                       const Tensor& grad_weight, const Tensor& grad_bias) {
  constexpr DType dtype = ElementType<T>::dtype;
  check_rows("linear", "gradWeight", grad_weight, DType::f32, -1, -1);
  check_rows("linear", "gradOut", grad_out, dtype, -1, grad_weight.shape[0]);
  check_rows("linear", "x", x, dtype, grad_out.shape[0], grad_weight.shape[1]);
  if (grad_bias) check_vector("linear", "gradBias", grad_bias, DType::f32, grad_weight.shape[0]);
  ProductOf<T, float> product{};
  set_operands(product, grad_out, true, x, BLayout::rows, grad_weight);
  product.accumulate = true;
  return product;
}

LUFFY_INLINE void check_packed(const Tensor& weight, const Tensor& packed) {
  check_rows("linear", "weight", weight, DType::f32, -1, -1);
  check_vector("linear", "packed", packed, DType::f32, linear_packed_size(weight.shape[0], weight.shape[1]));
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
