// attention-decode and the key/value cache in bfloat16 on CUDA, as attention-decode.cu calls them by dtype.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"
#include "attention-mma.cuh"

namespace luffy {
namespace cuda {

struct HalfCache {
  bf16 *keys, *values;
  int64_t blocks;
  int groups, dim;
  bool aligned;  // every eight elements of a position start at a multiple of 16 bytes
};

struct HalfDecode {
  HalfCache cache;
  const bf16* q;
  int64_t q_stride;
  bool q_aligned;
  const int32_t *block_table, *lengths;
  bf16* out;
  int64_t out_stride;
  float* sums;     // [B, H, segments, D]
  float2* states;  // [B, H, segments]: the largest score and the total
  int64_t batch;
  int64_t most;      // blocks of a row of the table
  int64_t segments;  // decode_segments(most)
  int per_group;
  int passes;   // tiles of query heads of a key/value head; the launcher's
  float scale;  // scale_of_powers
  FaultSink faults;
};

// Of a row of the table with so many blocks: sums and a state each.
static inline int64_t decode_segments(int64_t most) { return (most + kSegmentBlocks - 1) / kSegmentBlocks; }

// attention-decode without a context.
void launch_attention_decode_bf16(HalfDecode a, cudaStream_t stream);

void attention_decode_bf16(Context& context, const Tensor& q, const Tensor& key_cache, const Tensor& value_cache,
                           const Tensor& block_table, const Tensor& lengths, double scale, const Tensor& out);
void kv_cache_append_bf16(Context& context, const Tensor& k, const Tensor& v, const Tensor& slots,
                          const Tensor& key_cache, const Tensor& value_cache);
void kv_cache_copy_bf16(Context& context, const Tensor& pairs, const Tensor& key_cache, const Tensor& value_cache);

}  // namespace cuda
}  // namespace luffy
