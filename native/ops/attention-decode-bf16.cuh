// attention-decode and the key/value cache in bfloat16 on CUDA, as attention-decode.cu calls them by dtype.
#pragma once

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
namespace cuda {

void attention_decode_bf16(Context& context, const Tensor& q, const Tensor& key_cache, const Tensor& value_cache,
                           const Tensor& block_table, const Tensor& lengths, double scale, const Tensor& out);
void kv_cache_append_bf16(Context& context, const Tensor& k, const Tensor& v, const Tensor& slots,
                          const Tensor& key_cache, const Tensor& value_cache);
void kv_cache_copy_bf16(Context& context, const Tensor& pairs, const Tensor& key_cache, const Tensor& value_cache);

}  // namespace cuda
}  // namespace luffy
