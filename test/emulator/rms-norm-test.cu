// rms-norm's CUDA kernels against a formula in double, on whatever runs CUDA: the emulator or a card. Prints one line a
// case with the largest error over its limit, and a hash of all bits. `small` leaves out the cases of many blocks, `large` is the
// one of very many rows, `tiny` is for ThreadSanitizer: two sizes, one with several groups a block.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <vector>

#include "../../native/ops/rms-norm.cuh"
#include "cases.cuh"

using namespace cases;

namespace {

struct Sizes {
  int64_t rows, groups, columns, gap;
};
const Sizes kSizes[] = {{0, 1, 5, 0},   {1, 1, 1, 0},     {3, 3, 17, 0},   {17, 1, 123, 5},  {131, 7, 16, 3}, {2, 1, 301, 0},
                        {9, 1, 1024, 16}, {3, 1, 5128, 0}, {5, 1, 1031, 1}, {40, 2, 128, 16}, {6, 1, 512, 0},  {3, 1, 8256, 0}};
// More rows than a grid has in y, and more groups than workers: apart, since it takes long where threads are emulated.
const Sizes kLarge = {70001, 1, 5, 0};
constexpr int64_t kSmallRows = 20;

uint32_t noise_state = 12345;
double noise() {
  noise_state = noise_state * 1664525u + 1013904223u;
  return (noise_state >> 8) / 8388608.0 - 1.0;
}

template <class T>
T rounded(double x) {
  return from_float<T>(static_cast<float>(x));
}

// A matrix of `rows` rows of `width` numbers, `gap` numbers apart, whose gaps must stay as they are.
template <class T>
struct Matrix {
  int64_t rows, width, stride;
  std::vector<T> host;
  T* device = nullptr;
  Matrix(int64_t row_count, int64_t row_width, int64_t gap, bool filled)
      : rows(row_count), width(row_width), stride(row_width + gap), host(static_cast<size_t>(rows * stride + 1)) {
    std::memset(static_cast<void*>(host.data()), 0xff, host.size() * sizeof(T));
    for (int64_t i = 0; filled && i < rows; ++i)
      for (int64_t j = 0; j < width; ++j) at(i, j) = rounded<T>(noise());
    check(cudaMalloc(reinterpret_cast<void**>(&device), host.size() * sizeof(T)));
    check(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  Matrix(const Matrix&) = delete;
  ~Matrix() { cudaFree(device); }
  T& at(int64_t i, int64_t j) { return host[static_cast<size_t>(i * stride + j)]; }
  double value(int64_t i, int64_t j) { return to_float(at(i, j)); }
  // Reads back; false when a gap was written to.
  bool read() {
    check(cudaMemcpy(host.data(), device, host.size() * sizeof(T), cudaMemcpyDeviceToHost));
    add_to_hash(host.data(), host.size() * sizeof(T));
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = width; j < stride; ++j)
        if (!std::isnan(to_float(at(i, j)))) return false;
    return true;
  }
};

// The largest |got - wanted| / limit; a NaN or a written gap is infinite.
struct Worst {
  double ratio = 0;
  void add(double got, double wanted, double limit) {
    const double error = std::fabs(got - wanted);
    const double r = std::isfinite(got) ? (error == 0 ? 0 : error / limit) : INFINITY;
    if (!(r <= ratio)) ratio = r;
  }
  void require(bool good) {
    if (!good) ratio = INFINITY;
  }
};

// Rounding to bfloat16 (8 bits), or float32 rounding; measured 3.1e-7 of the magnitude in float32.
template <class T>
double precision() {
  return sizeof(T) == 2 ? 0x1.01p-8 : 1.2e-6;
}
// Sums in float32 over rows: measured 2.4e-7 of the sum of magnitudes.
constexpr double kSumPrecision = 1e-6;

struct Result {
  Worst worst;
  double traffic = 0;  // bytes moved over the least possible
};

enum class Sharing { none, sum_is_x, out_is_x };

template <class T>
Result test_forward(const Sizes& z, bool with_residual, Sharing sharing) {
  const int64_t width = z.groups * z.columns;
  Matrix<T> x(z.rows, width, z.gap, true), residual(z.rows, width, z.gap, true), weight(1, z.columns, 0, true);
  Matrix<T> sum(z.rows, width, z.gap, false), out(z.rows, width, z.gap, false);
  Matrix<float> rstd(1, z.rows * z.groups, 0, false);
  std::vector<double> s(static_cast<size_t>(z.rows * width));
  for (int64_t i = 0; i < z.rows; ++i)
    for (int64_t j = 0; j < width; ++j)
      s[static_cast<size_t>(i * width + j)] =
          with_residual ? to_float(rounded<T>(x.value(i, j) + residual.value(i, j))) : x.value(i, j);

  Matrix<T>& sum_at = sharing == Sharing::sum_is_x ? x : sum;
  Matrix<T>& out_at = sharing == Sharing::out_is_x ? x : out;
  const bool has_sum = with_residual && sharing != Sharing::out_is_x;
  luffy::cuda::RmsNormForwardArgs args{};
  args.x = x.device;
  args.residual = with_residual ? residual.device : nullptr;
  args.weight = weight.device;
  args.sum = has_sum ? sum_at.device : nullptr;
  args.out = out_at.device;
  args.rstd = rstd.device;
  args.rows = z.rows;
  args.groups = z.groups;
  args.columns = z.columns;
  args.x_stride = x.stride;
  args.residual_stride = residual.stride;
  args.sum_stride = sum_at.stride;
  args.out_stride = out_at.stride;
  args.epsilon = 1e-5f;
  args.bf16 = sizeof(T) == 2;
  luffy::cuda::rms_norm_forward_kernel_launch(args, nullptr);
  check(cudaDeviceSynchronize());

  Result result;
  result.worst.require(out_at.read() && rstd.read() && (!has_sum || sum_at.read()));
  for (int64_t g = 0; g < z.rows * z.groups; ++g) {
    const int64_t row = g / z.groups, offset = g % z.groups * z.columns;
    double squares = 0;
    for (int64_t c = 0; c < z.columns; ++c) squares += std::pow(s[static_cast<size_t>(row * width + offset + c)], 2);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(z.columns) + static_cast<double>(args.epsilon));
    result.worst.add(rstd.value(0, g), scale, 1.2e-6 * scale);
    for (int64_t c = 0; c < z.columns; ++c) {
      const double value = s[static_cast<size_t>(row * width + offset + c)], wanted = value * scale * weight.value(0, c);
      result.worst.add(out_at.value(row, offset + c), wanted, precision<T>() * std::fabs(wanted) + 1e-30);
      if (has_sum) result.worst.add(sum_at.value(row, offset + c), value, 1e-30);
    }
  }
  result.traffic = static_cast<double>(sizeof(T)) * static_cast<double>(z.rows * width) *
                   (with_residual ? (has_sum ? 4.0 : 3.0) : 2.0);
  return result;
}

enum class BackwardSharing { none, grad_x_is_grad_out, grad_x_is_grad_sum };

template <class T>
Result test_backward(const Sizes& z, bool with_sum, BackwardSharing sharing) {
  const int64_t width = z.groups * z.columns;
  Matrix<T> grad_out(z.rows, width, z.gap, true), s(z.rows, width, z.gap, true), grad_sum(z.rows, width, z.gap, true);
  Matrix<T> weight(1, z.columns, 0, true), grad_x(z.rows, width, z.gap, false);
  Matrix<float> rstd(1, z.rows * z.groups, 0, true), grad_weight(1, z.columns, 0, true);
  Matrix<float> workspace(1, luffy::cuda::rms_norm_backward_workspace(z.rows, z.groups, z.columns), 0, false);

  std::vector<double> want_x(static_cast<size_t>(z.rows * width)), size_x(want_x.size());
  std::vector<double> want_w(static_cast<size_t>(z.columns)), size_w(want_w.size());
  for (int64_t c = 0; c < z.columns; ++c) {
    want_w[static_cast<size_t>(c)] = grad_weight.value(0, c);
    size_w[static_cast<size_t>(c)] = std::fabs(grad_weight.value(0, c));
  }
  for (int64_t g = 0; g < z.rows * z.groups; ++g) {
    const int64_t row = g / z.groups, offset = g % z.groups * z.columns;
    double squares = 0, dot = 0, size = 0;
    for (int64_t c = 0; c < z.columns; ++c) squares += std::pow(s.value(row, offset + c), 2);
    const double r = static_cast<float>(1 / std::sqrt(squares / static_cast<double>(z.columns) + 1e-5));
    rstd.at(0, g) = static_cast<float>(r);
    for (int64_t c = 0; c < z.columns; ++c) {
      const double term = grad_out.value(row, offset + c) * weight.value(0, c) * s.value(row, offset + c);
      dot += term;
      size += std::fabs(term);
    }
    for (int64_t c = 0; c < z.columns; ++c) {
      const double gr = grad_out.value(row, offset + c), value = s.value(row, offset + c), w = weight.value(0, c);
      const size_t at = static_cast<size_t>(row * width + offset + c);
      const double more = with_sum ? grad_sum.value(row, offset + c) : 0.0;
      want_x[at] = more + gr * w * r - r * r * r * value * dot / static_cast<double>(z.columns);
      size_x[at] = std::fabs(more) + std::fabs(gr * w * r) +
                   std::fabs(r * r * r * value) * size / static_cast<double>(z.columns);
      want_w[static_cast<size_t>(c)] += gr * value * r;
      size_w[static_cast<size_t>(c)] += std::fabs(gr * value * r);
    }
  }
  check(cudaMemcpy(rstd.device, rstd.host.data(), rstd.host.size() * sizeof(float), cudaMemcpyHostToDevice));

  Matrix<T>& x_at = sharing == BackwardSharing::grad_x_is_grad_out   ? grad_out
                    : sharing == BackwardSharing::grad_x_is_grad_sum ? grad_sum
                                                                     : grad_x;
  luffy::cuda::RmsNormBackwardArgs args{};
  args.grad_out = grad_out.device;
  args.s = s.device;
  args.weight = weight.device;
  args.rstd = rstd.device;
  args.grad_sum = with_sum ? grad_sum.device : nullptr;
  args.grad_x = x_at.device;
  args.grad_weight = grad_weight.device;
  args.workspace = workspace.device;
  args.rows = z.rows;
  args.groups = z.groups;
  args.columns = z.columns;
  args.grad_out_stride = grad_out.stride;
  args.s_stride = s.stride;
  args.grad_sum_stride = grad_sum.stride;
  args.grad_x_stride = x_at.stride;
  args.bf16 = sizeof(T) == 2;
  luffy::cuda::rms_norm_backward_kernel_launch(args, nullptr);
  check(cudaDeviceSynchronize());

  Result result;
  result.worst.require(x_at.read() && grad_weight.read());
  for (int64_t row = 0; row < z.rows; ++row)
    for (int64_t j = 0; j < width; ++j) {
      const size_t at = static_cast<size_t>(row * width + j);
      const double rounding = sizeof(T) == 2 ? 0x1.01p-8 * std::fabs(want_x[at]) : 0.0;
      result.worst.add(x_at.value(row, j), want_x[at], rounding + kSumPrecision * size_x[at] + 1e-30);
    }
  for (int64_t c = 0; c < z.columns; ++c)
    result.worst.add(grad_weight.value(0, c), want_w[static_cast<size_t>(c)],
                     kSumPrecision * size_w[static_cast<size_t>(c)] + 1e-30);
  result.traffic = static_cast<double>(sizeof(T)) * static_cast<double>(z.rows * width) * (with_sum ? 4.0 : 3.0);
  return result;
}


// What the emulator counted: bytes over the least possible, sectors over those that the bytes need.
void print_traffic(const char* kernel, double least) {
#ifndef __CUDACC__
  if (!emulator::tracing || least == 0) return;
  const emulator::Traffic t = emulator::traffic(kernel);
  const double sectors = static_cast<double>(t.load_sectors + t.store_sectors);
  std::printf("  traffic: %.3f of the least bytes, %.3f of the least sectors", (t.load_bytes + t.store_bytes) / least,
              sectors / static_cast<double>(t.load_ideal_sectors + t.store_ideal_sectors));
  emulator::reset_traffic();
#else
  (void)kernel;
  (void)least;
#endif
}

void print(const char* what, const char* type, const Sizes& z, const char* kernel, const Result& result) {
  ++count;
  const bool good = result.worst.ratio <= 1;
  failures += !good;
  std::printf("%s %s %s %lldx%lldx%lld gap %lld: %.3f of the limit", good ? "ok" : "FAILED", what, type,
              static_cast<long long>(z.rows), static_cast<long long>(z.groups), static_cast<long long>(z.columns),
              static_cast<long long>(z.gap), result.worst.ratio);
  print_traffic(kernel, result.traffic);
  std::printf("\n");
}

template <class T>
void test_all(const char* type, bool only_small, bool only_tiny) {
  for (const Sizes& z : kSizes) {
    if (only_small && z.rows * z.groups > kSmallRows) continue;
    if (only_tiny && !(z.columns == 17 || z.columns == 1024)) continue;
    if (!only_tiny) print("forward", type, z, "rms_norm_forward", test_forward<T>(z, false, Sharing::none));
    print("forward, residual", type, z, "rms_norm_forward", test_forward<T>(z, true, Sharing::none));
    if (!only_tiny)
      print("backward", type, z, "rms_norm_backward", test_backward<T>(z, false, BackwardSharing::none));
    print("backward, gradSum", type, z, "rms_norm_backward", test_backward<T>(z, true, BackwardSharing::none));
  }
  if (only_tiny) return;
  for (const Sizes& z : {Sizes{7, 1, 123, 5}, Sizes{3, 1, 4352, 0}, Sizes{4, 2, 64, 0}, Sizes{2, 1, 1031, 0}}) {
    print("forward, sum is x", type, z, "rms_norm_forward", test_forward<T>(z, true, Sharing::sum_is_x));
    print("forward, out is x", type, z, "rms_norm_forward", test_forward<T>(z, true, Sharing::out_is_x));
    print("forward, out is x", type, z, "rms_norm_forward", test_forward<T>(z, false, Sharing::out_is_x));
    print("backward, gradX is gradOut", type, z, "rms_norm_backward",
          test_backward<T>(z, true, BackwardSharing::grad_x_is_grad_out));
    print("backward, gradX is gradSum", type, z, "rms_norm_backward",
          test_backward<T>(z, true, BackwardSharing::grad_x_is_grad_sum));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool only_small = argc > 1 && std::strcmp(argv[1], "small") == 0;
  const bool only_tiny = argc > 1 && std::strcmp(argv[1], "tiny") == 0;
  try {
    if (argc > 1 && std::strcmp(argv[1], "large") == 0) {
      print("forward", "float32", kLarge, "rms_norm_forward", test_forward<float>(kLarge, true, Sharing::none));
      print("backward", "bfloat16", kLarge, "rms_norm_backward", test_backward<bf16>(kLarge, true, BackwardSharing::none));
      std::printf("%d cases, %d failed\n", count, failures);
      return failures;
    }
    test_all<float>("float32", only_small, only_tiny);
    if (!only_tiny) test_all<bf16>("bfloat16", only_small, only_tiny);
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    return 4;
  }
  std::printf("%d cases, %d failed, hash %016llx\n", count, failures, static_cast<unsigned long long>(hash));
  return failures == 0 && count > 0 ? 0 : 1;
}
