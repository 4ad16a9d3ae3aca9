// Positions in ascending order of their keys, equal keys in ascending order of their positions: what an op on CUDA
// needs to add the members of a group one after another without locks. A stable radix sort, eight bits a pass; its
// result has no freedom, so it is the same on every run.
#pragma once

#include "cuda-rows.cuh"

namespace luffy {
namespace cuda {

// keys[count] on the device; count is at most 2^31 - 1. Returns count pairs on the device, the key in the upper 32 bits
// and the position in the lower. A key that is not in [0, limit) as an unsigned number counts as `limit`, and comes
// last; a limit of 2^32 takes every key.
const uint64_t* sort_keys(Context& context, const char* op, const int32_t* keys, int64_t count, uint64_t limit);

DEV uint32_t key_of(uint64_t pair) { return static_cast<uint32_t>(pair >> 32); }
DEV uint32_t position_of(uint64_t pair) { return static_cast<uint32_t>(pair); }

}  // namespace cuda
}  // namespace luffy
