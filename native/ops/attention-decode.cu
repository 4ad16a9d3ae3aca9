// attention-decode and the key/value cache on CUDA. See attention-decode.h; the arithmetic is in attention-block.cuh.
//
// Bound by the cache's bytes: every key and value of a sequence is read once for all query heads of its group (and
// once more for every further eight, or four of more than 128 dimensions). A block of threads takes a (sequence, key/value head); its warps take blocks of
// 64 keys side by side, and what they find is merged in ascending order. A lane reads the keys `lane` and `lane + 32`,
// 64 bytes in a row with its neighbours, and the values' columns `lane + 32 i`.
#include "attention-decode.h"

#include "attention-block.cuh"
#include "attention-decode-bf16.cuh"
#include "kv-cache.h"

namespace luffy {
namespace cuda {

constexpr int kDecodeMostWarps = 8;
constexpr int64_t kDecodeMostBlocks = 1 << 20;
// From so many units on, small blocks of threads fill the device.
constexpr int64_t kDecodeManyUnits = 512;

struct DecodeArguments {
  const float* q;
  int64_t q_stride;
  const float *keys, *values;
  const int32_t *block_table, *lengths;
  float* out;
  int64_t out_stride;
  int64_t batch, cache_blocks, most;
  int groups, dim, per_group, passes;
  float scale;
  FaultSink faults;
};

// Shared memory, in floats.
struct DecodeLayout {
  int q, weights, sums, largest, totals, total, end;
};
HOST_DEV DecodeLayout decode_layout(int rows, int parts, int dim, int warps) {
  DecodeLayout at;
  at.q = 0;                                               // [rows][dim, rounded up to 4]
  at.weights = rows * ((dim + 3) / 4 * 4);                // [warps][rows][64]
  at.sums = at.weights + warps * rows * kAttentionBlock;  // [warps][rows][parts * 32]
  at.largest = at.sums + warps * rows * parts * 32;       // [warps][rows]; then factors of the state
  at.totals = at.largest + warps * rows;                  // [warps][rows]; then factors of the block
  at.total = at.totals + warps * rows;                    // [rows]
  at.end = at.total + rows;
  return at;
}

// Products of `count` dimensions from d on with the lane's two keys.
template <int rows, int count>
DEV void decode_products(float (&score)[rows][2], const float* q, int width, const float* first, const float* second,
                         bool has_first, bool has_second, int d) {
  float x[count], y[count];
#pragma unroll
  for (int u = 0; u < count; ++u) {
    x[u] = has_first ? ld(first + (d + u) * kKeyGroup) : 0.0f;
    y[u] = has_second ? ld(second + (d + u) * kKeyGroup) : 0.0f;
  }
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const Pack<float> a = ld128(q + r * width + d);
#pragma unroll
    for (int u = 0; u < count; ++u) {
      score[r][0] = fmaf(a.at[u], x[u], score[r][0]);
      score[r][1] = fmaf(a.at[u], y[u], score[r][1]);
    }
  }
}

// `count` values from key j on, weighted, of the lane's columns.
template <int rows, int parts, int count>
DEV void decode_values(float (&sum)[rows][parts], const float* weights, const float* values, int dim, int j) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float x[count][parts];
#pragma unroll
  for (int u = 0; u < count; ++u) {
#pragma unroll
    for (int i = 0; i < parts; ++i) {
      x[u][i] = lane + 32 * i < dim ? ld(values + static_cast<int64_t>(j + u) * dim + lane + 32 * i) : 0.0f;
    }
  }
#pragma unroll
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int u = 0; u < count; ++u) {
      const float weight = weights[r * kAttentionBlock + j + u];
#pragma unroll
      for (int i = 0; i < parts; ++i) sum[r][i] = fmaf(weight, x[u][i], sum[r][i]);
    }
  }
}

// One warp: the first `visible` keys of a block. weights, sums, largest, totals: the warp's own.
template <int rows, int parts>
DEV void decode_block(const float* keys, const float* values, int visible, int dim, float scale, const float* q,
                      float* weights, float* sums, float* largest, float* totals) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int width = (dim + 3) / 4 * 4;
  const bool has_first = lane < visible;
  const bool has_second = lane + 32 < visible;
  const float* first = keys + static_cast<int64_t>(lane / kKeyGroup) * dim * kKeyGroup + lane % kKeyGroup;
  const float* second = first + 2 * int64_t{dim} * kKeyGroup;
  float score[rows][2] = {};
  int d = 0;
#pragma unroll(rows < 6 ? 2 : 1)
  for (; d + 4 <= dim; d += 4) {
    decode_products<rows, 4>(score, q, width, first, second, has_first, has_second, d);
  }
  if (d < dim) decode_products<rows, 2>(score, q, width, first, second, has_first, has_second, d);

#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const float a = attention_score(score[r][0], scale);
    const float b = attention_score(score[r][1], scale);
    const float top = warp_max(fmaxf(has_first ? a : kLowestScore, has_second ? b : kLowestScore));
    const float x = has_first ? attention_weight(a, top) : 0.0f;
    const float y = has_second ? attention_weight(b, top) : 0.0f;
    weights[r * kAttentionBlock + lane] = x;
    weights[r * kAttentionBlock + lane + 32] = y;
    const float total = warp_sum(__fadd_rn(x, y));
    if (lane == 0) {
      largest[r] = top;
      totals[r] = total;
    }
  }
  __syncwarp();

  float sum[rows][parts] = {};
  int j = 0;
  for (; j + 4 <= visible; j += 4) decode_values<rows, parts, 4>(sum, weights, values, dim, j);
  for (; j < visible; ++j) decode_values<rows, parts, 1>(sum, weights, values, dim, j);
#pragma unroll
  for (int r = 0; r < rows; ++r) {
#pragma unroll
    for (int i = 0; i < parts; ++i) sums[(r * parts + i) * 32 + lane] = sum[r][i];
  }
}

template <int rows, int parts>
KERNEL(kDecodeMostWarps * 32, 1)
attention_decode_kernel(DecodeArguments a) {
  SHARED_DYN(float, memory);
  constexpr int kLeastThreads = kDecodeMostWarps / 2 * 32;
  constexpr int kElements = rows * parts * 32;
  constexpr int kEach = (kElements + kLeastThreads - 1) / kLeastThreads;
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  const int warps = threads / 32;
  const int warp = thread / 32;
  const DecodeLayout at = decode_layout(rows, parts, a.dim, warps);
  const int width = (a.dim + 3) / 4 * 4;

  const int64_t units = a.batch * a.groups * a.passes;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int pass = static_cast<int>(unit % a.passes);
    const int group = static_cast<int>(unit / a.passes % a.groups);
    const int64_t row = unit / a.passes / a.groups;
    const int count = min(rows, a.per_group - pass * rows);
    const int64_t column = (int64_t{group} * a.per_group + pass * rows) * a.dim;
    const float* q = a.q + row * a.q_stride + column;
    float* out = a.out + row * a.out_stride + column;
    const int32_t* table = a.block_table + row * a.most;
    const int64_t length = ld(a.lengths + row);

    bool wrong = length < 0 || length > a.most * kAttentionBlock;
    if (!wrong) {
      for (int64_t i = thread; i * kAttentionBlock < length; i += threads) {
        const int32_t block = ld(table + i);
        if (block >= 0 && block < a.cache_blocks) continue;
        wrong = true;
        leave_fault(a.faults, FaultKind::block, row, block, a.cache_blocks);
      }
    } else if (thread == 0) {
      leave_fault(a.faults, FaultKind::length, row, static_cast<int32_t>(length), a.most * kAttentionBlock);
    }
    for (int i = thread; i < rows * width; i += threads) {
      const int r = i / width;
      const int d = i % width;
      memory[at.q + i] = r < count && d < a.dim ? ld(q + r * a.dim + d) : 0.0f;
    }
    // A sequence that cannot be read gives NaN (and left a fault), an idle one zeros.
    if (__syncthreads_or(wrong ? 1 : 0) != 0 || length == 0) {
      const float value = length == 0 ? 0.0f : __uint_as_float(0x7fc00000u);
      for (int i = thread; i < count * a.dim; i += threads) st(out + i, value);
      __syncthreads();
      continue;
    }

    float sums[kEach] = {};
    float largest = kLowestScore;  // of query head `thread`, as total
    float total = 0.0f;
    const int64_t blocks = (length + kAttentionBlock - 1) / kAttentionBlock;
    for (int64_t begin = 0; begin < blocks; begin += warps) {
      const int present = static_cast<int>(min(int64_t{warps}, blocks - begin));
      if (warp < present) {
        const int64_t block = (int64_t{ld(table + begin + warp)} * a.groups + group) * a.dim * kAttentionBlock;
        const int visible = static_cast<int>(min(int64_t{kAttentionBlock}, length - (begin + warp) * kAttentionBlock));
        decode_block<rows, parts>(a.keys + block, a.values + block, visible, a.dim, a.scale, memory + at.q,
                                  memory + at.weights + warp * rows * kAttentionBlock,
                                  memory + at.sums + warp * kElements, memory + at.largest + warp * rows,
                                  memory + at.totals + warp * rows);
      }
      __syncthreads();
      if (thread < rows) {
        for (int w = 0; w < present; ++w) {
          float& first = memory[at.largest + w * rows + thread];
          float& second = memory[at.totals + w * rows + thread];
          const Merge merge = merge_of(largest, first);
          largest = merge.largest;
          total = merged(total, second, merge.old_factor, merge.new_factor);
          first = merge.old_factor;
          second = merge.new_factor;
        }
        memory[at.total + thread] = total;
      }
      __syncthreads();
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const int element = thread + i * threads;
        if (element >= kElements) continue;
        const int r = element / (parts * 32);
        for (int w = 0; w < present; ++w) {
          sums[i] = merged(sums[i], memory[at.sums + w * kElements + element], memory[at.largest + w * rows + r],
                           memory[at.totals + w * rows + r]);
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int element = thread + i * threads;
      const int r = element / (parts * 32);
      const int d = element % (parts * 32);
      if (r < count && d < a.dim) st(out + r * a.dim + d, __fmul_rn(sums[i], attention_inverse(memory[at.total + r])));
    }
    __syncthreads();
  }
}

constexpr int kCacheBlock = 256;
constexpr int64_t kCacheMostBlocks = 1 << 20;

// `size` neighbouring dimensions of a token a thread.
template <int size>
KERNEL(kCacheBlock)
kv_cache_append_kernel(const float* k, int64_t k_stride, const float* v, int64_t v_stride, const int32_t* slots,
                       float* keys, float* values, int64_t tokens, int64_t cache_blocks, int groups, int dim,
                       FaultSink faults) {
  const int64_t packs = int64_t{groups} * dim / size;
  const int64_t step = int64_t{gridDim.x} * kCacheBlock;
  for (int64_t i = int64_t{blockIdx.x} * kCacheBlock + threadIdx.x; i < tokens * packs; i += step) {
    const int64_t token = i / packs;
    const int64_t column = i % packs * size;
    const int64_t slot = ld(slots + token);
    if (slot < 0 || slot >= cache_blocks * kAttentionBlock) {
      if (slot != -1 && column == 0) {
        leave_fault(faults, FaultKind::slot, token, static_cast<int32_t>(slot), cache_blocks * kAttentionBlock);
      }
      continue;
    }
    const int64_t head = (slot / kAttentionBlock * groups + column / dim) * dim * kAttentionBlock;
    const int position = static_cast<int>(slot % kAttentionBlock);
    const int64_t d = column % dim;
    float* key = keys + head + (position / kKeyGroup * dim + d) * kKeyGroup + position % kKeyGroup;
    float* value = values + head + int64_t{position} * dim + d;
    if constexpr (size == 4) {
      const Pack<float> pack = ld128(k + token * k_stride + column);
#pragma unroll
      for (int u = 0; u < 4; ++u) st(key + u * kKeyGroup, pack.at[u]);
      st128(value, ld128(v + token * v_stride + column));
    } else {
      st(key, ld(k + token * k_stride + column));
      st(value, ld(v + token * v_stride + column));
    }
  }
}

template <int size>
KERNEL(kCacheBlock)
kv_cache_copy_kernel(const int32_t* pairs, int64_t count, float* keys, float* values, int64_t cache_blocks,
                     int64_t block_size, FaultSink faults) {
  const int64_t packs = block_size / size;
  const int64_t step = int64_t{gridDim.x} * kCacheBlock;
  for (int64_t i = int64_t{blockIdx.x} * kCacheBlock + threadIdx.x; i < count * packs; i += step) {
    const int64_t from = ld(pairs + i / packs * 2);
    const int64_t to = ld(pairs + i / packs * 2 + 1);
    if (from < 0 || from >= cache_blocks || to < 0 || to >= cache_blocks) {
      const int64_t wrong = from < 0 || from >= cache_blocks ? from : to;
      if (i % packs == 0) {
        leave_fault(faults, FaultKind::copied_block, i / packs, static_cast<int32_t>(wrong), cache_blocks);
      }
      continue;
    }
    if (from == to) continue;
    const int64_t source = from * block_size + i % packs * size;
    const int64_t target = to * block_size + i % packs * size;
    if constexpr (size == 4) {
      st128(keys + target, ld128(keys + source));
      st128(values + target, ld128(values + source));
    } else {
      st(keys + target, ld(keys + source));
      st(values + target, ld(values + source));
    }
  }
}

template <int rows, int parts>
static void launch_decode(DecodeArguments& a, cudaStream_t stream) {
  a.passes = (a.per_group + rows - 1) / rows;
  const int64_t units = a.batch * a.groups * a.passes;
  const int warps = units < kDecodeManyUnits ? kDecodeMostWarps : kDecodeMostWarps / 2;
  const auto bytes = static_cast<size_t>(decode_layout(rows, parts, a.dim, warps).end) * sizeof(float);
  const auto blocks = static_cast<unsigned>(units < kDecodeMostBlocks ? units : kDecodeMostBlocks);
  launch<attention_decode_kernel<rows, parts>>(
      Launch(dim3(blocks), dim3(static_cast<unsigned>(warps * 32)), bytes, stream), a);
}

template <int parts>
static void launch_decode_rows(DecodeArguments& a, cudaStream_t stream) {
  if (a.per_group == 1) return launch_decode<1, parts>(a, stream);
  if (a.per_group == 2) return launch_decode<2, parts>(a, stream);
  if constexpr (parts > 4) {
    // More rows of so many columns do not fit in registers.
    launch_decode<4, parts>(a, stream);
  } else {
    if (a.per_group <= 4) return launch_decode<4, parts>(a, stream);
    if (a.per_group <= 6) return launch_decode<6, parts>(a, stream);
    launch_decode<8, parts>(a, stream);
  }
}

void attention_decode(Context& context, Tensor q, Tensor key_cache, Tensor value_cache, Tensor block_table,
                      Tensor lengths, double scale, Tensor out) {
  if (q && q.dtype == DType::bf16)
    return attention_decode_bf16(context, q, key_cache, value_cache, block_table, lengths, scale, out);
  const Cache cache = read_cache("attention-decode", key_cache, value_cache);
  const int per_group = check_decode(cache, q, block_table, lengths, out);
  const int64_t batch = q.shape[0];
  if (batch == 0) return;
  DecodeArguments a;
  a.q = q.f32();
  a.q_stride = q.row_stride;
  a.keys = cache.keys;
  a.values = cache.values;
  a.block_table = block_table.i32();
  a.lengths = lengths.i32();
  a.out = out.f32();
  a.out_stride = out.row_stride;
  a.batch = batch;
  a.cache_blocks = cache.blocks;
  a.most = block_table.shape[1];
  a.groups = cache.groups;
  a.dim = cache.dim;
  a.per_group = per_group;
  a.passes = 1;
  a.scale = static_cast<float>(scale);
  a.faults = context.fault_sink(FaultOp::attention_decode);
  const auto stream = static_cast<cudaStream_t>(context.stream);
  if (a.dim <= 32) return launch_decode_rows<1>(a, stream);
  if (a.dim <= 64) return launch_decode_rows<2>(a, stream);
  if (a.dim <= 128) return launch_decode_rows<4>(a, stream);
  launch_decode_rows<8>(a, stream);
}

static bool is_pack_aligned(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.row_stride % 4 == 0 || t.shape[0] <= 1);
}

static Launch cache_launch(const Context& context, int64_t threads) {
  const int64_t blocks = (threads + kCacheBlock - 1) / kCacheBlock;
  return Launch(dim3(static_cast<unsigned>(blocks < kCacheMostBlocks ? blocks : kCacheMostBlocks)), dim3(kCacheBlock),
                0, static_cast<cudaStream_t>(context.stream));
}

void kv_cache_append(Context& context, Tensor k, Tensor v, Tensor slots, Tensor key_cache, Tensor value_cache) {
  if (k && k.dtype == DType::bf16) return kv_cache_append_bf16(context, k, v, slots, key_cache, value_cache);
  const char* op = "kv-cache-append";
  const Cache cache = read_cache(op, key_cache, value_cache);
  const int64_t width = int64_t{cache.groups} * cache.dim;
  const int64_t tokens = check_cache_rows(op, cache, k, v, slots);
  if (tokens == 0 || width == 0) return;
  const bool wide = cache.dim % 4 == 0 && is_pack_aligned(k) && is_pack_aligned(v) &&
                    reinterpret_cast<uintptr_t>(cache.values) % 16 == 0;
  const Launch how = cache_launch(context, tokens * width / (wide ? 4 : 1));
  const auto run = [&](auto kernel) {
    kernel(how, static_cast<const float*>(k.f32()), k.row_stride, static_cast<const float*>(v.f32()), v.row_stride,
           static_cast<const int32_t*>(slots.i32()), cache.keys, cache.values, tokens, cache.blocks, cache.groups,
           cache.dim, context.fault_sink(FaultOp::kv_cache_append));
  };
  if (wide) {
    run([](auto... x) { launch<kv_cache_append_kernel<4>>(x...); });
  } else {
    run([](auto... x) { launch<kv_cache_append_kernel<1>>(x...); });
  }
}

void kv_cache_copy(Context& context, Tensor pairs, Tensor key_cache, Tensor value_cache) {
  if (key_cache && key_cache.dtype == DType::bf16) return kv_cache_copy_bf16(context, pairs, key_cache, value_cache);
  const char* op = "kv-cache-copy";
  const Cache cache = read_cache(op, key_cache, value_cache);
  check_matrix(op, "pairs", pairs, DType::i32, -1, 2);
  const int64_t count = pairs.shape[0];
  const int64_t size = cache.groups * cache.size;
  if (count == 0 || size == 0) return;
  const bool wide =
      reinterpret_cast<uintptr_t>(cache.keys) % 16 == 0 && reinterpret_cast<uintptr_t>(cache.values) % 16 == 0;
  const Launch how = cache_launch(context, count * size / (wide ? 4 : 1));
  const auto run = [&](auto kernel) {
    kernel(how, static_cast<const int32_t*>(pairs.i32()), count, cache.keys, cache.values, cache.blocks, size,
           context.fault_sink(FaultOp::kv_cache_copy));
  };
  if (wide) {
    run([](auto... x) { launch<kv_cache_copy_kernel<4>>(x...); });
  } else {
    run([](auto... x) { launch<kv_cache_copy_kernel<1>>(x...); });
  }
}

}  // namespace cuda
}  // namespace luffy
