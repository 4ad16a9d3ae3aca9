// attention-decode and the key/value cache in bfloat16 on CUDA. See attention-decode.h; the arithmetic of a block of keys is
// in attention-mma.cuh.
//
// Bound by the cache's bytes. A warp takes one segment of kSegmentKeys keys of a (sequence, key/value head) for up to 16 of
// its query heads, which are the rows of its tiles, so that one long sequence fills a card as well as many short ones do.
// Chunks of 16 keys, then of 16 values, come to shared memory by cp.async, three ahead of the one being multiplied. A second
// kernel merges the segments in ascending order (their sums are 1/32 of the cache's bytes with 8 query heads a key).
#include "attention-decode-bf16.cuh"

#include "cuda-rows.cuh"
#include "kv-cache.h"

namespace luffy {
namespace cuda {

constexpr int kDecodeStages =
    4;  // chunks in shared memory: as many as a block has of keys, so a chunk's place is its number
constexpr int64_t kDecodeUnitBlocks = 1 << 20;
static_assert(kDecodeStages == kBlockChunks);

template <int width>
struct HalfDecodeShape {
  static constexpr int halves = width > 128 ? 2 : 1;
  static constexpr int columns = width / halves;  // of a warp
  static constexpr int parts = columns / 8;
  static constexpr int chunk = kChunkKeys * width;
  static constexpr size_t bytes = sizeof(bf16) * (1 + kDecodeStages) * chunk;
};

template <int width>
KERNEL(32, 8)
attention_decode_bf16_kernel(HalfDecode a) {
  SHARED_DYN(bf16, queries);
  using Shape = HalfDecodeShape<width>;
  bf16* const chunks = queries + Shape::chunk;
  const int lane = static_cast<int>(threadIdx.x);
  const int dim = a.cache.dim;
  const int64_t group_units = int64_t{a.cache.groups} * a.passes * Shape::halves;

  // Segments that few sequences have come last.
  const int64_t units = a.segments * a.batch * group_units;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int64_t sequence = unit / group_units % a.batch;
    const int64_t segment = unit / group_units / a.batch;
    const int64_t length = ld(a.lengths + sequence);
    const int64_t left = length - segment * kSegmentKeys;
    if (left <= 0 || length > a.most * kAttentionBlock) continue;
    const int in_group = static_cast<int>(unit % group_units);
    const int first_column = in_group % Shape::halves * Shape::columns;
    const int pass = in_group / Shape::halves % a.passes;
    const int group = in_group / Shape::halves / a.passes;
    const int64_t head = int64_t{group} * a.per_group + pass * kChunkKeys;
    const int count = min(kChunkKeys, a.per_group - pass * kChunkKeys);
    const int keys = static_cast<int>(min(left, int64_t{kSegmentKeys}));
    const int blocks = (keys + kAttentionBlock - 1) / kAttentionBlock;
    const int64_t state_row = sequence * a.cache.groups * a.per_group + head;

    // Lane i holds the number of block i.
    int32_t id = 0;
    bool wrong = false;
    if (lane < blocks) {
      id = ld(a.block_table + sequence * a.most + segment * kSegmentBlocks + lane);
      wrong = id < 0 || id >= a.cache.blocks;
      if (wrong) leave_fault(a.faults, FaultKind::block, sequence, id, a.cache.blocks);
    }
    if (__any_sync(kFullWarp, wrong ? 1 : 0) != 0) {
      // A total of NaN spoils the row; no sums are looked at beside it.
      if (lane < count) {
        st(a.states + (state_row + lane) * a.segments + segment, make_float2(0.0f, __uint_as_float(0x7fc00000u)));
      }
      continue;
    }

    // Of a block first the chunks of keys, then those of values; none are left out, so that they keep their places.
    const int steps = blocks * 2 * kBlockChunks;
    const auto fetch = [&](int step) {
      const int block = step / (2 * kBlockChunks);
      const int64_t block_id = __shfl_sync(kFullWarp, id, block % kSegmentBlocks);
      if (step < steps) {
        const int chunk = step % kBlockChunks;
        const bf16* const side = step / kBlockChunks % 2 == 0 ? a.cache.keys : a.cache.values;
        const bf16* const from =
            side + ((block_id * a.cache.groups + group) * kAttentionBlock + chunk * kChunkKeys) * dim;
        const int there = keys - block * kAttentionBlock - chunk * kChunkKeys;
        load_half_tile<32, kChunkKeys, width>(chunks + step % kDecodeStages * Shape::chunk, dim, a.cache.aligned, side,
                                              [&](int r) { return r < there ? from + int64_t{r} * dim : nullptr; });
      }
      cp_async_commit();
    };
    __syncwarp();  // the unit before is done
    const bf16* const q = a.q + sequence * a.q_stride + head * dim;
    load_half_tile<32, kChunkKeys, width>(queries, dim, a.q_aligned, a.q,
                                          [&](int r) { return r < count ? q + r * dim : nullptr; });
#pragma unroll 1
    for (int step = 0; step < kDecodeStages - 1; ++step) fetch(step);

    HalfRows<Shape::parts> rows;
    rows.clear();
#pragma unroll 1
    for (int block = 0; block < blocks; ++block) {
      const int visible = min(keys - block * kAttentionBlock, kAttentionBlock);
      const int present = (visible + kChunkKeys - 1) / kChunkKeys;
      // What both loops wait for is there for all lanes, and all have left the chunk that the next takes the place of.
      const auto arrive = [&](int step) {
        cp_async_wait<kDecodeStages - 2>();
        __syncwarp();
        fetch(step + kDecodeStages - 1);
      };
      float score[kBlockParts][4] = {};
#pragma unroll
      for (int c = 0; c < kBlockChunks; ++c) {
        arrive(block * 2 * kBlockChunks + c);
        if (c >= present) continue;
#pragma unroll
        for (int k = 0; k < width; k += 16) {
          if (k >= dim) break;
          uint32_t query[4];
          load_query_fragment<width>(query, queries, k);
          multiply_keys<width>(score[2 * c], score[2 * c + 1], query, chunks + c * Shape::chunk, k);
        }
      }
      uint32_t weights[kBlockChunks][4];
      const auto factors = rows.join(weigh_scores<true>(weights, score, a.scale, visible, visible));
      float sums[Shape::parts][4] = {};
#pragma unroll
      for (int c = 0; c < kBlockChunks; ++c) {
        arrive((block * 2 + 1) * kBlockChunks + c);
        if (c >= present) continue;
        multiply_values<width, Shape::parts, false>(sums, weights[c], chunks + c * Shape::chunk + first_column, 0,
                                                    dim - first_column);
      }
      rows.add(factors, sums);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int r = lane / 4 + 8 * i;
      if (r >= count) continue;
      const int64_t at = (state_row + r) * a.segments + segment;
      if (lane % 4 == 0 && first_column == 0) {
        st(a.states + at, make_float2(rows.state.largest[i], rows.state.total[i]));
      }
      float* const to = a.sums + at * dim + first_column + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < Shape::parts; ++n) {
        if (first_column + n * 8 + lane % 4 * 2 >= dim) break;
        st(reinterpret_cast<float2*>(to + n * 8), make_float2(rows.sums[n][2 * i], rows.sums[n][2 * i + 1]));
      }
    }
  }
}

constexpr int kDecodeMergeBlock = 128;

struct alignas(4) TwoHalves {
  bf16 at[2];
};

// out = the segments merged; two dimensions of a head a thread. Zeros for an idle row, NaN for one that cannot be read.
KERNEL(kDecodeMergeBlock)
attention_decode_merge_bf16_kernel(HalfDecode a) {
  const int dim = a.cache.dim;
  const int64_t heads = int64_t{a.cache.groups} * a.per_group;
  for (int64_t i = grid_thread(); i < a.batch * heads * (dim / 2); i += grid_step()) {
    const int d = static_cast<int>(i % (dim / 2)) * 2;
    const int64_t row = i / (dim / 2);
    const int64_t sequence = row / heads;
    const int64_t length = ld(a.lengths + sequence);
    float2 x = make_float2(0.0f, 0.0f);
    if (length < 0 || length > a.most * kAttentionBlock) {
      if (d == 0 && row % heads == 0) {
        leave_fault(a.faults, FaultKind::length, sequence, static_cast<int32_t>(length), a.most * kAttentionBlock);
      }
      x.x = x.y = __uint_as_float(0x7fc00000u);
    } else if (length > 0) {
      float largest = kLowestScore;
      float total = 0.0f;
#pragma unroll 4
      for (int64_t segment = 0; segment * kSegmentKeys < length; ++segment) {
        const float2 state = ld(a.states + row * a.segments + segment);
        const float2 sum = ld(reinterpret_cast<const float2*>(a.sums + (row * a.segments + segment) * dim + d));
        const Merge merge = merge_of_powers(largest, state.x);
        largest = merge.largest;
        total = merged(total, state.y, merge.old_factor, merge.new_factor);
        x.x = merged(x.x, sum.x, merge.old_factor, merge.new_factor);
        x.y = merged(x.y, sum.y, merge.old_factor, merge.new_factor);
      }
      const float inverse = attention_inverse(total);
      x.x = __fmul_rn(x.x, inverse);
      x.y = __fmul_rn(x.y, inverse);
    }
    bf16* const to = a.out + sequence * a.out_stride + row % heads * dim + d;
    const TwoHalves two{{from_float<bf16>(x.x), from_float<bf16>(x.y)}};
    if (reinterpret_cast<uintptr_t>(to) % sizeof two == 0) {
      st(reinterpret_cast<TwoHalves*>(to), two);
    } else {
      st(to, two.at[0]);
      st(to + 1, two.at[1]);
    }
  }
}

constexpr int kHalfCacheBlock = 256;

// `size` neighbouring dimensions of a token a thread: 8 or 1.
template <int size>
DEV void copy_halves(bf16* to, const bf16* from) {
  if constexpr (size == 8) {
    st128(to, ld128(from));
  } else {
    st(to, ld(from));
  }
}

template <int size>
KERNEL(kHalfCacheBlock)
kv_cache_append_bf16_kernel(HalfCache cache, const bf16* k, int64_t k_stride, const bf16* v, int64_t v_stride,
                            const int32_t* slots, int64_t tokens, FaultSink faults) {
  const int64_t packs = int64_t{cache.groups} * cache.dim / size;
  for (int64_t i = grid_thread(); i < tokens * packs; i += grid_step()) {
    const int64_t token = i / packs;
    const int64_t column = i % packs * size;
    const int64_t slot = ld(slots + token);
    if (slot < 0 || slot >= cache.blocks * kAttentionBlock) {
      if (slot != -1 && column == 0) {
        leave_fault(faults, FaultKind::slot, token, static_cast<int32_t>(slot), cache.blocks * kAttentionBlock);
      }
      continue;
    }
    const int64_t head = slot / kAttentionBlock * cache.groups + column / cache.dim;
    const int64_t to = (head * kAttentionBlock + slot % kAttentionBlock) * cache.dim + column % cache.dim;
    copy_halves<size>(cache.keys + to, k + token * k_stride + column);
    copy_halves<size>(cache.values + to, v + token * v_stride + column);
  }
}

template <int size>
KERNEL(kHalfCacheBlock)
kv_cache_copy_bf16_kernel(HalfCache cache, const int32_t* pairs, int64_t count, FaultSink faults) {
  const int64_t block = int64_t{cache.groups} * cache.dim * kAttentionBlock;
  const int64_t packs = block / size;
  for (int64_t i = grid_thread(); i < count * packs; i += grid_step()) {
    const int64_t from = ld(pairs + i / packs * 2);
    const int64_t to = ld(pairs + i / packs * 2 + 1);
    if (from < 0 || from >= cache.blocks || to < 0 || to >= cache.blocks) {
      const int64_t wrong = from < 0 || from >= cache.blocks ? from : to;
      if (i % packs == 0) {
        leave_fault(faults, FaultKind::copied_block, i / packs, static_cast<int32_t>(wrong), cache.blocks);
      }
      continue;
    }
    if (from == to) continue;
    const int64_t place = i % packs * size;
    copy_halves<size>(cache.keys + to * block + place, cache.keys + from * block + place);
    copy_halves<size>(cache.values + to * block + place, cache.values + from * block + place);
  }
}

// ---- launching

static bool starts_pack(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }
static bool in_packs(const Tensor& t) { return starts_pack(t.data) && (t.row_stride % 8 == 0 || t.shape[0] <= 1); }

static HalfCache read_half_cache(const char* op, const Tensor& keys, const Tensor& values) {
  const auto check = [op](const char* name, const Tensor& t, const Tensor& like) {
    LUFFY_CHECK(t, "%s: %s is missing", op, name);
    LUFFY_CHECK(t.dtype == DType::bf16 && t.rank == 4 && t.shape[0] == like.shape[0] && t.shape[1] == like.shape[1] &&
                    t.shape[2] == kAttentionBlock && t.shape[3] == like.shape[3] && t.contiguous(),
                "%s: expected %s of bfloat16 [%" PRId64 ", %" PRId64 ", %d, %" PRId64 "]", op, name, like.shape[0],
                like.shape[1], kAttentionBlock, like.shape[3]);
  };
  check("keyCache", keys, keys);
  check("valueCache", values, keys);
  check_head_dim(op, keys.shape[3]);
  HalfCache cache;
  cache.keys = static_cast<bf16*>(keys.data);
  cache.values = static_cast<bf16*>(values.data);
  cache.blocks = keys.shape[0];
  cache.groups = static_cast<int>(keys.shape[1]);
  cache.dim = static_cast<int>(keys.shape[3]);
  cache.aligned = cache.dim % 8 == 0 && starts_pack(keys.data) && starts_pack(values.data);
  return cache;
}

template <int width>
static void launch_half_decode(const HalfDecode& a, cudaStream_t stream) {
  using Shape = HalfDecodeShape<width>;
  const int64_t units = a.segments * a.batch * a.cache.groups * a.passes * Shape::halves;
  const auto blocks = static_cast<unsigned>(units < kDecodeUnitBlocks ? units : kDecodeUnitBlocks);
  if (units > 0) launch<attention_decode_bf16_kernel<width>>(Launch(dim3(blocks), dim3(32), Shape::bytes, stream), a);
}

void launch_attention_decode_bf16(HalfDecode a, cudaStream_t stream) {
  a.passes = (a.per_group + kChunkKeys - 1) / kChunkKeys;
  if (a.cache.dim <= 64) {
    launch_half_decode<64>(a, stream);
  } else if (a.cache.dim <= 128) {
    launch_half_decode<128>(a, stream);
  } else {
    launch_half_decode<256>(a, stream);
  }
  const int64_t pairs = a.batch * a.cache.groups * a.per_group * (a.cache.dim / 2);
  const unsigned blocks = blocks_for(pairs, kDecodeMergeBlock);
  launch<attention_decode_merge_bf16_kernel>(Launch(dim3(blocks), dim3(kDecodeMergeBlock), 0, stream), a);
}

void attention_decode_bf16(Context& context, const Tensor& q, const Tensor& key_cache, const Tensor& value_cache,
                           const Tensor& block_table, const Tensor& lengths, double scale, const Tensor& out) {
  HalfDecode a;
  a.cache = read_half_cache("attention-decode", key_cache, value_cache);
  a.per_group = check_decode(a.cache, q, block_table, lengths, out, DType::bf16);
  const int64_t heads = int64_t{a.cache.groups} * a.per_group;
  a.batch = q.shape[0];
  if (a.batch == 0) return;
  a.q = static_cast<const bf16*>(q.data);
  a.q_stride = q.row_stride;
  a.q_aligned = a.cache.dim % 8 == 0 && in_packs(q);
  a.block_table = block_table.i32();
  a.lengths = lengths.i32();
  a.out = static_cast<bf16*>(out.data);
  a.out_stride = out.row_stride;
  a.most = block_table.shape[1];
  a.segments = decode_segments(a.most);
  a.scale = scale_of_powers(scale);
  a.faults = context.fault_sink(FaultOp::attention_decode);
  const Context::ScratchMark mark = context.scratch_mark();
  a.sums = context.scratch<float>(a.batch * heads * a.segments * a.cache.dim);
  a.states = context.scratch<float2>(a.batch * heads * a.segments);
  launch_attention_decode_bf16(a, stream_of(context));
  context.scratch_release(mark);
}

void kv_cache_append_bf16(Context& context, const Tensor& k, const Tensor& v, const Tensor& slots,
                          const Tensor& key_cache, const Tensor& value_cache) {
  const char* op = "kv-cache-append";
  const HalfCache cache = read_half_cache(op, key_cache, value_cache);
  const int64_t tokens = check_cache_rows(op, cache, k, v, slots, DType::bf16);
  const int64_t width = int64_t{cache.groups} * cache.dim;
  if (tokens == 0 || width == 0) return;
  const FaultSink faults = context.fault_sink(FaultOp::kv_cache_append);
  const auto run = [&](auto kernel, int size) {
    kernel(
        Launch(dim3(blocks_for(tokens * width / size, kHalfCacheBlock)), dim3(kHalfCacheBlock), 0, stream_of(context)),
        cache, static_cast<const bf16*>(k.data), k.row_stride, static_cast<const bf16*>(v.data), v.row_stride,
        static_cast<const int32_t*>(slots.i32()), tokens, faults);
  };
  if (cache.aligned && in_packs(k) && in_packs(v)) {
    run([](auto... x) { launch<kv_cache_append_bf16_kernel<8>>(x...); }, 8);
  } else {
    run([](auto... x) { launch<kv_cache_append_bf16_kernel<1>>(x...); }, 1);
  }
}

void kv_cache_copy_bf16(Context& context, const Tensor& pairs, const Tensor& key_cache, const Tensor& value_cache) {
  const char* op = "kv-cache-copy";
  const HalfCache cache = read_half_cache(op, key_cache, value_cache);
  check_matrix(op, "pairs", pairs, DType::i32, -1, 2);
  const int64_t count = pairs.shape[0];
  const int64_t size = int64_t{cache.groups} * cache.dim * kAttentionBlock;
  if (count == 0 || size == 0) return;
  const FaultSink faults = context.fault_sink(FaultOp::kv_cache_copy);
  const auto run = [&](auto kernel, int pack) {
    kernel(Launch(dim3(blocks_for(count * size / pack, kHalfCacheBlock)), dim3(kHalfCacheBlock), 0, stream_of(context)),
           cache, static_cast<const int32_t*>(pairs.i32()), count, faults);
  };
  // A block is 64 dim elements of a head: whole packs whatever dim is.
  if (starts_pack(cache.keys) && starts_pack(cache.values)) {
    run([](auto... x) { launch<kv_cache_copy_bf16_kernel<8>>(x...); }, 8);
  } else {
    run([](auto... x) { launch<kv_cache_copy_bf16_kernel<1>>(x...); }, 1);
  }
}

}  // namespace cuda
}  // namespace luffy
