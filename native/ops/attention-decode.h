// attention-decode: one new query per sequence against a key/value cache kept in blocks.
//
//   keyCache[N, K, 4*D, 16], valueCache[N, K, 64, D] float32: N blocks of kAttentionBlock = 64 positions; keys stand
//   transposed in groups of kKeyGroup = 16 positions (position p, dimension d at [p / 16 * D + d, p % 16]), so that a
//   block's scores are computed without packing and the keys so far are one run of memory.
//   On CUDA q, out and the cache may be bfloat16 instead: keyCache[N, K, 64, D] and valueCache[N, K, 64, D], a row for each
//   position.
//   blockTable[B, M] int32: the blocks of sequence b, in order of position; lengths[B] int32: keys it sees (the new
//   token's own included), 0 = an idle row, whose output is zeros.
//   q[B, H*D] (rows may be strided), out[B, H*D] (=). Bit-equal to attention's row for the same query and keys.
//
// kv-cache: append writes the keys and values of T tokens (k[T, K*D], v[T, K*D], rows may be strided) to their slots;
//   slots[T] int32 = block * kAttentionBlock + position within the block, or -1 to write nothing. copy duplicates
//   whole blocks, pairs[n, 2] int32 {from, to}; no block may be both source and destination.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace LUFFY_BACKEND {

void attention_decode(Context& context, Tensor q, Tensor key_cache, Tensor value_cache, Tensor block_table,
                      Tensor lengths, double scale, Tensor out);
void kv_cache_append(Context& context, Tensor k, Tensor v, Tensor slots, Tensor key_cache, Tensor value_cache);
void kv_cache_copy(Context& context, Tensor pairs, Tensor key_cache, Tensor value_cache);

}  // namespace LUFFY_BACKEND
}  // namespace luffy
