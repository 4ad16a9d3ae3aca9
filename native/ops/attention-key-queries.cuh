// attention-key-queries: which queries see a tile of keys, `rows` at a time: those of the sequence that owns the keys, then
// those of the sequences that share them as their prefix, in ascending order. Private to attention's backward kernels.
#pragma once

#include "attention-plan.cuh"

namespace luffy {
namespace cuda {

// `rows` own rows of a sequence from `begin` on. Of the tile's keys they see [low, high), key r from query r - shift of
// these on.
template <int rows>
struct KeyTileQueries {
  int32_t sequence;
  PlannedSequence s;
  int64_t begin;
  int low, high, shift;

  DEV int count() const { return static_cast<int>(min(s.length - begin, int64_t{rows})); }
};

// The first queries of `sequence` that see the tile of `count` keys at own row `key` of `owner`, or of the first of those
// after it that has any; false: there is none.
template <int rows>
DEV bool find_queries(const AttentionPlan& plan, int32_t owner, const PlannedSequence& keys, int64_t key, int count,
                      int32_t sequence, KeyTileQueries<rows>& q) {
  for (; sequence != kNoSharer; sequence = plan.next_sharer[sequence]) {
    q.sequence = sequence;
    q.s = plan.sequences[sequence];
    if (sequence == owner) {
      q.begin = key;
      q.low = 0;
      q.high = count;
      q.shift = 0;
      return true;
    }
    const int64_t from = q.s.prefix_start - (keys.start + key);
    q.begin = 0;
    q.low = static_cast<int>(min(max(from, int64_t{0}), int64_t{count}));
    q.high = static_cast<int>(min(max(from + q.s.prefix_length, int64_t{0}), int64_t{count}));
    q.shift = kAttentionBlock;
    if (q.low < q.high && q.s.length > 0) return true;
  }
  return false;
}
template <int rows>
DEV bool next_queries(const AttentionPlan& plan, int32_t owner, const PlannedSequence& keys, int64_t key, int count,
                      KeyTileQueries<rows>& q) {
  q.begin += rows;
  q.shift = min(q.shift + rows, kAttentionBlock);
  if (q.begin < q.s.length) return true;
  const int32_t next = q.sequence == owner ? plan.first_sharer[owner] : plan.next_sharer[q.sequence];
  return find_queries(plan, owner, keys, key, count, next, q);
}

}  // namespace cuda
}  // namespace luffy
