// attention-plan: the table of sequences as attention's kernels walk it, made on the device by one block of threads: who
// owns a row, who shares a prefix, and how many tiles of queries and of keys there are. Private to attention.
#pragma once

#include "../core/cu.cuh"
#include "attention.h"

namespace luffy {
namespace cuda {

// A row of the table, own rows kept inside the tokens; `wrong`: it breaks the contract: its rows become NaN, and a fault is left.
struct PlannedSequence {
  int32_t start, length, prefix_start, prefix_length, wrong;

  // Positions count from the first token of the prefix.
  DEV int64_t positions() const { return int64_t{prefix_length} + length; }
  DEV int64_t row(int64_t position) const {
    return position < prefix_length ? prefix_start + position : start + (position - prefix_length);
  }
};

struct AttentionPlan {
  int64_t tokens, count;
  const int32_t* table;        // as it was given
  PlannedSequence* sequences;  // [S]
  int32_t* owner;              // [T]: who owns the row, -1: nobody
  int32_t* root;               // [S]: who owns the prefix; itself where there is none
  int32_t* first_sharer;       // [S]: of those whose prefix it owns; kNoSharer: none
  int32_t* last_sharer;        // [S]
  int32_t* next_sharer;        // [S]: the next of the same root
  int64_t* query_tiles;        // [S + 1]: tiles of queries before those of a sequence: 64 positions, aligned
  int64_t* key_tiles;          // [S + 1]: tiles of own rows: 64, the first begins with the first row
};

constexpr int32_t kNoSharer = 0x7fffffff;
constexpr int kPlanThreads = 256;

DEV int64_t query_tiles_of(const PlannedSequence& s) {
  if (s.length == 0) return 0;
  return (s.positions() + kAttentionBlock - 1) / kAttentionBlock - s.prefix_length / kAttentionBlock;
}
DEV int64_t key_tiles_of(const PlannedSequence& s) { return (s.length + kAttentionBlock - 1) / kAttentionBlock; }

// The sequence that tile `tile` belongs to, by counts summed up.
DEV int32_t sequence_of_tile(const int64_t* tiles, int64_t count, int64_t tile) {
  int64_t low = 0;
  int64_t high = count;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (ld(tiles + middle) <= tile) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return static_cast<int32_t>(low);
}

// The block's threads: value summed over the threads before this one, plus carry; carry grows by all of them.
DEV int64_t scan_block(int64_t value, int64_t& carry, int64_t* warp_sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  int64_t sum = value;
#pragma unroll
  for (int lanes = 1; lanes < 32; lanes *= 2) {
    const int64_t before = __shfl_up_sync(kFullWarp, sum, static_cast<unsigned>(lanes));
    if (lane >= lanes) sum += before;
  }
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();
  int64_t before = carry;
  for (int w = 0; w < kPlanThreads / 32; ++w) {
    if (w < warp) before += warp_sums[w];
    carry += warp_sums[w];
  }
  __syncthreads();
  return before + sum - value;
}

// By one thread, when something is wrong: the table is walked as on the CPU, for the same message. Owners are made anew.
DEV void leave_plan_fault(const AttentionPlan& plan, const FaultSink& faults) {
  const auto tokens = static_cast<int32_t>(plan.tokens);
  for (int32_t t = 0; t < tokens; ++t) plan.owner[t] = -1;
  for (int64_t s = 0; s < plan.count; ++s) {
    const int32_t start = plan.table[4 * s];
    const int32_t length = plan.table[4 * s + 1];
    if (start < 0 || length < 0 || int64_t{start} + length > tokens) {
      return leave_detailed_fault(faults, FaultKind::rows, s, start, length, tokens);
    }
    for (int32_t t = start; t < start + length; ++t) {
      if (plan.owner[t] >= 0) return leave_detailed_fault(faults, FaultKind::owners, s, t, plan.owner[t], 0);
      plan.owner[t] = static_cast<int32_t>(s);
    }
  }
  for (int64_t s = 0; s < plan.count; ++s) {
    const int32_t start = plan.table[4 * s + 2];
    const int32_t length = plan.table[4 * s + 3];
    if (length == 0) continue;
    const int64_t end = int64_t{start} + length;
    if (start < 0 || length < 0 || end > tokens) {
      return leave_detailed_fault(faults, FaultKind::prefix, s, start, length, tokens);
    }
    const int32_t from = plan.owner[start];
    if (from < 0 || from == s || plan.owner[end - 1] != from || plan.table[4 * int64_t{from} + 3] != 0) {
      return leave_detailed_fault(faults, FaultKind::prefix_place, s, start, length, 0);
    }
  }
}

// A template, so that several files may include it.
template <int threads>
KERNEL(threads)
attention_plan_kernel(AttentionPlan plan, FaultSink faults) {
  SHARED(int64_t, warp_sums, kPlanThreads / 32);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  for (int64_t t = thread; t < plan.tokens; t += kPlanThreads) plan.owner[t] = -1;
  for (int64_t i = thread; i < plan.count; i += kPlanThreads) {
    const int64_t start = plan.table[4 * i];
    const int64_t end = start + plan.table[4 * i + 1];
    const int64_t from = min(max(start, int64_t{0}), plan.tokens);
    const int64_t to = min(max(end, from), plan.tokens);
    PlannedSequence s;
    s.start = static_cast<int32_t>(from);
    s.length = static_cast<int32_t>(to - from);
    s.prefix_start = plan.table[4 * i + 2];
    s.prefix_length = plan.table[4 * i + 3];
    s.wrong = from != start || to != end;
    plan.sequences[i] = s;
    plan.first_sharer[i] = kNoSharer;
    plan.last_sharer[i] = -1;
    plan.next_sharer[i] = kNoSharer;
  }
  __syncthreads();
  for (int64_t i = thread / 32; i < plan.count; i += kPlanThreads / 32) {
    const PlannedSequence s = plan.sequences[i];
    for (int32_t r = lane; r < s.length; r += 32) atomicMax(plan.owner + s.start + r, static_cast<int32_t>(i));
  }
  __syncthreads();
  bool any_wrong = false;
  for (int64_t i = thread / 32; i < plan.count; i += kPlanThreads / 32) {
    PlannedSequence s = plan.sequences[i];
    const auto self = static_cast<int32_t>(i);
    bool wrong = s.wrong != 0;
    for (int32_t r = lane; r < s.length; r += 32) wrong = wrong || plan.owner[s.start + r] != self;
    wrong = __any_sync(kFullWarp, wrong ? 1 : 0) != 0;
    __syncwarp();  // every lane has read the sequence that the first one writes
    if (lane > 0) continue;
    int32_t root = self;
    if (s.prefix_length != 0 && !wrong) {
      const int64_t end = int64_t{s.prefix_start} + s.prefix_length;
      wrong = s.prefix_start < 0 || s.prefix_length < 0 || end > plan.tokens;
      if (!wrong) {
        root = plan.owner[s.prefix_start];
        wrong = root < 0 || root == self || plan.owner[end - 1] != root || plan.table[4 * int64_t{root} + 3] != 0;
      }
    }
    if (wrong) {
      any_wrong = true;
      root = self;
      s.prefix_start = 0;
      s.prefix_length = 0;
    }
    s.wrong = wrong ? 1 : 0;
    plan.sequences[i] = s;
    plan.root[i] = root;
    if (root == self) continue;
    atomicMin(plan.first_sharer + root, self);
    atomicMax(plan.last_sharer + root, self);
  }
  if (__syncthreads_or(any_wrong ? 1 : 0) != 0 && thread == 0) leave_plan_fault(plan, faults);
  int64_t query_tiles = 0;
  int64_t key_tiles = 0;
  for (int64_t begin = 0; begin < plan.count; begin += kPlanThreads) {
    const int64_t i = begin + thread;
    int64_t queries = 0;
    int64_t keys = 0;
    if (i < plan.count) {
      queries = query_tiles_of(plan.sequences[i]);
      keys = key_tiles_of(plan.sequences[i]);
      const int32_t root = plan.root[i];
      if (root != i && plan.last_sharer[root] != i) {
        int64_t next = i + 1;
        while (plan.root[next] != root || next == root) ++next;
        plan.next_sharer[i] = static_cast<int32_t>(next);
      }
    }
    queries = scan_block(queries, query_tiles, warp_sums);
    keys = scan_block(keys, key_tiles, warp_sums);
    if (i < plan.count) {
      plan.query_tiles[i] = queries;
      plan.key_tiles[i] = keys;
    }
  }
  if (thread == 0) {
    plan.query_tiles[plan.count] = query_tiles;
    plan.key_tiles[plan.count] = key_tiles;
  }
}

}  // namespace cuda
}  // namespace luffy
