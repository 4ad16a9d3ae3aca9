// Which way a product of bfloat16 takes on CUDA, and how the second way is tried before it is used. See matmul-bf16.cuh.
#include <cmath>
#include <cstring>
#include <vector>

#include "cublaslt.h"
#include "matmul-bf16.cuh"

namespace luffy {
namespace cuda {

// Products of at most this many rows stay with our own kernel, whose bits no other row decides: a step of decoding gains
// little from cuBLASLt, since it is bound by reading the weight once.
constexpr int64_t kRowsOfDecoding = 16;

template <class Out>
static LtProduct lt_product(const ProductOf<bf16, Out>& product, const Out* residual, int64_t residual_stride) {
  LtProduct p{};
  p.m = product.m;
  p.n = product.n;
  p.k = product.k;
  p.a = product.a;
  p.a_stride = product.a_stride;
  p.a_transposed = product.a_transposed;
  p.b = product.b;
  p.b_stride = product.b_stride;
  p.b_columns = product.b_layout == BLayout::columns;
  p.bias = product.bias;
  p.addend = product.accumulate ? product.out : residual;
  p.addend_stride = product.accumulate ? product.out_stride : residual_stride;
  p.out = product.out;
  p.out_stride = product.out_stride;
  p.out_is_float = ElementType<Out>::dtype == DType::f32;
  return p;
}

template <class Out>
static void run_own(Context& context, const ProductOf<bf16, Out>& product, const Out* residual,
                    int64_t residual_stride) {
  const Context::ScratchMark mark = context.scratch_mark();
  float* workspace = context.scratch<float>(bf16_workspace(product.m, product.n, product.k));
  launch_bf16_product(product, residual, residual_stride, workspace, static_cast<cudaStream_t>(context.stream));
  context.scratch_release(mark);
}

template <class Out>
static void run(Context& context, const ProductOf<bf16, Out>& product, const Out* residual = nullptr,
                int64_t residual_stride = 0) {
  if (context.cublaslt != nullptr && product.m > kRowsOfDecoding &&
      context.cublaslt->multiply(lt_product(product, residual, residual_stride), context.stream)) {
    return;
  }
  run_own(context, product, residual, residual_stride);
}

void run_product(Context& context, const ProductOf<bf16, bf16>& product, const bf16* residual,
                 int64_t residual_stride) {
  run(context, product, residual, residual_stride);
}
void run_product(Context& context, const ProductOf<bf16, bf16>& product) { run(context, product); }
void run_product(Context& context, const ProductOf<bf16, float>& product) { run(context, product); }

namespace {

struct TriedSizes {
  int64_t m, n, k;
  int64_t gap;  // between rows
};

// Integers, so that sums are exact in float32 and in no shorter type: there the order of a sum changes nothing.
int tried_number(int64_t i) { return static_cast<int>((i * 37 + i / 11 * 5) % 25) - 12; }

uint16_t bits_of(int value) {
  const auto real = static_cast<float>(value);
  uint32_t bits = 0;
  std::memcpy(&bits, &real, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);  // exact for 8 bits
}

float to_number(float x) { return x; }
float to_number(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float x = 0;
  std::memcpy(&x, &wide, sizeof x);
  return x;
}

// Float32 is exact; of bfloat16 the last bit may differ.
bool agree(float got, float own) { return got == own; }
bool agree(uint16_t got, uint16_t own) {
  const float a = to_number(got);
  const float b = to_number(own);
  return std::fabs(a - b) <= std::fabs(b) / 128;
}

class Trial {
 public:
  Trial(Context& context, Runtime& runtime, CublasLt& cublaslt)
      : context_(context), runtime_(runtime), cublaslt_(cublaslt) {}

  // Tries every way in which luffy asks for a product of these sizes, and returns what is wrong. `whole`: of
  // these sizes the library must have at least the plain products.
  std::string run(const TriedSizes& z, bool whole) {
    for (const bool a_transposed : {false, true})
      for (const bool b_columns : {false, true}) {
        for (const Addend addend : {Addend::none, Addend::out, Addend::residual})
          for (const bool bias : {false, true}) {
            std::string wrong = one<bf16, uint16_t>(z, whole, a_transposed, b_columns, addend, bias);
            if (!wrong.empty()) return wrong;
          }
        for (const Addend addend : {Addend::none, Addend::out}) {
          std::string wrong = one<float, float>(z, whole, a_transposed, b_columns, addend, false);
          if (!wrong.empty()) return wrong;
        }
      }
    return "";
  }

 private:
  enum class Addend { none, out, residual };

  template <class T>
  T* upload(const std::vector<T>& host) {
    T* data = context_.scratch<T>(static_cast<int64_t>(host.size()));
    runtime_.write(data, host.data(), host.size() * sizeof(T));
    return data;
  }
  const bf16* numbers(int64_t count, int64_t seed) {
    std::vector<uint16_t> host(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) host[static_cast<size_t>(i)] = bits_of(tried_number(i + seed));
    return reinterpret_cast<const bf16*>(upload(host));
  }

  // Host: how Out's elements are held here.
  template <class Out, class Host>
  std::string one(const TriedSizes& z, bool whole, bool a_transposed, bool b_columns, Addend addend, bool has_bias) {
    const Context::ScratchMark mark = context_.scratch_mark();
    ProductOf<bf16, Out> p{};
    p.m = z.m;
    p.n = z.n;
    p.k = z.k;
    p.a_transposed = a_transposed;
    p.a_stride = (a_transposed ? z.m : z.k) + z.gap;
    p.a = numbers((a_transposed ? z.k : z.m) * p.a_stride, 1);
    p.b_layout = b_columns ? BLayout::columns : BLayout::rows;
    p.b_stride = (b_columns ? z.k : z.n) + z.gap;
    p.b = numbers((b_columns ? z.n : z.k) * p.b_stride, 5);
    p.bias = has_bias ? numbers(z.n, 7) : nullptr;
    p.accumulate = addend == Addend::out;
    p.out_stride = z.n + z.gap;
    const int64_t stride = z.n + 2 * z.gap;
    const Out* residual = nullptr;
    std::vector<Host> before(static_cast<size_t>(z.m * stride));
    for (size_t i = 0; i < before.size(); ++i) {
      const int number = tried_number(static_cast<int64_t>(i) + 3);
      if constexpr (sizeof(Host) == 2) {
        before[i] = bits_of(number);
      } else {
        before[i] = static_cast<Host>(number);
      }
    }
    if (addend == Addend::residual) residual = reinterpret_cast<const Out*>(upload(before));
    before.resize(static_cast<size_t>(z.m * p.out_stride));

    std::vector<Host> results[2];
    bool launched = false;
    for (std::vector<Host>& result : results) {
      p.out = reinterpret_cast<Out*>(upload(before));
      if (&result == results) {
        run_own(context_, p, residual, stride);
      } else {
        launched = cublaslt_.multiply(lt_product(p, residual, stride), context_.stream);
      }
      result.resize(before.size());
      runtime_.read(result.data(), p.out, result.size() * sizeof(Host));
    }
    context_.scratch_release(mark);
    if (!launched) return refusal(whole && addend == Addend::none && !has_bias);
    for (size_t i = 0; i < before.size(); ++i) {
      if (agree(results[1][i], results[0][i])) continue;
      return "a product of " + std::to_string(z.m) + " x " + std::to_string(z.n) + " x " + std::to_string(z.k) +
             (a_transposed ? ", A transposed" : "") + (b_columns ? ", B transposed" : "") + (has_bias ? ", bias" : "") +
             (addend == Addend::none ? "" : ", added") + " to " + (sizeof(Host) == 2 ? "bfloat16" : "float32") +
             ": element " + std::to_string(i) + " is " + std::to_string(to_number(results[1][i])) + ", expected " +
             std::to_string(to_number(results[0][i]));
    }
    return "";
  }

  // What it means that a product was not launched.
  std::string refusal(bool is_needed) const {
    const std::string reason = cublaslt_.state().reason;
    return reason.empty() && is_needed ? "it has no product of bfloat16 for this device" : reason;
  }

  Context& context_;
  Runtime& runtime_;
  CublasLt& cublaslt_;
};

}  // namespace

std::string check_cublaslt(Context& context, Runtime& runtime, CublasLt& cublaslt) {
  Trial trial(context, runtime, cublaslt);
  // Whole runs of 16 bytes; none of them; and k so long that it may be split.
  std::string wrong = trial.run({24, 40, 72, 8}, true);
  if (wrong.empty()) wrong = trial.run({19, 23, 29, 3}, false);
  if (wrong.empty()) wrong = trial.run({24, 16, 1032, 0}, true);
  return wrong;
}

}  // namespace cuda
}  // namespace luffy
