// Top-k, top-p and min-p of sample-tokens: which tokens of a row are kept, without sorting the row.
//
// Tokens are ordered by logit, largest first, the lower index first among equals; every filter keeps a prefix of that
// order. Top-k keeps the first k. Top-p keeps the shortest prefix whose probability, within what top-k kept, reaches p
// (at least one token). Min-p keeps the tokens at least minP times as probable as the first.
#pragma once

#include "row-softmax.h"

namespace luffy {
namespace LUFFY_BACKEND {

// Tokens of a row that may be kept, by ascending index.
struct Candidates {
  int64_t count;
  float* logits;
  float* weights;  // exp((x - largest) / temperature)
  int32_t* tokens;
  float* spare_logits;  // room for a selection
  float* spare_weights;
};

// The last of a prefix: every logit above `last`, and the first `ties` of those equal to it.
struct Prefix {
  float last;
  int64_t ties;
};

constexpr int64_t kFewCandidates = 32;

// Sorts a few by logit, descending and stable.
LUFFY_INLINE void sort_few(float* logits, float* weights, int64_t count) {
  for (int64_t i = 1; i < count; ++i) {
    const float logit = logits[i];
    const float weight = weights[i];
    int64_t j = i;
    for (; j > 0 && logits[j - 1] < logit; --j) {
      logits[j] = logits[j - 1];
      weights[j] = weights[j - 1];
    }
    logits[j] = logit;
    weights[j] = weight;
  }
}

LUFFY_INLINE void find_range(const float* logits, int64_t count, float* high, float* low) {
  Vec largest = vec(logits[0]);
  Vec smallest = largest;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    largest = max(largest, load(logits + i));
    smallest = min(smallest, load(logits + i));
  }
  const int rest = static_cast<int>(count - i);
  if (rest > 0) {
    const Vec last = load_first(logits + i, rest, logits[0]);
    largest = max(largest, last);
    smallest = min(smallest, last);
  }
  *high = reduce_max(largest);
  *low = -reduce_max(sub(vec(0.0f), smallest));
}

// The shortest prefix whose amount reaches `target`, where a candidate amounts to 1, or to its weight (kWeighted);
// all candidates if they never reach it. Equal logits have equal weights.
//
// Bins of equal width between the smallest and the largest logit, then the same within the bin where the target is
// reached, until few candidates or only equal ones are left. The bin of a logit never decreases as the logit does.
template <bool kWeighted>
Prefix select_prefix(const float* logits, const float* weights, int64_t count, double target, float* spare_logits,
                     float* spare_weights) {
  constexpr int kManyBins = 512;
  constexpr int kFewBins = 64;
  double amounts[kManyBins];
  double above = 0;  // amount of all candidates before those looked at
  for (;;) {
    float high, low;
    find_range(logits, count, &high, &low);
    if (high == low) {
      const double ties = __builtin_ceil((target - above) / (kWeighted ? weights[0] : 1.0));
      return {low, ties >= static_cast<double>(count) ? count : ties < 1 ? 1 : static_cast<int64_t>(ties)};
    }
    if (count <= kFewCandidates) {
      for (int64_t i = 0; i < count; ++i) {
        spare_logits[i] = logits[i];
        spare_weights[i] = kWeighted ? weights[i] : 1.0f;
      }
      sort_few(spare_logits, spare_weights, count);
      int64_t ties = 0;
      for (int64_t i = 0;; ++i) {
        ties = i > 0 && spare_logits[i] == spare_logits[i - 1] ? ties + 1 : 1;
        above += spare_weights[i];
        if (above >= target || i == count - 1) return {spare_logits[i], ties};
      }
    }
    const int bins = count < 2048 ? kFewBins : kManyBins;
    const double width = (bins - 1) / (static_cast<double>(high) - low);
    const auto bin_of = [&](float logit) { return static_cast<int>((static_cast<double>(high) - logit) * width); };
    for (int b = 0; b < bins; ++b) amounts[b] = 0;
    for (int64_t i = 0; i < count; ++i) amounts[bin_of(logits[i])] += kWeighted ? weights[i] : 1.0;
    int bin = 0;
    while (bin < bins && above + amounts[bin] < target) above += amounts[bin++];
    if (bin == bins) return {low, count};
    int64_t kept = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (bin_of(logits[i]) != bin) continue;
      spare_logits[kept] = logits[i];
      if (kWeighted) spare_weights[kept] = weights[i];
      ++kept;
    }
    logits = spare_logits;
    weights = spare_weights;
    count = kept;
  }
}

// Without a branch per candidate: which one stays cannot be foretold.
LUFFY_INLINE void keep_prefix(Candidates* candidates, Prefix prefix) {
  int64_t kept = 0;
  int64_t ties = 0;
  for (int64_t i = 0; i < candidates->count; ++i) {
    const float logit = candidates->logits[i];
    candidates->logits[kept] = logit;
    candidates->weights[kept] = candidates->weights[i];
    candidates->tokens[kept] = candidates->tokens[i];
    const int tie = logit == prefix.last;
    ties += tie;
    kept += (logit > prefix.last) | (tie & (ties <= prefix.ties));
  }
  candidates->count = kept;
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
