// attention's bfloat16 kernels on whatever runs CUDA, the emulator or a card: the forward pass against sums in double, and
// attention-decode of the last tokens bit for bit as the forward pass. One line a case and a hash of the outputs' bits.
// `tiny` is for ThreadSanitizer.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../../native/ops/attention-bf16.cuh"
#include "../../native/ops/attention-decode-bf16.cuh"
#include "cases.cuh"

using namespace cases;

namespace {

// A prompt, an answer that shares it, and `alone` tokens of another sequence.
struct Sizes {
  int heads, per_group, dim, prompt, answer, alone;
  int64_t gap, offset;
  bool tiny;
};
// Each width of tiles and both ways of loading; one segment of keys and more; more query heads than a tile has rows.
const Sizes kSizes[] = {
    {2, 2, 64, 70, 9, 3, 0, 0, true},   {1, 1, 128, 33, 40, 1, 8, 0, true},  {2, 1, 8, 5, 3, 64, 3, 1, true},
    {1, 1, 256, 65, 2, 0, 0, 0, true},  {17, 17, 20, 17, 3, 0, 0, 0, false}, {4, 2, 80, 250, 11, 2, 0, 0, false},
    {2, 2, 198, 3, 66, 0, 2, 0, false}, {3, 3, 64, 63, 200, 5, 0, 0, false},
};

// From -2 to 2, by place.
bf16 number(int64_t i, int64_t j, int seed) {
  const auto mixed = static_cast<uint32_t>(i * 7919 + j * 104729 + seed * 31) * 2654435761u;
  return __float2bfloat16_rn(static_cast<float>(mixed >> 16) / 16384.0f - 2.0f);
}

void test(const Sizes& z) {
  using namespace luffy::cuda;
  const int64_t tokens = z.prompt + z.answer + z.alone;
  const int groups = z.heads / z.per_group;
  const int64_t q_width = int64_t{z.heads} * z.dim, k_width = int64_t{groups} * z.dim;
  const int64_t q_stride = q_width + z.gap, k_stride = k_width + z.gap;
  const double scale = 1.0 / std::sqrt(z.dim);
  Array<bf16> q(tokens * q_stride, z.offset), k(tokens * k_stride, z.offset), v(tokens * k_stride, z.offset),
      out(tokens * q_stride, z.offset);
  Array<float> lse(tokens * z.heads);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < q_width; ++i) q.at(t * q_stride + i) = number(t, i, 1);
    for (int64_t i = 0; i < k_width; ++i) {
      k.at(t * k_stride + i) = number(t, i, 2);
      v.at(t * k_stride + i) = number(t, i, 3);
    }
  }
  const int32_t table[3][4] = {{0, z.prompt, 0, 0},
                               {z.prompt, z.answer, 0, z.prompt},
                               {z.prompt + z.answer, z.alone, 0, 0}};
  Array<int32_t> sequences(12), owner(tokens), root(3), first(3), last(3), next(3);
  Array<int64_t> query_tiles(4), key_tiles(4);
  Array<PlannedSequence> planned(3);
  Array<luffy::FaultRecord> faults(1);
  std::memcpy(&sequences.at(0), table, sizeof table);
  faults.at(0) = {};
  faults.at(0).key = ~0ull;
  const luffy::FaultSink sink{faults.written(), 1, 0, luffy::FaultOp::attention};

  HalfAttention a = {};
  a.plan = {tokens,        3,           sequences.written(), planned.data(),     owner.data(),
            root.data(),   first.data(), last.data(),         next.data(),        query_tiles.data(),
            key_tiles.data()};
  launch<attention_plan_kernel<kPlanThreads>>(Launch(dim3(1), dim3(kPlanThreads)), a.plan, sink);
  const bool aligned = z.dim % 8 == 0 && z.gap % 8 == 0 && z.offset % 8 == 0;
  a.q = {q.written(), q_stride, aligned};
  a.k = {k.written(), k_stride, aligned};
  a.v = {v.written(), k_stride, aligned};
  a.out = {out.written(), q_stride, aligned};
  a.lse = lse.written();
  a.heads = z.heads;
  a.per_group = z.per_group;
  a.dim = z.dim;
  launch_attention_forward_bf16(a, scale, 3, nullptr);

  // The cache holds prompt and answer in blocks in falling order; the answer's last tokens are decoded.
  const int64_t keys = z.prompt + z.answer;
  const int64_t blocks = (keys + 63) / 64;
  const int64_t rows = z.answer < 3 ? z.answer : 3;
  Array<bf16> key_cache(blocks * 64 * k_width), value_cache(blocks * 64 * k_width), decoded(rows * q_stride, z.offset);
  for (int64_t p = 0; p < keys; ++p) {
    for (int64_t i = 0; i < k_width; ++i) {
      const int64_t to = (((blocks - 1 - p / 64) * groups + i / z.dim) * 64 + p % 64) * z.dim + i % z.dim;
      key_cache.at(to) = k.at(p * k_stride + i);
      value_cache.at(to) = v.at(p * k_stride + i);
    }
  }
  Array<int32_t> block_table(rows * blocks), lengths(rows);
  for (int64_t r = 0; r < rows; ++r) {
    lengths.at(r) = static_cast<int32_t>(keys - rows + r + 1);
    for (int64_t b = 0; b < blocks; ++b) block_table.at(r * blocks + b) = static_cast<int32_t>(blocks - 1 - b);
  }
  HalfDecode d = {};
  d.segments = decode_segments(blocks);
  Array<float> sums(rows * z.heads * d.segments * z.dim);
  Array<float2> states(rows * z.heads * d.segments);
  d.cache = {key_cache.written(), value_cache.written(), blocks, groups, z.dim, z.dim % 8 == 0};
  d.q = q.data() + (keys - rows) * q_stride;
  d.q_stride = q_stride;
  d.q_aligned = aligned;
  d.block_table = block_table.written();
  d.lengths = lengths.written();
  d.out = decoded.written();
  d.out_stride = q_stride;
  d.sums = sums.data();
  d.states = states.data();
  d.batch = rows;
  d.most = blocks;
  d.per_group = z.per_group;
  d.scale = scale_of_powers(scale);
  d.faults = sink;
  launch_attention_decode_bf16(d, nullptr);
  check(cudaDeviceSynchronize());
  out.read(), lse.read(), decoded.read(), faults.read();

  int wrong = faults.at(0).sequence != 0 ? 1 : 0;
  double worst = 0;
  for (const auto& s : table) {
    for (int64_t i = 0; i < s[1]; ++i) {
      const int64_t row = s[0] + i;
      for (int head = 0; head < z.heads; ++head) {
        const int64_t column = int64_t{head / z.per_group} * z.dim;
        const auto key_row = [&](int64_t p) { return p < s[3] ? s[2] + p : s[0] + p - s[3]; };
        std::vector<double> weights(static_cast<size_t>(s[3] + i + 1));
        double largest = -1e300, total = 0;
        for (size_t p = 0; p < weights.size(); ++p) {
          double dot = 0;
          for (int e = 0; e < z.dim; ++e)
            dot += double{__bfloat162float(q.at(row * q_stride + head * z.dim + e))} *
                   __bfloat162float(k.at(key_row(static_cast<int64_t>(p)) * k_stride + column + e));
          weights[p] = dot * scale;
          largest = std::fmax(largest, weights[p]);
        }
        for (double& weight : weights) total += weight = std::exp(weight - largest);
        if (!(std::fabs(lse.at(row * z.heads + head) - largest - std::log(total)) < 4e-6)) ++wrong;
        for (int e = 0; e < z.dim; ++e) {
          double sum = 0;
          for (size_t p = 0; p < weights.size(); ++p)
            sum += weights[p] / total *
                   __bfloat162float(v.at(key_row(static_cast<int64_t>(p)) * k_stride + column + e));
          const double error = std::fabs(__bfloat162float(out.at(row * q_stride + head * z.dim + e)) - sum);
          // Two roundings to bfloat16, of results and of weights, of numbers up to 2.
          if (!(error < 0.012)) ++wrong;
          worst = std::fmax(worst, error);
        }
      }
    }
  }
  int other = 0;
  for (int64_t r = 0; r < rows; ++r)
    other += std::memcmp(&decoded.at(r * q_stride), &out.at((keys - rows + r) * q_stride),
                         static_cast<size_t>(q_width) * sizeof(bf16)) != 0;
  // Between the rows nothing is written.
  for (int64_t r = 0; r < tokens; ++r)
    for (int64_t i = q_width; i < q_stride; ++i) wrong += !std::isnan(__bfloat162float(out.at(r * q_stride + i)));
  add_to_hash(out.host.data(), out.host.size() * sizeof(bf16));
  ++count;
  if (wrong + other > 0) ++failures;
  std::printf("%s %d/%d heads of %d, %d + %d and %d tokens, gap %d offset %d: %d wrong, %d not as decoded, off by %.4f",
              wrong + other > 0 ? "FAILED" : "ok", z.heads, groups, z.dim, z.prompt, z.answer, z.alone,
              static_cast<int>(z.gap), static_cast<int>(z.offset), wrong, other, worst);
  print_matrices({"attention_forward_bf16_kernel", "attention_decode_bf16_kernel"});
}

}  // namespace

int main(int argc, char** argv) {
  return run(argc, argv, [](bool tiny) {
    for (const Sizes& z : kSizes)
      if (!tiny || z.tiny) test(z);
  });
}
