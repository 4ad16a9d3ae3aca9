// attention-block: what attention does with one block of kAttentionBlock keys, in the operations that decide its bits.
// attention and attention-decode both compute their output by these, which makes them agree bit for bit.
//
// A block stands for itself: its scores (each a chain of fmaf over d, ascending, then * scale), the largest of those
// that the query sees, weights e^(score - largest), their total, and for every d the chain of fmaf over the keys,
// ascending, from 0. The total adds the weights of positions l and l + 32 first, then halves 32 lanes five times.
// Blocks are merged in ascending order into a row's state. So blocks may be computed in any order, by anyone.
//
// Products and sums stand as intrinsics where the compiler could otherwise fuse them in one kernel and not in another.
#pragma once

#include "../core/cu.cuh"
#include "attention.h"

namespace luffy {
namespace cuda {

// The largest score before any: finite, so that a block of -infinity gives weights of 0.
constexpr float kLowestScore = -3.402823466e+38f;

DEV float attention_score(float product, float scale) { return __fmul_rn(product, scale); }
DEV float attention_weight(float score, float largest) { return expf(__fadd_rn(score, -largest)); }

// What a row's sums so far and those of a block are worth beside each other. One of the two is 1.
struct Merge {
  float largest, old_factor, new_factor;
};
DEV Merge merge_of(float largest, float block_largest) {
  const float less = expf(-fabsf(__fadd_rn(largest, -block_largest)));
  const bool rises = block_largest > largest;
  return {fmaxf(largest, block_largest), rises ? less : 1.0f, rises ? 1.0f : less};
}
DEV float merged(float sum, float block_sum, float old_factor, float new_factor) {
  return fmaf(block_sum, new_factor, __fmul_rn(sum, old_factor));
}

// A row's output is its sums times this.
DEV float attention_inverse(float total) { return 1.0f / total; }

}  // namespace cuda
}  // namespace luffy
