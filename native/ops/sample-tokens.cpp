// sample-tokens on the CPU. See sample-tokens.h; statistics are in row-softmax.h, the filters in sample-filter.h.
//
// Without a filter a draw walks the chunk sums of the statistics, then one chunk, in index order, against one uniform
// number. With filters, only the tokens that can pass them (by a bound that is sure) become candidates.
#include "sample-tokens.h"

#include "../core/random.h"
#include "policy-inputs.h"
#include "ranges.h"
#include "sample-checks.h"
#include "sample-filter.h"

namespace luffy {
namespace LUFFY_BACKEND {

namespace {

// Cost of a row beside its logits, in floats of memory traffic.
constexpr int64_t kRowCost = 256;

// Tokens whose sum is made at a time when weights are walked, or whose largest logit is known to the filters.
constexpr int kBlock = 64;

// Weights below e^-103 are 0 in float32, or a bit of it: such tokens are never drawn when a filter is on.
constexpr double kLeastWeight = -103.0;

// Rows of at least this many columns are searched for candidates block by block.
constexpr int64_t kWideRow = 1024;

struct RowScratch {
  RowChunk* chunks;
  float* block_largest;  // with filters only, as the candidates
  Candidates candidates;
};

double block_sum(const float* weights, int64_t count) {
  Vec sums = vec(0.0f);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) sums = add(sums, load(weights + i));
  if (i < count) sums = add(sums, load_first(weights + i, static_cast<int>(count - i)));
  return reduce_add(sums);
}

double sum_of(const float* weights, int64_t count) {
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    sum += block_sum(weights + begin, at_most(kBlock, count - begin));
  }
  return sum;
}

// The first index at which the running sum of weights, in index order, exceeds target: never one whose weight is 0.
// Where the sum falls short of target by rounding, the last index that has a weight.
int64_t pick(const float* weights, int64_t count, double target) {
  int64_t last = 0;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t end = at_most(begin + kBlock, count);
    const double sum = block_sum(weights + begin, end - begin);
    if (!(sum > 0)) continue;
    last = begin;
    if (sum > target) break;
    target -= sum;
  }
  const int64_t end = at_most(last + kBlock, count);
  double sum = 0;
  for (int64_t i = last; i < end; ++i) {
    sum += weights[i];
    if (weights[i] > 0) last = i;
    if (sum > target) break;
  }
  return last;
}

// exp((x - largest) / temperature) of `count` logits.
void weights_of(const float* x, int64_t count, float largest, Temperature temperature, float* weights) {
  const Vec top = vec(largest);
  const Vec factor = vec(temperature.factor);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(weights + i, exp2_of(exponent_of(load(x + i), top, factor)));
  const int rest = static_cast<int>(count - i);
  if (rest > 0) store_first(weights + i, exp2_of(exponent_of(load_first(x + i, rest), top, factor)), rest);
}

int64_t draw_unfiltered(const float* x, int64_t columns, const RowSoftmax& row, const RowChunk* chunks,
                        Temperature temperature, double uniform_number) {
  const double target = uniform_number * row.sum;
  double sum = 0;
  int64_t chosen = 0;
  double within = 0;  // what is left of target, in units of the chunk's weights
  for (int64_t c = 0; c < row_chunks(columns); ++c) {
    const double shift = chunk_shift(chunks[c], row.largest, temperature);
    const double scale = shift == 0 ? 1.0 : __builtin_exp(shift);
    const double amount = scale * chunks[c].sum;
    if (!(amount > 0)) continue;
    chosen = c;
    within = (target - sum) / scale;
    sum += amount;
    if (sum > target) break;
  }
  float weights[kRowChunk];
  const int64_t begin = chosen * kRowChunk;
  const int64_t count = at_most(kRowChunk, columns - begin);
  weights_of(x + begin, count, chunks[chosen].largest, temperature, weights);
  return begin + pick(weights, count, within);
}

void find_block_largest(const float* x, int64_t columns, float* largest) {
  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    Vec a = vec(kLowestFloat);
    const int n = static_cast<int>(at_most(kBlock, columns - begin));
    int i = 0;
    for (; i + kLanes <= n; i += kLanes) a = max(a, load(x + begin + i));
    if (i < n) a = max(a, load_first(x + begin + i, n - i, kLowestFloat));
    largest[begin / kBlock] = reduce_max(a);
  }
}

// A logit below which no token can pass the filters (in float64, so that rounding keeps no token out).
double sure_bound(const SamplingOptions& options, int64_t columns, const RowSoftmax& row, Temperature temperature,
                  double min_p_bound, RowScratch* scratch) {
  double least = kLeastWeight;
  const bool top_k = options.top_k > 0;
  const bool top_p = options.top_p < 1;
  if (top_p && !top_k) {
    // Tokens below (1 - p) / columns hold less than 1 - p together: the prefix that reaches p ends above them. Less a
    // thousandth, for the rounding of sums.
    const double p = __builtin_log((1 - options.top_p) * row.sum / static_cast<double>(columns)) - 1e-3;
    if (p > least) least = p;
  }
  double bound = row.largest + temperature.exact * least;
  if (!(top_p && top_k) && min_p_bound > bound) bound = min_p_bound;
  const int64_t blocks = columns / kBlock;
  if (top_k && columns >= kWideRow && options.top_k <= blocks) {
    // At least k tokens are as large as the k-th largest of the blocks' largest.
    const Candidates& room = scratch->candidates;
    const Prefix prefix =
        select_prefix<false>(scratch->block_largest, nullptr, blocks, static_cast<double>(options.top_k),
                             room.spare_logits, room.spare_weights);
    if (prefix.last > bound) bound = prefix.last;
  }
  return bound;
}

void take_candidates(const float* x, int64_t columns, double bound, RowScratch* scratch) {
  Candidates& out = scratch->candidates;
  int64_t count = 0;
  for (int64_t begin = 0; begin < columns; begin += kBlock) {
    if (columns >= kWideRow && scratch->block_largest[begin / kBlock] < bound) continue;
    const int64_t end = at_most(begin + kBlock, columns);
    for (int64_t i = begin; i < end; ++i) {
      out.logits[count] = x[i];
      out.tokens[count] = static_cast<int32_t>(i);
      count += x[i] >= bound;
    }
  }
  out.count = count;
}

struct Draw {
  int64_t token;
  double log_prob;  // within what the filters kept
};

Draw draw_filtered(const float* x, int64_t columns, const RowSoftmax& row, Temperature temperature,
                   const SamplingOptions& options, double uniform_number, RowScratch* scratch) {
  const double min_p_bound =
      options.min_p > 0 ? row.largest + temperature.exact * __builtin_log(options.min_p) : -__builtin_inf();
  if (columns >= kWideRow) find_block_largest(x, columns, scratch->block_largest);
  take_candidates(x, columns, sure_bound(options, columns, row, temperature, min_p_bound, scratch), scratch);
  Candidates& kept = scratch->candidates;
  weights_of(kept.logits, kept.count, row.largest, temperature, kept.weights);

  if (options.top_k > 0 && options.top_k < kept.count) {
    keep_prefix(&kept, select_prefix<false>(kept.logits, nullptr, kept.count, static_cast<double>(options.top_k),
                                            kept.spare_logits, kept.spare_weights));
  }
  if (options.top_p < 1) {
    const double total = options.top_k > 0 ? sum_of(kept.weights, kept.count) : row.sum;
    keep_prefix(&kept, select_prefix<true>(kept.logits, kept.weights, kept.count, options.top_p * total,
                                           kept.spare_logits, kept.spare_weights));
  }
  if (options.min_p > 0 && options.top_k > 0 && options.top_p < 1) {  // else the bound has seen to it
    float least = row.largest;
    for (int64_t i = 0; i < kept.count; ++i) {
      if (kept.logits[i] >= min_p_bound && kept.logits[i] < least) least = kept.logits[i];
    }
    keep_prefix(&kept, {least, kept.count});
  }

  const double sum = sum_of(kept.weights, kept.count);
  const int64_t chosen = pick(kept.weights, kept.count, uniform_number * sum);
  const double log_prob =
      (static_cast<double>(kept.logits[chosen]) - row.largest) / temperature.exact - __builtin_log(sum);
  return {kept.tokens[chosen], log_prob < 0 ? log_prob : 0.0};
}

// The lowest index of the largest logit.
int64_t first_largest(const float* x, int64_t columns, const RowSoftmax& row, const RowChunk* chunks) {
  int64_t c = 0;
  while (c < row_chunks(columns) - 1 && chunks[c].largest != row.largest) ++c;
  int64_t i = c * kRowChunk;
  while (i < columns - 1 && x[i] != row.largest) ++i;
  return i;
}

}  // namespace

void sample_tokens(Context& context, Tensor logits, Tensor counters, SamplingOptions options, Tensor tokens,
                   Tensor log_probs, Tensor drawn_log_probs, Tensor entropy, Tensor bad) {
  const int64_t rows = check_sampling(logits, counters, options, tokens, log_probs, drawn_log_probs, entropy, bad);
  const int64_t columns = logits.shape[1];

  const bool greedy = options.temperature == 0;
  const Temperature temperature = temperature_of(greedy ? 1.0 : options.temperature);
  if (options.top_k >= columns) options.top_k = 0;
  const bool filtered = options.top_k > 0 || options.top_p < 1 || options.min_p > 0;
  const uint64_t seed = static_cast<uint64_t>(options.seed);

  // One row at a time per thread. Each array begins on its own cache line.
  const auto rounded = [](int64_t count) { return (count + 15) / 16 * 16; };
  const int64_t chunks = row_chunks(columns);
  const int64_t blocks = rounded((columns + kBlock - 1) / kBlock);
  const int64_t room = rounded(columns);
  RowChunk* all_chunks = context.scratch<RowChunk>(context.threads() * chunks);
  float* all_floats = filtered && !greedy ? context.scratch<float>(context.threads() * (blocks + 5 * room)) : nullptr;

  const int64_t grain = task_rows(columns + kRowCost);
  parallel_for(context, (rows + grain - 1) / grain, [&](int64_t task, int thread) {
    RowScratch scratch = {};
    scratch.chunks = all_chunks + thread * chunks;
    if (all_floats != nullptr) {
      float* floats = all_floats + thread * (blocks + 5 * room);
      scratch.block_largest = floats;
      floats += blocks;
      scratch.candidates = {0,
                            floats,
                            floats + room,
                            reinterpret_cast<int32_t*>(floats + 2 * room),
                            floats + 3 * room,
                            floats + 4 * room};
    }
    const int64_t end = at_most((task + 1) * grain, rows);
    for (int64_t b = task * grain; b < end; ++b) {
      const float* x = logits.row(b);
      const RowSoftmax row = row_softmax<false>(x, columns, temperature, scratch.chunks, nullptr);
      if (entropy) entropy.f32()[b] = static_cast<float>(row.entropy);
      bad.i32()[b] = row.sum > 0 ? 0 : 1;
      if (!(row.sum > 0)) {
        tokens.i32()[b] = 0;  // a token that a round enqueued ahead can read
        log_probs.f32()[b] = drawn_log_probs.f32()[b] = __builtin_nanf("");
        continue;
      }
      const int32_t* counter = counters.i32() + b * counters.row_stride;
      const Philox random = philox(seed, static_cast<uint32_t>(counter[0]), static_cast<uint32_t>(counter[1]),
                                   static_cast<uint32_t>(counter[2]), 0);
      const double number = uniform(random.word[0], random.word[1]);
      Draw draw = {0, 0.0};
      if (greedy) {
        draw.token = first_largest(x, columns, row, scratch.chunks);
      } else if (filtered) {
        draw = draw_filtered(x, columns, row, temperature, options, number, &scratch);
      } else {
        draw.token = draw_unfiltered(x, columns, row, scratch.chunks, temperature, number);
        draw.log_prob = log_prob_of(row, x[draw.token], temperature);
      }
      tokens.i32()[b] = static_cast<int32_t>(draw.token);
      log_probs.f32()[b] = static_cast<float>(log_prob_of(row, x[draw.token], temperature));
      drawn_log_probs.f32()[b] = static_cast<float>(draw.log_prob);
    }
  });
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
