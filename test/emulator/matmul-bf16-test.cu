// matmul's bfloat16 kernels on whole numbers, where every sum is exact, on whatever runs CUDA: the emulator or a card.
// Every layout, tile, alignment and output; one line a case and a hash of all bits. `tiny` is for ThreadSanitizer.
#include <cmath>
#include <cstdio>
#include <vector>

#include "../../native/ops/matmul-bf16.cuh"
#include "cases.cuh"

using namespace cases;

namespace {

struct Sizes {
  int64_t m, n, k, gap;
};
// One row, rows of each tile (16, 64 and, from four tiles on, 128), tails in every direction, several blocks of k.
const Sizes kSizes[] = {{1, 8, 32, 0},    {1, 3, 5, 1},      {7, 19, 33, 3},     {16, 64, 64, 0},  {5, 40, 1200, 0},
                        {24, 72, 80, 8},  {33, 65, 47, 5},   {64, 64, 544, 0},   {133, 136, 40, 8}, {129, 130, 67, 3},
                        {256, 136, 1056, 0}};
constexpr int64_t kTiny = 100000;  // multiply-adds

// Whole numbers from -3 to 3, by place.
int number(int64_t i, int64_t j, int seed) {
  const auto mixed = static_cast<uint32_t>(i * 7919 + j * 104729 + seed * 31) * 2654435761u;
  return static_cast<int>(mixed >> 24) % 7 - 3;
}

float number_of(float x) { return x; }
float number_of(bf16 x) { return __bfloat162float(x); }
void set_number(float& to, double x) { to = static_cast<float>(x); }
void set_number(bf16& to, double x) { to = __float2bfloat16_rn(static_cast<float>(x)); }

template <class Out>
void test(const Sizes& z, bool a_along, bool b_along, bool with_bias, int addend /* 0 none, 1 old out, 2 residual */,
          int64_t offset) {
  const int64_t a_stride = (a_along ? z.k : z.m) + z.gap, b_stride = (b_along ? z.k : z.n) + z.gap;
  const int64_t stride = z.n + z.gap;
  Array<bf16> a((a_along ? z.m : z.k) * a_stride, offset), b((b_along ? z.n : z.k) * b_stride, offset), bias(z.n, 0);
  Array<Out> out(z.m * stride, offset), residual(z.m * stride, offset);
  for (int64_t i = 0; i < z.m; ++i)
    for (int64_t k = 0; k < z.k; ++k) set_number(a.at(a_along ? i * a_stride + k : k * a_stride + i), number(i, k, 1));
  for (int64_t j = 0; j < z.n; ++j) {
    set_number(bias.at(j), number(j, 0, 3));
    for (int64_t k = 0; k < z.k; ++k) set_number(b.at(b_along ? j * b_stride + k : k * b_stride + j), number(j, k, 2));
    for (int64_t i = 0; i < z.m; ++i) {
      if (addend == 1) set_number(out.at(i * stride + j), number(i, j, 4));
      set_number(residual.at(i * stride + j), number(i, j, 4));
    }
  }
  a.written(), b.written(), bias.written(), out.written(), residual.written();
  luffy::cuda::ProductOf<bf16, Out> product{};
  product.m = z.m;
  product.n = z.n;
  product.k = z.k;
  product.a = a.data();
  product.a_stride = a_stride;
  product.a_transposed = !a_along;
  product.b = b.data();
  product.b_stride = b_stride;
  product.b_layout = b_along ? luffy::cuda::BLayout::columns : luffy::cuda::BLayout::rows;
  product.bias = with_bias ? bias.data() : nullptr;
  product.out = out.data();
  product.out_stride = stride;
  product.accumulate = addend == 1;
  Array<float> workspace(luffy::cuda::bf16_workspace(z.m, z.n, z.k), 0);
  workspace.written();
  luffy::cuda::launch_bf16_product(product, addend == 2 ? residual.data() : nullptr, stride, workspace.data(), nullptr);
  check(cudaDeviceSynchronize());
  out.read_to_hash();
  int wrong = 0;
  char first[120] = "";
  for (int64_t i = 0; i < z.m; ++i) {
    for (int64_t j = 0; j < z.n; ++j) {
      double sum = (with_bias ? number(j, 0, 3) : 0) + (addend != 0 ? number(i, j, 4) : 0);
      for (int64_t k = 0; k < z.k; ++k) sum += number(i, k, 1) * number(j, k, 2);
      Out wanted;
      set_number(wanted, sum);
      const float got = number_of(out.at(i * stride + j));
      if (got != number_of(wanted) && wrong++ == 0)
        std::snprintf(first, sizeof first, ", [%d, %d] is %g, not %g", static_cast<int>(i), static_cast<int>(j), got,
                      number_of(wanted));
    }
    for (int64_t j = z.n; j < stride; ++j)
      if (!std::isnan(number_of(out.at(i * stride + j)))) ++wrong;
  }
  ++count;
  if (wrong > 0) ++failures;
  std::printf("%s %lldx%lldx%lld gap %lld offset %lld %s%s%s%s%s: %d wrong%s", wrong > 0 ? "FAILED" : "ok",
              static_cast<long long>(z.m), static_cast<long long>(z.n), static_cast<long long>(z.k),
              static_cast<long long>(z.gap), static_cast<long long>(offset), a_along ? "A" : "A^T",
              b_along ? " B^T" : " B", with_bias ? " bias" : "", addend == 0 ? "" : addend == 1 ? " add" : " residual",
              sizeof(Out) == 2 ? "" : " float32", wrong, first);
  print_matrices({"matmul_bf16_kernel"});
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv, [](bool tiny) {
    for (const Sizes& z : kSizes) {
      if (tiny && z.m * z.n * z.k > kTiny) continue;
      const bool large = z.m * z.n * z.k > 10000000;
      for (const bool a_along : {true, false}) {
        for (const bool b_along : {true, false}) {
          if (large && !(a_along && b_along)) continue;
          test<bf16>(z, a_along, b_along, true, 2, 0);
          if (!tiny && !large) test<float>(z, a_along, b_along, false, 1, 1);
        }
      }
    }
  });
}
