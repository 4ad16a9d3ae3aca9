// Linear layers on the matrix product on CUDA. See linear.h. Order of a bias gradient: rows in chunks of kBiasRows, each
// summed from zero in ascending order; the chunks' sums are added to gradBias in ascending order.
//
// A packed weight is a copy whose rows start at multiples of 16 bytes, so that they can be copied to shared memory 16
// bytes at a time. A weight whose rows have such a length needs none: its packed size is 0, and nothing is kept twice.
//
// Bias gradient: reads gradOut once, bound by memory.
#include "linear.h"

#include "cuda-rows.cuh"
#include "linear-product.h"
#include "matmul-bf16.cuh"
#include "reduce.h"

namespace luffy {
namespace cuda {

constexpr int kBiasRows = 256;
constexpr int kBiasColumns = 128;  // of one block of threads, one each
constexpr int kPackBlock = 256;

// sums[chunk, column] of chunk blockIdx.y and those gridDim.y further on.
template <class T>
KERNEL(kBiasColumns)
column_sums_kernel(const T* x, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  const int64_t column = int64_t{blockIdx.x} * kBiasColumns + threadIdx.x;
  if (column >= columns) return;
  for (int64_t chunk = blockIdx.y; chunk * kBiasRows < rows; chunk += gridDim.y) {
    const T* from = x + chunk * kBiasRows * stride + column;
    const int64_t count = min(rows - chunk * kBiasRows, int64_t{kBiasRows});
    float sum = 0.0f;
#pragma unroll 8
    for (int64_t t = 0; t < count; ++t) sum += to_float(ld(from + t * stride));
    st(sums + chunk * columns + column, sum);
  }
}

KERNEL(kBiasColumns)
add_column_sums_kernel(const float* sums, int64_t chunks, int64_t columns, float* total) {
  const int64_t column = int64_t{blockIdx.x} * kBiasColumns + threadIdx.x;
  if (column >= columns) return;
  float sum = ld(total + column);
#pragma unroll 8
  for (int64_t chunk = 0; chunk < chunks; ++chunk) sum += ld(sums + chunk * columns + column);
  st(total + column, sum);
}

KERNEL(kPackBlock)
linear_pack_kernel(const float* weight, int64_t stride, int64_t rows, int64_t columns, int64_t packed_columns,
                   float* packed) {
  const int64_t step = int64_t{gridDim.x} * kPackBlock;
  for (int64_t i = int64_t{blockIdx.x} * kPackBlock + threadIdx.x; i < rows * packed_columns; i += step) {
    const int64_t row = i / packed_columns;
    const int64_t column = i - row * packed_columns;
    st(packed + i, column < columns ? ld(weight + row * stride + column) : 0.0f);
  }
}

static int64_t packed_row(int64_t k) { return (k + 3) / 4 * 4; }

static void add_column_sums(Context& context, const Tensor& x, float* total) {
  const int64_t rows = x.shape[0];
  const int64_t columns = x.shape[1];
  if (rows == 0 || columns == 0) return;
  const int64_t chunks = (rows + kBiasRows - 1) / kBiasRows;
  const auto stream = static_cast<cudaStream_t>(context.stream);
  const auto strips = static_cast<unsigned>((columns + kBiasColumns - 1) / kBiasColumns);
  const auto high = static_cast<unsigned>(chunks < 65535 ? chunks : 65535);
  float* sums = context.scratch<float>(chunks * columns);
  for_activation(x.dtype, [&](auto element) {
    using T = decltype(element);
    launch<column_sums_kernel<T>>(Launch(dim3(strips, high), dim3(kBiasColumns), 0, stream),
                                  static_cast<const T*>(x.data), x.row_stride, rows, columns, sums);
  });
  launch<add_column_sums_kernel>(Launch(dim3(strips), dim3(kBiasColumns), 0, stream), static_cast<const float*>(sums),
                                 chunks, columns, total);
}

void linear_forward(Context& context, Tensor x, Tensor weight, Tensor packed, Tensor bias, Tensor residual,
                    Tensor out) {
  if (weight.dtype == DType::bf16) {
    if (packed) check_vector("linear", "packed", packed, DType::f32, 0);
    const auto product = linear_forward_product<bf16>(x, weight, bias, residual, out);
    return run_product(context, product, static_cast<const bf16*>(residual.data), residual.row_stride);
  }
  Product product = linear_forward_product<float>(x, weight, bias, residual, out);
  if (packed) {
    check_packed(weight, packed);
    if (packed.size() > 0) {
      product.b = packed.f32();
      product.b_stride = packed_row(product.k);
    }
  }
  run_product(context, product);
  if (residual) add_rows(context, out, residual, out);
}

void linear_swiglu_forward(Context& context, Tensor x, Tensor weight, Tensor packed, Tensor out) {
  check_linear_swiglu(x, weight, out, activation_dtype(weight));
  if (weight.dtype != DType::bf16) return linear_swiglu_by_parts(context, x, weight, packed, out);
  if (packed) check_vector("linear-swiglu", "packed", packed, DType::f32, 0);
  ProductOf<bf16, bf16> product{};
  set_operands(product, x, false, weight, BLayout::columns, out);
  product.n = weight.shape[0];
  run_swiglu_product(context, product);
}

void linear_backward_input(Context& context, Tensor grad_out, Tensor weight, Tensor grad_x, bool accumulate) {
  if (weight.dtype == DType::bf16)
    return run_product(context, linear_input_product<bf16>(grad_out, weight, grad_x, accumulate));
  run_product(context, linear_input_product<float>(grad_out, weight, grad_x, accumulate));
}

void linear_backward_weight(Context& context, Tensor grad_out, Tensor x, Tensor grad_weight, Tensor grad_bias) {
  if (x.dtype == DType::bf16) {
    run_product(context, linear_weight_product<bf16>(grad_out, x, grad_weight, grad_bias));
  } else {
    run_product(context, linear_weight_product<float>(grad_out, x, grad_weight, grad_bias));
  }
  if (grad_bias) add_column_sums(context, grad_out, grad_bias.f32());
}

void linear_pack(Context& context, Tensor weight, Tensor packed) {
  check_packed(weight, packed);
  const int64_t size = packed.size();
  if (size == 0) return;
  const int64_t k = weight.shape[1];
  const int64_t blocks = (size + kPackBlock - 1) / kPackBlock;
  const auto grid = static_cast<unsigned>(blocks < (1 << 16) ? blocks : 1 << 16);
  launch<linear_pack_kernel>(Launch(dim3(grid), dim3(kPackBlock), 0, static_cast<cudaStream_t>(context.stream)),
                             static_cast<const float*>(weight.f32()), weight.row_stride, weight.shape[0], k,
                             packed_row(k), packed.f32());
}

int64_t linear_packed_size(int64_t n, int64_t k) { return k % 4 == 0 ? 0 : n * packed_row(k); }

}  // namespace cuda
}  // namespace luffy
