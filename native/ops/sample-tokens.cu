// sample-tokens on CUDA: a block of threads for each row, a warp for short ones. See sample-tokens.h; the statistics, and
// so the log-probabilities, are those of row-softmax.cuh.
//
// Bound by memory: the statistics read a row once, each filter by count or by weight three times more, the draw once.
//
// Weights are exp((x - largest) / temperature) as whole numbers, in units of 2^-bits. Their sums are exact, whoever adds
// them and in whatever order, so that histograms may use (integer) atomics and a token is found by narrowing the row.
#include <type_traits>

#include "../core/random.h"
#include "row-softmax.cuh"
#include "sample-checks.h"

namespace luffy {
namespace cuda {

using Amount = unsigned long long;

constexpr int kSampleBins = 2048;
// Columns that one warp searches for a token 32 at a time.
constexpr int64_t kFewColumns = 128;
constexpr Amount kAllTies = ~Amount{0};

struct SampleArguments {
  const float* logits;
  int64_t stride, counters_stride;
  const int32_t* counters;
  int32_t *tokens, *bad;
  float *log_probs, *drawn_log_probs, *entropy;  // entropy may be null
  int64_t rows, columns;
  uint64_t seed;
  double temperature, top_p, min_p;
  float factor, unit;  // 2^bits
  int64_t top_k;
  bool greedy;
};

// The last of a prefix of the tokens ordered by logit, largest first, lower index first among equals: every key above
// `key`, and the first `ties` of those equal to it.
struct KeptPrefix {
  uint32_t key;
  Amount ties;
};

struct SampleScratch {
  Amount bins[kSampleBins];
  Amount sums[kRowBlock / 32];
  Amount above, target;
  uint32_t digit;
  int64_t index;
};

// Grows with the logit; both zeros have the same.
DEV uint32_t key_of(float x) {
  const uint32_t bits = __float_as_uint(__fadd_rn(x, 0.0f));
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
DEV float logit_of(uint32_t key) { return __uint_as_float((key & 0x80000000u) != 0 ? key & 0x7fffffffu : ~key); }

struct SampleRow {
  const float* x;
  int64_t columns;
  float largest, factor, unit;
  DEV Amount weight(float logit) const {
    return static_cast<Amount>(exp2f(row_exponent(logit, largest, factor)) * unit);
  }
};

// visit(logit) for all logits of the row by the whole block, in no order that matters.
template <int threads, bool wide, class Visit>
DEV void visit_logits(const SampleRow& row, Visit&& visit) {
  for (int64_t i = 4 * int64_t{threadIdx.x}; i < row.columns; i += 4 * threads) {
    const int64_t left = row.columns - i;
    const Pack<float> four = load_four<wide>(row.x + i, left, 0.0f);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j < left) visit(four.at[j]);
    }
  }
}

DEV Amount warp_sum_of(Amount value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kFullWarp, value, lanes);
  return value;
}
// Of the lanes up to this one.
DEV Amount warp_scan_of(Amount value) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const Amount before = __shfl_up_sync(kFullWarp, value, static_cast<unsigned>(lanes));
    if (lane >= lanes) value += before;
  }
  return value;
}

// By the first warp: the largest bin at which the sum from the last bin downwards, begun with scratch.above, reaches
// the target; above becomes the sum before that bin. share > 0: the target is that share of all bins.
DEV void find_bin(SampleScratch& scratch, double share) {
  constexpr int kEach = kSampleBins / 32;
  const int lane = static_cast<int>(threadIdx.x);
  const int first = kSampleBins - 1 - lane * kEach;
  Amount sum = 0;
  for (int i = 0; i < kEach; ++i) sum += scratch.bins[first - i];
  const Amount scan = warp_scan_of(sum);
  if (share > 0) {
    const Amount total = __shfl_sync(kFullWarp, scan, 31);
    if (lane == 0)
      scratch.target = max(Amount{1}, min(total, static_cast<Amount>(ceil(share * static_cast<double>(total)))));
    __syncwarp();
  }
  const Amount target = scratch.target;
  Amount above = scratch.above + (scan - sum);
  const bool mine = above < target && above + sum >= target;
  __syncwarp();
  if (!mine) return;
  int bin = first;
  while (above + scratch.bins[bin] < target) above += scratch.bins[bin--];
  scratch.above = above;
  scratch.digit = static_cast<uint32_t>(bin);
}

// The shortest prefix whose amount reaches the target, where a token amounts to 1 and the target is `count`, or
// (weighted) to its weight and the target is the share `share` of all. Only tokens of `within` count.
template <int threads, bool wide, bool weighted>
DEV KeptPrefix select_prefix(const SampleRow& row, Amount count, double share, KeptPrefix within,
                             SampleScratch& scratch) {
  uint32_t known = 0;  // the key's upper digits
#pragma unroll 1
  for (int pass = 0; pass < 3; ++pass) {
    const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
    const int width = pass == 2 ? 10 : 11;
    for (int i = static_cast<int>(threadIdx.x); i < kSampleBins; i += threads) scratch.bins[i] = 0;
    if (pass == 0 && threadIdx.x == 0) {
      scratch.above = 0;
      scratch.target = count;
    }
    __syncthreads();
    const auto bin_of = [&](uint32_t key) -> Amount* {
      if (pass > 0 && key >> (shift + width) != known) return nullptr;
      return scratch.bins + (key >> shift & ((1u << width) - 1));
    };
    visit_logits<threads, wide>(row, [&](float logit) {
      const uint32_t key = key_of(logit);
      if (weighted && key <= within.key) return;
      Amount* bin = bin_of(key);
      const Amount amount = weighted && bin != nullptr ? row.weight(logit) : 1;
      if (bin != nullptr && amount > 0) atomicAdd(bin, amount);
    });
    if (weighted && threadIdx.x == 0 && within.key > 0) {
      Amount* bin = bin_of(within.key);
      if (bin != nullptr) atomicAdd(bin, within.ties * row.weight(logit_of(within.key)));
    }
    __syncthreads();
    if (threadIdx.x < 32) find_bin(scratch, weighted && pass == 0 ? share : 0.0);
    __syncthreads();
    known = known << width | scratch.digit;
  }
  const Amount rest = scratch.target - scratch.above;
  const Amount each = weighted ? row.weight(logit_of(known)) : 1;
  __syncthreads();
  return {known, (rest + each - 1) / each};
}

DEV KeptPrefix shorter(KeptPrefix a, KeptPrefix b) {
  if (a.key != b.key) return a.key > b.key ? a : b;
  return a.ties < b.ties ? a : b;
}

struct Found {
  int64_t index;
  Amount total;  // of the amounts of all columns
};

// The first index at which the running sum of amount(i), in order of index, exceeds target_of(total), which is less than
// the total.
template <int threads, class AmountOf, class TargetOf>
DEV Found find_index(int64_t columns, AmountOf&& amount, TargetOf&& target_of, SampleScratch& scratch) {
  constexpr int warps = threads / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  Found found = {0, 0};
  Amount target = 0;
  int64_t begin = 0;
  int64_t end = columns;
  bool first = true;
  if (threadIdx.x == 0) scratch.index = 0;
  while (first || (warps > 1 && end - begin > kFewColumns)) {
    const int64_t each = (end - begin + warps - 1) / warps;
    Amount sum = 0;
    for (int64_t i = begin + warp * each + lane; i < min(end, begin + (warp + 1) * each); i += 32) sum += amount(i);
    sum = warp_sum_of(sum);
    if (lane == 0) scratch.sums[warp] = sum;
    __syncthreads();
    if (first) {
      for (int w = 0; w < warps; ++w) found.total += scratch.sums[w];
      target = target_of(found.total);
      first = false;
    }
    int w = 0;
    while (w < warps - 1 && scratch.sums[w] <= target) target -= scratch.sums[w++];
    begin += w * each;
    end = min(end, begin + each);
    __syncthreads();
  }
  if (warp == 0) {
    for (int64_t at = begin; at < end; at += 32) {
      const Amount mine = at + lane < end ? amount(at + lane) : 0;
      const Amount scan = warp_scan_of(mine);
      if (scan > target && scan - mine <= target) scratch.index = at + lane;
      const Amount all = __shfl_sync(kFullWarp, scan, 31);
      if (all > target) break;
      target -= all;
    }
  }
  __syncthreads();
  found.index = scratch.index;
  __syncthreads();
  return found;
}

template <int threads, bool wide>
DEV KeptPrefix kept_prefix(const SampleArguments& a, const SampleRow& row, SampleScratch& scratch) {
  KeptPrefix kept = {0, kAllTies};
  if (a.top_k > 0) {
    kept = select_prefix<threads, wide, false>(row, static_cast<Amount>(a.top_k), 0.0, kept, scratch);
  }
  if (a.top_p < 1) {
    kept = shorter(kept, select_prefix<threads, wide, true>(row, 0, a.top_p, kept, scratch));
  }
  if (a.min_p > 0) {
    const double bound = row.largest + a.temperature * log(a.min_p);
    const auto rounded = static_cast<float>(bound);
    kept = shorter(kept, {key_of(rounded) + (static_cast<double>(rounded) < bound ? 1u : 0u), kAllTies});
  }
  return kept;
}

// Token and log-probability within what the filters kept.
struct DrawnToken {
  int64_t token;
  double log_prob;
};

template <int threads, bool wide>
DEV DrawnToken draw_token(const SampleArguments& a, const SampleRow& row, const RowStatistics& statistics, int64_t r,
                          SampleScratch& scratch) {
  const auto none = [](Amount) { return Amount{0}; };
  if (a.greedy) {
    const auto is_largest = [&](int64_t i) { return Amount{ld(row.x + i) == row.largest ? 1u : 0u}; };
    return {find_index<threads>(row.columns, is_largest, none, scratch).index, 0.0};
  }
  const KeptPrefix kept = kept_prefix<threads, wide>(a, row, scratch);
  int64_t last_tie = row.columns;
  if (kept.ties != kAllTies) {
    const auto is_tie = [&](int64_t i) { return Amount{key_of(ld(row.x + i)) == kept.key ? 1u : 0u}; };
    last_tie = find_index<threads>(
                   row.columns, is_tie, [&](Amount total) { return min(kept.ties, total) - 1; }, scratch)
                   .index;
  }
  const int32_t* counter = a.counters + r * a.counters_stride;
  const Philox random = philox(a.seed, static_cast<uint32_t>(ld(counter)), static_cast<uint32_t>(ld(counter + 1)),
                               static_cast<uint32_t>(ld(counter + 2)), 0);
  const double number = uniform(random.word[0], random.word[1]);
  const auto weight = [&](int64_t i) {
    const float logit = ld(row.x + i);
    const uint32_t key = key_of(logit);
    return key > kept.key || (key == kept.key && i <= last_tie) ? row.weight(logit) : Amount{0};
  };
  const auto target = [&](Amount total) {
    return min(static_cast<Amount>(number * static_cast<double>(total)), total - 1);
  };
  const Found found = find_index<threads>(row.columns, weight, target, scratch);
  const float logit = ld(row.x + found.index);
  if (kept.key == 0) return {found.index, row_log_prob(statistics, logit, a.temperature)};
  const double sum = static_cast<double>(found.total) / a.unit;
  return {found.index, fmin(0.0, (static_cast<double>(logit) - row.largest) / a.temperature - log(sum))};
}

template <int threads, bool wide>
KERNEL(threads)
sample_tokens_kernel(SampleArguments a) {
  SHARED(RowScratch<threads>, statistics_scratch, 1);
  SHARED(SampleScratch, scratch, 1);
  for (int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const float* x = a.logits + r * a.stride;
    const RowStatistics statistics =
        row_statistics<threads, wide>(x, a.columns, a.temperature, a.factor, statistics_scratch);
    __syncthreads();
    const bool good = statistics.sum > 0;
    DrawnToken drawn = {0, 0.0};
    if (good) {
      const SampleRow row = {x, a.columns, statistics.largest, a.factor, a.unit};
      drawn = draw_token<threads, wide>(a, row, statistics, r, scratch[0]);
    }
    if (threadIdx.x == 0) {
      const float nan = __uint_as_float(0x7fc00000u);
      // The token of a bad row is one that the next step can read.
      st(a.tokens + r, static_cast<int32_t>(drawn.token));
      st(a.bad + r, good ? 0 : 1);
      st(a.log_probs + r,
         good ? static_cast<float>(row_log_prob(statistics, ld(x + drawn.token), a.temperature)) : nan);
      st(a.drawn_log_probs + r, good ? static_cast<float>(drawn.log_prob) : nan);
      if (a.entropy != nullptr) st(a.entropy + r, static_cast<float>(row_entropy(statistics)));
    }
  }
}

void sample_tokens(Context& context, Tensor logits, Tensor counters, SamplingOptions options, Tensor tokens,
                   Tensor log_probs, Tensor drawn_log_probs, Tensor entropy, Tensor bad) {
  const int64_t rows = check_sampling(logits, counters, options, tokens, log_probs, drawn_log_probs, entropy, bad);
  if (rows == 0) return;
  SampleArguments a;
  a.logits = logits.f32();
  a.stride = logits.row_stride;
  a.counters = counters.i32();
  a.counters_stride = counters.row_stride;
  a.tokens = tokens.i32();
  a.bad = bad.i32();
  a.log_probs = log_probs.f32();
  a.drawn_log_probs = drawn_log_probs.f32();
  a.entropy = entropy ? entropy.f32() : nullptr;
  a.rows = rows;
  a.columns = logits.shape[1];
  a.seed = static_cast<uint64_t>(options.seed);
  a.greedy = options.temperature == 0;
  const RowTemperature temperature = row_temperature(a.greedy ? 1.0 : options.temperature);
  a.temperature = temperature.exact;
  a.factor = temperature.factor;
  a.top_k = options.top_k >= a.columns ? 0 : options.top_k;
  a.top_p = options.top_p;
  a.min_p = options.min_p;
  // So many bits that the sum of all weights, each at most 1, stays below 2^63.
  int bits = 44;
  while (bits > 31 && a.columns >> (62 - bits) > 0) --bits;
  a.unit = static_cast<float>(int64_t{1} << bits);
  const auto run = [&](auto threads, auto wide) {
    const Launch how(dim3(blocks_for(rows, 1)), dim3(threads.value), 0, stream_of(context));
    launch<sample_tokens_kernel<decltype(threads)::value, decltype(wide)::value>>(how, a);
  };
  const auto with_threads = [&](auto wide) {
    if (a.columns <= kShortRow) return run(std::integral_constant<int, 32>(), wide);
    run(std::integral_constant<int, kRowBlock>(), wide);
  };
  if (rows_aligned(logits)) return with_threads(std::true_type());
  with_threads(std::false_type());
}

}  // namespace cuda
}  // namespace luffy
