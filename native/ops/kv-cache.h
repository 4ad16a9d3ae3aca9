// kv-cache: the key/value cache as the ops of attention-decode check and read it, on every backend.
#pragma once

#include "attention-heads.h"

namespace luffy {
namespace LUFFY_BACKEND {

struct Cache {
  int64_t blocks;
  int groups, dim;
  float *keys, *values;
  int64_t size;  // floats of one (block, head)
};

LUFFY_INLINE Cache read_cache(const char* op, const Tensor& keys, const Tensor& values) {
  LUFFY_CHECK(keys, "%s: keyCache is missing", op);
  LUFFY_CHECK(values, "%s: valueCache is missing", op);
  constexpr int kGroups = kAttentionBlock / kKeyGroup;
  LUFFY_CHECK(keys.dtype == DType::f32 && keys.rank == 4 && keys.shape[2] % kGroups == 0 &&
                  keys.shape[3] == kKeyGroup && keys.contiguous(),
              "%s: expected keyCache of float32 [N, K, %d * D, %d]", op, kGroups, kKeyGroup);
  const int64_t dim = keys.shape[2] / kGroups;
  check_head_dim(op, dim);
  LUFFY_CHECK(values.dtype == DType::f32 && values.rank == 4 && values.shape[0] == keys.shape[0] &&
                  values.shape[1] == keys.shape[1] && values.shape[2] == kAttentionBlock && values.shape[3] == dim &&
                  values.contiguous(),
              "%s: expected valueCache of float32 [%" PRId64 ", %" PRId64 ", %d, %" PRId64 "]", op, keys.shape[0],
              keys.shape[1], kAttentionBlock, dim);
  Cache cache;
  cache.blocks = keys.shape[0];
  cache.groups = static_cast<int>(keys.shape[1]);
  cache.dim = static_cast<int>(dim);
  cache.keys = keys.f32();
  cache.values = values.f32();
  cache.size = dim * kAttentionBlock;
  return cache;
}

// The arguments of kv-cache-append but for what `slots` holds. Returns the number of tokens.
template <class AnyCache>
LUFFY_INLINE int64_t check_cache_rows(const char* op, const AnyCache& cache, const Tensor& k, const Tensor& v,
                                      const Tensor& slots, DType dtype = DType::f32) {
  const int64_t width = int64_t{cache.groups} * cache.dim;
  check_rows(op, "k", k, dtype, -1, width);
  check_rows(op, "v", v, dtype, k.shape[0], width);
  check_vector(op, "slots", slots, DType::i32, k.shape[0]);
  return k.shape[0];
}

// Those of attention-decode but for what the table and the lengths hold. Returns the query heads of one key/value head.
template <class AnyCache>
LUFFY_INLINE int check_decode(const AnyCache& cache, const Tensor& q, const Tensor& block_table, const Tensor& lengths,
                              const Tensor& out, DType dtype = DType::f32) {
  const char* op = "attention-decode";
  check_rows(op, "q", q, dtype, -1, -1);
  const int64_t width = int64_t{cache.groups} * cache.dim;
  LUFFY_CHECK(width > 0 && q.shape[1] > 0 && q.shape[1] % width == 0,
              "%s: q has %" PRId64 " columns, no multiple of the cache's %" PRId64, op, q.shape[1], width);
  check_rows(op, "out", out, dtype, q.shape[0], q.shape[1]);
  check_matrix(op, "blockTable", block_table, DType::i32, q.shape[0], -1);
  check_vector(op, "lengths", lengths, DType::i32, q.shape[0]);
  return static_cast<int>(q.shape[1] / width);
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
