// attention-arguments: what attention's kernels are given, in float32 or bfloat16. Private to attention.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"
#include "attention-heads.h"
#include "attention-plan.cuh"

namespace luffy {
namespace cuda {

// A matrix [T, heads * D], its rows `stride` elements apart.
template <class T>
struct HeadRowsOf {
  T* data;
  int64_t stride;
  DEV T* at(int64_t row, int64_t column) const { return data + row * stride + column; }
};
using HeadRows = HeadRowsOf<float>;

template <class T>
struct AttentionArgumentsOf {
  AttentionPlan plan;
  HeadRowsOf<T> q, k, v, out, grad_out, grad_q, grad_k, grad_v;
  float* lse;    // [T, H]; forward: may be null
  float* delta;  // [T, H]: sum over d of gradOut * out
  int heads, per_group, dim;
  float scale;
};
using AttentionArguments = AttentionArgumentsOf<float>;

template <class T>
HeadRowsOf<T> head_rows(const Tensor& t) {
  return {static_cast<T*>(t.data), t.row_stride};
}

// What both directions have.
template <class T>
void set_attention_inputs(AttentionArgumentsOf<T>& a, const AttentionPlan& plan, const Heads& heads, const Tensor& q,
                          const Tensor& k, const Tensor& v, const Tensor& out, const Tensor& lse, double scale) {
  a.plan = plan;
  a.q = head_rows<T>(q);
  a.k = head_rows<T>(k);
  a.v = head_rows<T>(v);
  a.out = head_rows<T>(out);
  a.lse = lse ? lse.f32() : nullptr;
  a.heads = heads.queries;
  a.per_group = heads.per_group;
  a.dim = heads.dim;
  a.scale = static_cast<float>(scale);
}

// And backward, with scratch for delta.
template <class T>
void set_attention_gradients(Context& context, AttentionArgumentsOf<T>& a, const Tensor& grad_out, const Tensor& grad_q,
                             const Tensor& grad_k, const Tensor& grad_v) {
  a.grad_out = head_rows<T>(grad_out);
  a.grad_q = head_rows<T>(grad_q);
  a.grad_k = head_rows<T>(grad_k);
  a.grad_v = head_rows<T>(grad_v);
  a.delta = context.scratch<float>(a.plan.tokens * a.heads);
}

// NaN for the own rows of a sequence that breaks the contract, rows [begin, begin + count), columns of one head.
template <class T>
DEV void spoil_rows(const AttentionPlan& plan, int32_t sequence, const HeadRowsOf<T>& t, int64_t begin, int count,
                    int64_t column, int width) {
  for (int i = static_cast<int>(threadIdx.x); i < count * width; i += static_cast<int>(blockDim.x)) {
    const int64_t row = begin + i / width;
    if (plan.owner[row] == sequence) st(t.at(row, column + i % width), from_float<T>(__uint_as_float(0x7fc00000u)));
  }
}

}  // namespace cuda
}  // namespace luffy
