// linear's ops as matrix products, their arguments checked: the same on every backend.
#pragma once

#include "linear.h"
#include "matmul-product.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Of the weight where it is; the size of `packed` is the caller's to check and its use the caller's to choose.
template <class T>
LUFFY_INLINE ProductOf<T, T> linear_forward_product(const Tensor& x, const Tensor& weight, const Tensor& bias,
                                                    const Tensor& out) {
  constexpr DType dtype = ElementType<T>::dtype;
  check_rows("linear", "weight", weight, dtype, -1, -1);
  const int64_t n = weight.shape[0];
  check_rows("linear", "x", x, dtype, -1, weight.shape[1]);
  check_rows("linear", "out", out, dtype, x.shape[0], n);
  if (bias) check_vector("linear", "bias", bias, dtype, n);
  ProductOf<T, T> product{};
  set_operands(product, x, false, weight, BLayout::columns, out);
  product.bias = static_cast<const T*>(bias.data);
  return product;
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
