// One matrix product as matmul and linear ask for it, on every backend: any layout of the operands.
//
// The sum of an element of float32, on every path: k is cut into equal blocks (k_block(K), the last may be shorter);
// each block is a chain of fused multiply-adds from zero over ascending k; the blocks are added in ascending order, to
// the old out when accumulating; the bias comes last.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"
#include "matmul-blocks.h"

namespace luffy {
namespace LUFFY_BACKEND {

enum class BLayout {
  rows,     // [K,N]
  columns,  // [N,K]
  packed,   // in an order of the backend's own
};

template <class In, class Out>
struct ProductOf {
  int64_t m, n, k;
  const In* a;       // [m,k], or [k,m] when a_transposed
  int64_t a_stride;  // between rows of what is stored
  bool a_transposed;
  const In* b;
  int64_t b_stride;  // unused when packed
  BLayout b_layout;
  const In* bias;  // [n] or null
  Out* out;        // [m,n]
  int64_t out_stride;
  bool accumulate;
};
using Product = ProductOf<float, float>;

void run_product(Context& context, const Product& product);

template <class T>
struct ElementType;
template <>
struct ElementType<float> {
  static constexpr DType dtype = DType::f32;
};

template <class In, class Out>
LUFFY_INLINE void set_operands(ProductOf<In, Out>& product, const Tensor& a, bool a_transposed, const Tensor& b,
                               BLayout b_layout, const Tensor& out) {
  product.m = out.shape[0];
  product.n = out.shape[1];
  product.k = a_transposed ? a.shape[0] : a.shape[1];
  product.a = static_cast<const In*>(a.data);
  product.a_stride = a.row_stride;
  product.a_transposed = a_transposed;
  product.b = static_cast<const In*>(b.data);
  product.b_stride = b.row_stride;
  product.b_layout = b_layout;
  product.out = static_cast<Out*>(out.data);
  product.out_stride = out.row_stride;
}

// The arguments of matmul, checked.
template <class In, class Out>
LUFFY_INLINE ProductOf<In, Out> matmul_product(const Tensor& a, const Tensor& b, const Tensor& out, bool transpose_a,
                                               bool transpose_b, bool accumulate) {
  constexpr DType in = ElementType<In>::dtype;
  check_rows("matmul", "out", out, ElementType<Out>::dtype, -1, -1);
  const int64_t m = out.shape[0];
  const int64_t n = out.shape[1];
  const int64_t k = transpose_a ? a.shape[0] : a.shape[1];
  check_rows("matmul", "a", a, in, transpose_a ? k : m, transpose_a ? m : k);
  check_rows("matmul", "b", b, in, transpose_b ? n : k, transpose_b ? k : n);
  ProductOf<In, Out> product{};
  set_operands(product, a, transpose_a, b, transpose_b ? BLayout::columns : BLayout::rows, out);
  product.accumulate = accumulate;
  return product;
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
