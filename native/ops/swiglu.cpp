// swiglu on the CPU. See swiglu.h.
//
// The sigmoid is written with e = e^-|g|, which never overflows: 1 / (1 + e) for positive g, e / (1 + e) otherwise.
// Both sigma(g) and 1 - sigma(g) keep their relative precision however large |g| is.
#include "swiglu.h"

#include "../core/simd.h"
#include "ranges.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

struct Sigmoid {
  Vec value;
  Vec rest;  // 1 - value
};

LUFFY_INLINE Sigmoid sigmoid(Vec g) {
  const Vec e = exp(min(g, sub(vec(0.0f), g)));
  const Vec large = div(vec(1.0f), add(vec(1.0f), e));
  const Vec small = mul(e, large);
  return {select_positive(g, large, small), select_positive(g, small, large)};
}

LUFFY_INLINE Vec forward(Vec gate, Vec up) { return mul(mul(gate, sigmoid(gate).value), up); }

// gate becomes d loss / d gate, up becomes d loss / d up.
LUFFY_INLINE void backward(Vec grad_out, Vec& gate, Vec& up) {
  const Sigmoid s = sigmoid(gate);
  const Vec slope = mul(s.value, fma(gate, s.rest, vec(1.0f)));
  const Vec grad_up = mul(grad_out, mul(gate, s.value));
  gate = mul(mul(grad_out, up), slope);
  up = grad_up;
}

void forward_row(const float* gate, const float* up, float* out, int64_t columns) {
  int64_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    prefetch(gate + i, kPrefetchFloats);
    prefetch(up + i, kPrefetchFloats);
    store(out + i, forward(load(gate + i), load(up + i)));
  }
  const int rest = static_cast<int>(columns - i);
  if (rest > 0) store_first(out + i, forward(load_first(gate + i, rest), load_first(up + i, rest)), rest);
}

void backward_row(const float* grad_out, const float* gate, const float* up, float* grad_gate, float* grad_up,
                  int64_t columns) {
  int64_t i = 0;
  for (; i + kLanes <= columns; i += kLanes) {
    prefetch(gate + i, kPrefetchFloats);
    prefetch(up + i, kPrefetchFloats);
    prefetch(grad_out + i, kPrefetchFloats);
    Vec g = load(gate + i);
    Vec u = load(up + i);
    backward(load(grad_out + i), g, u);
    store(grad_gate + i, g);
    store(grad_up + i, u);
  }
  const int rest = static_cast<int>(columns - i);
  if (rest == 0) return;
  Vec g = load_first(gate + i, rest);
  Vec u = load_first(up + i, rest);
  backward(load_first(grad_out + i, rest), g, u);
  store_first(grad_gate + i, g, rest);
  store_first(grad_up + i, u, rest);
}

}  // namespace

void swiglu_forward(Context& context, Tensor gate_up, Tensor out) {
  check_matrix("swiglu", "out", out, DType::f32, -1, -1);
  const int64_t columns = out.shape[1];
  check_matrix("swiglu", "gateUp", gate_up, DType::f32, out.shape[0], 2 * columns);
  parallel_ranges(context, out.shape[0], task_rows(3 * columns), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* gate = gate_up.row(t);
      forward_row(gate, gate + columns, out.row(t), columns);
    }
  });
}

void swiglu_backward(Context& context, Tensor grad_out, Tensor gate_up, Tensor grad_gate_up) {
  check_matrix("swiglu", "gradOut", grad_out, DType::f32, -1, -1);
  const int64_t columns = grad_out.shape[1];
  check_matrix("swiglu", "gateUp", gate_up, DType::f32, grad_out.shape[0], 2 * columns);
  check_matrix("swiglu", "gradGateUp", grad_gate_up, DType::f32, grad_out.shape[0], 2 * columns);
  parallel_ranges(context, grad_out.shape[0], task_rows(3 * columns), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* gate = gate_up.row(t);
      float* grad_gate = grad_gate_up.row(t);
      backward_row(grad_out.row(t), gate, gate + columns, grad_gate, grad_gate + columns, columns);
    }
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
