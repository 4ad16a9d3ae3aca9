// Linear layers on the matrix product on CUDA. See linear.h. Order of a bias gradient: rows in chunks of kBiasRows, each
// summed from zero in ascending order; the chunks' sums are added to gradBias in ascending order.
//
// A packed weight is a copy whose rows start at multiples of 16 bytes, so that they can be copied to shared memory 16
// bytes at a time. A weight whose rows have such a length needs none: its packed size is 0, and nothing is kept twice.
//
// Bias gradient: reads gradOut once, bound by memory.
#include "linear.h"

#include "matmul-product.cuh"

namespace luffy {
namespace cuda {

constexpr int kBiasRows = 256;
constexpr int kBiasColumns = 128;  // of one block of threads, one each
constexpr int kPackBlock = 256;

// sums[chunk, column] of chunk blockIdx.y and those gridDim.y further on.
KERNEL(kBiasColumns)
column_sums_kernel(const float* x, int64_t stride, int64_t rows, int64_t columns, float* sums) {
  const int64_t column = int64_t{blockIdx.x} * kBiasColumns + threadIdx.x;
  if (column >= columns) return;
  for (int64_t chunk = blockIdx.y; chunk * kBiasRows < rows; chunk += gridDim.y) {
    const float* from = x + chunk * kBiasRows * stride + column;
    const int64_t count = min(rows - chunk * kBiasRows, int64_t{kBiasRows});
    float sum = 0.0f;
#pragma unroll 8
    for (int64_t t = 0; t < count; ++t) sum += ld(from + t * stride);
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
  launch<column_sums_kernel>(Launch(dim3(strips, high), dim3(kBiasColumns), 0, stream),
                             static_cast<const float*>(x.f32()), x.row_stride, rows, columns, sums);
  launch<add_column_sums_kernel>(Launch(dim3(strips), dim3(kBiasColumns), 0, stream), static_cast<const float*>(sums),
                                 chunks, columns, total);
}

void linear_forward(Context& context, Tensor x, Tensor weight, Tensor packed, Tensor bias, Tensor out) {
  check_rows("linear", "weight", weight, DType::f32, -1, -1);
  const int64_t n = weight.shape[0];
  const int64_t k = weight.shape[1];
  check_rows("linear", "x", x, DType::f32, -1, k);
  check_rows("linear", "out", out, DType::f32, x.shape[0], n);
  if (packed) check_vector("linear", "packed", packed, DType::f32, linear_packed_size(n, k));
  if (bias) check_vector("linear", "bias", bias, DType::f32, n);
  const bool is_packed = packed && packed.size() > 0;
  MatrixProduct product{};
  product.m = x.shape[0];
  product.n = n;
  product.k = k;
  product.a = x.f32();
  product.a_stride = x.row_stride;
  product.b = is_packed ? packed.f32() : weight.f32();
  product.b_stride = is_packed ? packed_row(k) : weight.row_stride;
  product.b_transposed = true;
  product.bias = bias ? bias.f32() : nullptr;
  product.out = out.f32();
  product.out_stride = out.row_stride;
  run_matrix_product(context, product);
}

void linear_backward_input(Context& context, Tensor grad_out, Tensor weight, Tensor grad_x, bool accumulate) {
  check_rows("linear", "weight", weight, DType::f32, -1, -1);
  const int64_t n = weight.shape[0];
  const int64_t k = weight.shape[1];
  check_rows("linear", "gradOut", grad_out, DType::f32, -1, n);
  check_rows("linear", "gradX", grad_x, DType::f32, grad_out.shape[0], k);
  MatrixProduct product{};
  product.m = grad_out.shape[0];
  product.n = k;
  product.k = n;
  product.a = grad_out.f32();
  product.a_stride = grad_out.row_stride;
  product.b = weight.f32();
  product.b_stride = weight.row_stride;
  product.out = grad_x.f32();
  product.out_stride = grad_x.row_stride;
  product.accumulate = accumulate;
  run_matrix_product(context, product);
}

void linear_backward_weight(Context& context, Tensor grad_out, Tensor x, Tensor grad_weight, Tensor grad_bias) {
  check_rows("linear", "gradWeight", grad_weight, DType::f32, -1, -1);
  const int64_t n = grad_weight.shape[0];
  const int64_t k = grad_weight.shape[1];
  check_rows("linear", "gradOut", grad_out, DType::f32, -1, n);
  check_rows("linear", "x", x, DType::f32, grad_out.shape[0], k);
  if (grad_bias) check_vector("linear", "gradBias", grad_bias, DType::f32, n);
  MatrixProduct product{};
  product.m = n;
  product.n = k;
  product.k = x.shape[0];
  product.a = grad_out.f32();
  product.a_stride = grad_out.row_stride;
  product.a_transposed = true;
  product.b = x.f32();
  product.b_stride = x.row_stride;
  product.out = grad_weight.f32();
  product.out_stride = grad_weight.row_stride;
  product.accumulate = true;
  run_matrix_product(context, product);
  if (grad_bias) add_column_sums(context, grad_out, grad_bias.f32());
}

void linear_pack(Context& context, Tensor weight, Tensor packed) {
  check_rows("linear", "weight", weight, DType::f32, -1, -1);
  const int64_t n = weight.shape[0];
  const int64_t k = weight.shape[1];
  const int64_t size = linear_packed_size(n, k);
  check_vector("linear", "packed", packed, DType::f32, size);
  if (size == 0) return;
  const int64_t blocks = (size + kPackBlock - 1) / kPackBlock;
  const auto grid = static_cast<unsigned>(blocks < (1 << 16) ? blocks : 1 << 16);
  launch<linear_pack_kernel>(Launch(dim3(grid), dim3(kPackBlock), 0, static_cast<cudaStream_t>(context.stream)),
                             static_cast<const float*>(weight.f32()), weight.row_stride, n, k, packed_row(k),
                             packed.f32());
}

int64_t linear_packed_size(int64_t n, int64_t k) { return k % 4 == 0 ? 0 : n * packed_row(k); }

}  // namespace cuda
}  // namespace luffy
