// Launchers of rms-norm's CUDA kernels; formula, shapes and what may share memory stand in rms-norm.h. Pointers are to
// device memory; x, residual, weight, sum, out, gradients of activations are all float32 or all bfloat16, rstd and
// gradWeight are float32. Strides are in elements. Rows of the same numbers give the same bits, whatever their
// alignment, stride and neighbours.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace luffy {
namespace cuda {

struct RmsNormForwardArgs {
  const void* x;
  const void* residual;  // optional
  const void* weight;
  void* sum;  // optional
  void* out;
  float* rstd;  // optional
  int64_t rows, groups, columns;
  int64_t x_stride, residual_stride, sum_stride, out_stride;
  float epsilon;
  bool bf16;
};

struct RmsNormBackwardArgs {
  const void* grad_out;
  const void* s;
  const void* weight;
  const float* rstd;
  const void* grad_sum;  // optional
  void* grad_x;
  float* grad_weight;  // +=
  float* workspace;    // rms_norm_backward_workspace floats, aligned to 16 bytes
  int64_t rows, groups, columns;
  int64_t grad_out_stride, s_stride, grad_sum_stride, grad_x_stride;
  bool bf16;
};

void rms_norm_forward_kernel_launch(const RmsNormForwardArgs& args, cudaStream_t stream);
void rms_norm_backward_kernel_launch(const RmsNormBackwardArgs& args, cudaStream_t stream);
int64_t rms_norm_backward_workspace(int64_t rows, int64_t groups, int64_t columns);

}  // namespace cuda
}  // namespace luffy
