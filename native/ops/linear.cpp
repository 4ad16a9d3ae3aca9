// Linear layers on the matrix product. Order of an output: the product's sum, then the bias. Order of a bias gradient:
// rows in chunks of kBiasRows, each summed from zero in ascending order; the chunks' sums are added to gradBias in
// ascending order.
#include "linear.h"

#include "linear-product.h"
#include "matmul-pack.h"
#include "reduce.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

constexpr int64_t kBiasRows = 256;
constexpr int64_t kBiasColumns = 8 * kLanes;  // that one index sums: a line's worth of adjacent columns and more

LUFFY_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Column sums of rows [t0, t1) for columns [n0, n1).
void sum_columns(const Tensor& x, int64_t t0, int64_t t1, int64_t n0, int64_t n1, float* sums) {
  Vec sum[8];
  for (Vec& s : sum) s = vec(0.0f);
  if (n1 - n0 == kBiasColumns) {
    for (int64_t t = t0; t < t1; ++t) {
      const float* row = x.row(t) + n0;
#pragma GCC unroll 8
      for (int v = 0; v < 8; ++v) sum[v] = add(sum[v], load(row + v * kLanes));
    }
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) store(sums + n0 + v * kLanes, sum[v]);
    return;
  }
  for (int64_t n = n0; n < n1; n += kLanes) {
    const int lanes = static_cast<int>(smaller(kLanes, n1 - n));
    Vec s = vec(0.0f);
    for (int64_t t = t0; t < t1; ++t) s = add(s, load_first(x.row(t) + n, lanes));
    store_first(sums + n, s, lanes);
  }
}

void add_column_sums(Context& context, const Tensor& x, float* total) {
  const int64_t rows = x.shape[0];
  const int64_t columns = x.shape[1];
  if (rows == 0 || columns == 0) return;
  const int64_t chunks = (rows + kBiasRows - 1) / kBiasRows;
  const int64_t strips = (columns + kBiasColumns - 1) / kBiasColumns;
  float* sums = context.scratch<float>(chunks * columns);
  auto sum = [&](int64_t index, int) {
    const int64_t chunk = index / strips;
    const int64_t n0 = index % strips * kBiasColumns;
    sum_columns(x, chunk * kBiasRows, smaller(rows, (chunk + 1) * kBiasRows), n0, smaller(columns, n0 + kBiasColumns),
                sums + chunk * columns);
  };
  if (rows * columns < (1 << 16)) {
    for (int64_t index = 0; index < chunks * strips; ++index) sum(index, 0);
  } else {
    parallel_for(context, chunks * strips, sum);
  }
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    for (int64_t n = 0; n < columns; ++n) total[n] += sums[chunk * columns + n];
  }
}

}  // namespace

void linear_forward(Context& context, Tensor x, Tensor weight, Tensor packed, Tensor bias, Tensor residual,
                    Tensor out) {
  Product product = linear_forward_product<float>(x, weight, bias, residual, out);
  if (packed) {
    check_packed(weight, packed);
    product.b = packed.f32();
    product.b_layout = BLayout::packed;
  }
  run_product(context, product);
  if (residual) add_rows(context, out, residual, out);
}

void linear_swiglu_forward(Context& context, Tensor x, Tensor weight, Tensor packed, Tensor out) {
  check_linear_swiglu(x, weight, out, DType::f32);
  linear_swiglu_by_parts(context, x, weight, packed, out);
}

void linear_backward_input(Context& context, Tensor grad_out, Tensor weight, Tensor grad_x, bool accumulate) {
  run_product(context, linear_input_product<float>(grad_out, weight, grad_x, accumulate));
}

void linear_backward_weight(Context& context, Tensor grad_out, Tensor x, Tensor grad_weight, Tensor grad_bias) {
  run_product(context, linear_weight_product<float>(grad_out, x, grad_weight, grad_bias));
  if (grad_bias) add_column_sums(context, grad_out, grad_bias.f32());
}

void linear_pack(Context& context, Tensor weight, Tensor packed) {
  check_packed(weight, packed);
  const int64_t n = weight.shape[0];
  const int64_t k = weight.shape[1];
  if (n > 0 && k > 0) pack_weight(context, weight.f32(), weight.row_stride, n, k, packed.f32());
}

int64_t linear_packed_size(int64_t n, int64_t k) { return packed_weight_size(n, k); }

}  // namespace LUFFY_BACKEND
}  // namespace luffy
