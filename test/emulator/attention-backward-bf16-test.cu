// attention's backward kernels in bfloat16 against float64, on whatever runs CUDA: the emulator or a card. Every size of
// head, several query heads, two sequences and one that shares a prefix; one line a case and a hash of all bits. `tiny`
// is for ThreadSanitizer.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../native/ops/attention-backward-bf16.cuh"
#include "cases.cuh"

using namespace cases;

namespace {

struct Sizes {
  int heads, groups, dim, gap;
};
const Sizes kSizes[] = {{1, 1, 8, 0},   {2, 1, 64, 0}, {3, 1, 20, 3}, {2, 1, 128, 8},
                        {1, 1, 80, 1}, {1, 1, 256, 0}};
// {start, length, prefixStart, prefixLength}: rows 0 to 4 and the last belong to nobody.
const int kSequences[][4] = {{5, 70, 0, 0}, {75, 19, 7, 66}, {94, 33, 0, 0}};
const int kTokens = 128;
const int kTinySequences[][4] = {{1, 5, 0, 0}};
const int kTinyTokens = 7;

// A matrix of bfloat16 [tokens, heads * dim] with a gap, NaN in it and where nothing is set.
struct Matrix : Array<bf16> {
  int columns, stride;
  Matrix(int tokens, int width, int gap) : Array<bf16>(int64_t{tokens} * (width + gap)), columns(width), stride(width + gap) {}
  float at(int row, int column) const { return __bfloat162float(Array::at(int64_t{row} * stride + column)); }
  void set(int row, int column, double x) {
    Array::at(int64_t{row} * stride + column) = __float2bfloat16_rn(static_cast<float>(x));
  }
  void fill(int tokens, uint32_t seed) {
    for (int i = 0; i < tokens; ++i)
      for (int j = 0; j < columns; ++j) {
        seed = seed * 1664525u + 1013904223u;
        set(i, j, static_cast<double>(seed >> 8) / (1 << 23) - 1.0);
      }
    written();
  }
  luffy::cuda::Bf16Rows rows() const { return {device, stride}; }
};

// The largest error beside the largest value.
struct Error {
  double worst = 0.0, largest = 0.0;
  int untouched = 0;
  void add(const Matrix& got, const std::vector<double>& wanted, const std::vector<bool>& owned) {
    for (size_t row = 0; row < owned.size(); ++row) {
      for (int j = 0; j < got.stride; ++j) {
        const float x = got.at(static_cast<int>(row), j);
        if (!owned[row] || j >= got.columns) {
          untouched += std::isnan(x) ? 0 : 1;
          continue;
        }
        const double y = wanted[row * static_cast<size_t>(got.columns) + static_cast<size_t>(j)];
        if (std::isnan(x) || std::fabs(x - y) > worst) worst = std::isnan(x) ? INFINITY : std::fabs(x - y);
        if (std::fabs(y) > largest) largest = std::fabs(y);
      }
    }
  }
};

void test(const Sizes& z, const int (*sequences)[4], int sequence_count, int tokens) {
  const int width = z.heads * z.dim, key_width = z.groups * z.dim;
  const double scale = 1.0 / std::sqrt(z.dim);
  Matrix q(tokens, width, z.gap), k(tokens, key_width, z.gap), v(tokens, key_width, z.gap), out(tokens, width, z.gap);
  Matrix grad_out(tokens, width, z.gap), grad_q(tokens, width, z.gap), grad_k(tokens, key_width, z.gap);
  Matrix grad_v(tokens, key_width, z.gap);
  Array<float> lse(tokens * z.heads), delta(tokens * z.heads);
  q.fill(tokens, 1), k.fill(tokens, 2), v.fill(tokens, 3), grad_out.fill(tokens, 4);
  const auto sums = [&](int columns) { return std::vector<double>(static_cast<size_t>(tokens * columns)); };
  std::vector<double> wanted_q = sums(width), wanted_k = sums(key_width), wanted_v = sums(key_width);
  std::vector<bool> owned(static_cast<size_t>(tokens));
  for (int s = 0; s < sequence_count; ++s) {
    const int* const t = sequences[s];
    for (int i = 0; i < t[1]; ++i) {
      const int row = t[0] + i;
      owned[static_cast<size_t>(row)] = true;
      for (int h = 0; h < z.heads; ++h) {
        const int column = h * z.dim, key_column = h / (z.heads / z.groups) * z.dim;
        const int seen = t[3] + i + 1;
        const auto key_row = [&](int p) { return p < t[3] ? t[2] + p : t[0] + p - t[3]; };
        std::vector<double> weight(static_cast<size_t>(seen)), change(static_cast<size_t>(seen));
        double total = 0.0;
        for (int p = 0; p < seen; ++p) {
          double score = 0.0, gradient = 0.0;
          for (int d = 0; d < z.dim; ++d) {
            score += q.at(row, column + d) * k.at(key_row(p), key_column + d);
            gradient += grad_out.at(row, column + d) * v.at(key_row(p), key_column + d);
          }
          total += weight[static_cast<size_t>(p)] = std::exp(score * scale);
          change[static_cast<size_t>(p)] = gradient;
        }
        lse.at(row * z.heads + h) = static_cast<float>(std::log(total));
        double mean = 0.0;
        for (int p = 0; p < seen; ++p) {
          weight[static_cast<size_t>(p)] /= total;
          mean += weight[static_cast<size_t>(p)] * change[static_cast<size_t>(p)];
        }
        for (int d = 0; d < z.dim; ++d) {
          double x = 0.0;
          for (int p = 0; p < seen; ++p) {
            const auto at = static_cast<size_t>(key_row(p) * key_width + key_column + d);
            const double w = weight[static_cast<size_t>(p)];
            const double g = w * (change[static_cast<size_t>(p)] - mean) * scale;
            x += w * v.at(key_row(p), key_column + d);
            wanted_q[static_cast<size_t>(row * width + column + d)] += g * k.at(key_row(p), key_column + d);
            wanted_k[at] += g * q.at(row, column + d);
            wanted_v[at] += w * grad_out.at(row, column + d);
          }
          out.set(row, column + d, x);
        }
      }
    }
  }
  out.written(), grad_q.written(), grad_k.written(), grad_v.written(), lse.written(), delta.written();

  Array<int32_t> table(4 * sequence_count), owner(tokens), root(sequence_count), first(sequence_count);
  Array<int32_t> last(sequence_count), next(sequence_count);
  std::memcpy(table.host.data(), sequences, sizeof(int32_t) * 4 * static_cast<size_t>(sequence_count));
  table.written();
  Array<luffy::cuda::PlannedSequence> planned(sequence_count);
  Array<int64_t> query_tiles(sequence_count + 1), key_tiles(sequence_count + 1);
  luffy::cuda::Bf16Backward a = {};
  a.plan = {tokens,       sequence_count, table.device, planned.device,     owner.device,    root.device,
            first.device, last.device,    next.device,  query_tiles.device, key_tiles.device};
  Array<luffy::FaultRecord> faults(1);
  launch<luffy::cuda::attention_plan_kernel<luffy::cuda::kPlanThreads>>(
      Launch(dim3(1), dim3(luffy::cuda::kPlanThreads)), a.plan,
      luffy::FaultSink{faults.device, 1, 0, luffy::FaultOp::attention});
  a.q = q.rows(), a.k = k.rows(), a.v = v.rows(), a.out = out.rows(), a.grad_out = grad_out.rows();
  a.grad_q = grad_q.rows(), a.grad_k = grad_k.rows(), a.grad_v = grad_v.rows();
  a.lse = lse.device;
  a.delta = delta.device;
  a.heads = z.heads;
  a.per_group = z.heads / z.groups;
  a.dim = z.dim;
  a.scale = static_cast<float>(scale);
  a.wide_in = a.wide_delta = a.wide_out = z.dim % 8 == 0 && z.gap % 8 == 0;
  // Fewer blocks than tiles: each takes several.
  luffy::cuda::launch_bf16_backward(a, 3, 2, nullptr);
  check(cudaDeviceSynchronize());
  grad_q.read_to_hash(), grad_k.read_to_hash(), grad_v.read_to_hash();
  Error errors[3];
  errors[0].add(grad_q, wanted_q, owned);
  errors[1].add(grad_k, wanted_k, owned);
  errors[2].add(grad_v, wanted_v, owned);
  bool right = true;
  // Rounded weights of each product and a rounded result: each off by at most 2^-8 of the largest.
  for (const Error& e : errors) right = right && e.untouched == 0 && e.worst <= e.largest * 0.012;
  ++count;
  if (!right) ++failures;
  std::printf("%s %d tokens, %d/%d heads of %d, gap %d: off by %.4f, %.4f, %.4f of the largest", right ? "ok" : "FAILED",
              tokens, z.heads, z.groups, z.dim, z.gap, errors[0].worst / errors[0].largest,
              errors[1].worst / errors[1].largest, errors[2].worst / errors[2].largest);
  print_matrices({"attention_backward_bf16_queries_kernel", "attention_backward_bf16_keys_kernel"});
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv, [](bool tiny) {
    for (const Sizes& z : kSizes) {
      test(z, kTinySequences, 1, kTinyTokens);
      if (!tiny) test(z, kSequences, 3, kTokens);
    }
  });
}
