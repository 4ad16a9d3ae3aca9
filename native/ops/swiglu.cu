// swiglu on CUDA: each thread four neighbouring columns of a row. See swiglu.h.
#include "../core/cu.cuh"
#include "swiglu.h"

namespace luffy {
namespace cuda {

constexpr int kSwigluBlock = 256;
constexpr int64_t kSwigluMostBlocks = 1 << 20;

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

// Four columns at a time where every row starts at a multiple of 16 bytes, else one.
template <int size>
struct alignas(4 * size) Floats {
  float at[size];
};

template <int size>
KERNEL(kSwigluBlock)
swiglu_forward_kernel(const float* gate_up, int64_t stride, float* out, int64_t out_stride, int64_t rows,
                      int64_t columns) {
  const int64_t packs = columns / size;
  const int64_t step = int64_t{gridDim.x} * kSwigluBlock;
  for (int64_t i = int64_t{blockIdx.x} * kSwigluBlock + threadIdx.x; i < rows * packs; i += step) {
    const int64_t row = i / packs;
    const int64_t column = i % packs * size;
    const float* gate = gate_up + row * stride + column;
    const auto g = ld(reinterpret_cast<const Floats<size>*>(gate));
    const auto u = ld(reinterpret_cast<const Floats<size>*>(gate + columns));
    Floats<size> result;
#pragma unroll
    for (int j = 0; j < size; ++j) result.at[j] = swiglu_value(g.at[j], u.at[j]);
    st(reinterpret_cast<Floats<size>*>(out + row * out_stride + column), result);
  }
}

template <int size>
KERNEL(kSwigluBlock)
swiglu_backward_kernel(const float* grad_out, int64_t grad_out_stride, const float* gate_up, int64_t stride,
                       float* grad, int64_t grad_stride, int64_t rows, int64_t columns) {
  const int64_t packs = columns / size;
  const int64_t step = int64_t{gridDim.x} * kSwigluBlock;
  for (int64_t i = int64_t{blockIdx.x} * kSwigluBlock + threadIdx.x; i < rows * packs; i += step) {
    const int64_t row = i / packs;
    const int64_t column = i % packs * size;
    const float* gate = gate_up + row * stride + column;
    auto g = ld(reinterpret_cast<const Floats<size>*>(gate));
    auto u = ld(reinterpret_cast<const Floats<size>*>(gate + columns));
    const auto upstream = ld(reinterpret_cast<const Floats<size>*>(grad_out + row * grad_out_stride + column));
#pragma unroll
    for (int j = 0; j < size; ++j) swiglu_gradients(upstream.at[j], g.at[j], u.at[j]);
    float* to = grad + row * grad_stride + column;
    st(reinterpret_cast<Floats<size>*>(to), g);
    st(reinterpret_cast<Floats<size>*>(to + columns), u);
  }
}

static bool is_aligned(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.row_stride % 4 == 0 || t.shape[0] <= 1);
}

static dim3 swiglu_grid(int64_t threads) {
  const int64_t blocks = (threads + kSwigluBlock - 1) / kSwigluBlock;
  return dim3(static_cast<unsigned>(blocks < kSwigluMostBlocks ? blocks : kSwigluMostBlocks));
}

void swiglu_forward(Context& context, Tensor gate_up, Tensor out) {
  check_matrix("swiglu", "out", out, DType::f32, -1, -1);
  const int64_t rows = out.shape[0];
  const int64_t columns = out.shape[1];
  check_matrix("swiglu", "gateUp", gate_up, DType::f32, rows, 2 * columns);
  if (rows == 0 || columns == 0) return;
  const auto stream = static_cast<cudaStream_t>(context.stream);
  const bool wide = columns % 4 == 0 && is_aligned(gate_up) && is_aligned(out);
  const Launch how(swiglu_grid(rows * columns / (wide ? 4 : 1)), dim3(kSwigluBlock), 0, stream);
  const auto run = [&](auto kernel) {
    kernel(how, static_cast<const float*>(gate_up.f32()), gate_up.row_stride, out.f32(), out.row_stride, rows, columns);
  };
  if (wide) {
    run([](auto... a) { launch<swiglu_forward_kernel<4>>(a...); });
  } else {
    run([](auto... a) { launch<swiglu_forward_kernel<1>>(a...); });
  }
}

void swiglu_backward(Context& context, Tensor grad_out, Tensor gate_up, Tensor grad_gate_up) {
  check_matrix("swiglu", "gradOut", grad_out, DType::f32, -1, -1);
  const int64_t rows = grad_out.shape[0];
  const int64_t columns = grad_out.shape[1];
  check_matrix("swiglu", "gateUp", gate_up, DType::f32, rows, 2 * columns);
  check_matrix("swiglu", "gradGateUp", grad_gate_up, DType::f32, rows, 2 * columns);
  if (rows == 0 || columns == 0) return;
  const auto stream = static_cast<cudaStream_t>(context.stream);
  const bool wide = columns % 4 == 0 && is_aligned(gate_up) && is_aligned(grad_out) && is_aligned(grad_gate_up);
  const Launch how(swiglu_grid(rows * columns / (wide ? 4 : 1)), dim3(kSwigluBlock), 0, stream);
  const auto run = [&](auto kernel) {
    kernel(how, static_cast<const float*>(grad_out.f32()), grad_out.row_stride,
           static_cast<const float*>(gate_up.f32()), gate_up.row_stride, grad_gate_up.f32(), grad_gate_up.row_stride,
           rows, columns);
  };
  if (wide) {
    run([](auto... a) { launch<swiglu_backward_kernel<4>>(a...); });
  } else {
    run([](auto... a) { launch<swiglu_backward_kernel<1>>(a...); });
  }
}

}  // namespace cuda
}  // namespace luffy
