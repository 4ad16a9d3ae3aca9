// The matrix product of bfloat16 on CUDA: matmul and linear where the operands are bfloat16.
//
// The sum of an element: k is cut into equal blocks (bf16_block(K), the last may be shorter); each block is a chain of
// tensor-core products of 16 k from zero over ascending k, in float32; the blocks are added in ascending order in
// float32; then the bias, then the old out or the residual. Only then it is rounded, once, if out is bfloat16. The order
// follows from K alone: an element has the same bits whichever tile computed it, whatever stands beside its row. Where
// cuBLASLt takes the product (cublaslt.h) the order is its own.
#pragma once

#include <string>

#include "../core/cu.cuh"
#include "../core/runtime.h"
#include "matmul-product.h"

namespace luffy {
namespace cuda {

template <>
struct ElementType<bf16> {
  static constexpr DType dtype = DType::bf16;
};

// The length of a block of k, a multiple of the 32 k of a slice.
static inline int64_t bf16_block(int64_t k) {
  const int64_t blocks = (k + kLongestBlock - 1) / kLongestBlock;
  return blocks <= 1 ? kLongestBlock : ((k + blocks - 1) / blocks + 31) / 32 * 32;
}

// The way of a product (matmul-bf16-run.cu): this kernel, or cuBLASLt where the device has it. With a residual [m, n] that
// is added to what is written.
void run_product(Context& context, const ProductOf<bf16, bf16>& product, const bf16* residual, int64_t residual_stride);
void run_product(Context& context, const ProductOf<bf16, bf16>& product);
void run_product(Context& context, const ProductOf<bf16, float>& product);
// x [m,k] and the weight [2f,k] of a gate and an up: out [m,f] = swiglu of their product, which is rounded before. n is 2f.
void run_swiglu_product(Context& context, const ProductOf<bf16, bf16>& product);

// Why the device's cuBLASLt is not to be used: it fails, or its products are not those of this kernel. Nothing when it is.
std::string check_cublaslt(Context& context, Runtime& runtime, CublasLt& cublaslt);

// This kernel without a context: `workspace` has room for bf16_workspace floats, aligned to 16 bytes.
template <class Out>
void launch_bf16_product(const ProductOf<bf16, Out>& product, const Out* residual, int64_t residual_stride,
                         float* workspace, cudaStream_t stream);
int64_t bf16_workspace(int64_t m, int64_t n, int64_t k);

}  // namespace cuda
}  // namespace luffy
