// The backward pass of attention in bfloat16 on the tensor cores: mma.sync m16n8k16, sums in float32. The contract is
// attention.h's; lse and delta are float32.
//
// As in float32, gradQ is made by tiles of 64 queries, gradK and gradV by tiles of 64 keys, and both make the weights P
// again from scores and lse: 7 products where 5 would do with atomics on floats, whose order nobody fixes. A warp owns 16
// rows of a tile. In the kernel of keys it holds the transposed weights, so that in both kernels P and its gradients go from
// the sums of one product to the left factor of the next within registers, rounded to bfloat16 there. The other side's rows
// come to shared memory by cp.async, the next ones while these are multiplied.
//
// The kernel of keys walks the query heads of a key/value head, within each the owner's queries, then those of the
// sequences that share the keys, in ascending order: one chain of sums in registers, rounded once.
//
// What causality hides has the weight 0, and is multiplied: a NaN or infinity in a row reaches those it shares a tile with.
//
// Bound by shared memory, which feeds the tensor cores: 256 bytes for 2,048 multiply-adds, half as much again where the
// left factor does not stay in registers. Shared memory is at most 98 KiB, which every card since sm_80 has.
#include "attention-backward-bf16.cuh"

#include "attention-key-queries.cuh"
#include "attention-operands.cuh"

namespace luffy {
namespace cuda {

using namespace backward_mma;

// ---- delta: a head's row has dims / 8 lanes of 8 columns.

constexpr int kDeltaThreads = 256;

template <int dims>
KERNEL(kDeltaThreads)
attention_delta_bf16_kernel(Bf16Backward a) {
  constexpr int kLanes = dims / 8;
  constexpr int kRows = kDeltaThreads / kLanes;
  const int column = static_cast<int>(threadIdx.x) % kLanes * 8;
  const int64_t total = a.plan.tokens * a.heads;
  for (int64_t first = int64_t{blockIdx.x} * kRows; first < total; first += int64_t{gridDim.x} * kRows) {
    const int64_t i = first + static_cast<int>(threadIdx.x) / kLanes;
    const int64_t row = i / a.heads;
    const bool owned = i < total && a.plan.owner[row] >= 0;
    float sum = 0.0f;
    if (owned && column < a.dim) {
      const bf16* const grad = a.grad_out.at(row, i % a.heads * a.dim + column);
      const bf16* const out = a.out.at(row, i % a.heads * a.dim + column);
      if (a.wide_delta) {
        const Pack<bf16> x = ld128(grad);
        const Pack<bf16> y = ld128(out);
#pragma unroll
        for (int j = 0; j < 8; ++j) sum = fmaf(to_float(x.at[j]), to_float(y.at[j]), sum);
      } else {
        for (int j = 0; j < 8 && column + j < a.dim; ++j)
          sum = fmaf(to_float(ld(grad + j)), to_float(ld(out + j)), sum);
      }
    }
#pragma unroll
    for (int lanes = kLanes / 2; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(kFullWarp, sum, lanes);
    if (owned && column == 0) st(a.delta + i, sum);
  }
}

// ---- gradQ

// keys: of a stage, of which `step` are multiplied at a time. kept: the tile's own rows stay in registers, and pass through
// the second stage on their way there.
template <int dims_>
struct QueryTiles {
  static constexpr int dims = dims_;
  static constexpr int keys = dims <= 128 ? 64 : 16;
  static constexpr int step = dims <= 128 ? 32 : 16;
  static constexpr bool kept = dims <= 128;
  static constexpr int threads = 128;
  static constexpr int resident = dims <= 64 ? 3 : 2;
  static constexpr int stage = 2 * keys * dims;  // elements: keys, then values
  static constexpr int own = 2 * kAttentionBlock * dims;
  static constexpr int bytes = 2 * (2 * stage + (kept ? 0 : own));
  static_assert(!kept || own <= stage);
};

// A tile of queries in shared memory, since registers are few: positions from `base` on, of which [low, high) are own ones,
// of a query head. Positions are below the number of rows.
struct QueryRows {
  int base, low, high, prefix_start, prefix_length, start;
  int64_t column, key_column;

  DEV int seen() const { return base + high; }
  DEV int row(int position) const {
    return position < prefix_length ? prefix_start + position : start + (position - prefix_length);
  }
  // Of row r of the tile, which must be an own one.
  DEV int own_row(int r) const { return start + (base + r - prefix_length); }
};

template <class Tiles>
KERNEL(Tiles::threads, Tiles::resident)
attention_backward_bf16_queries_kernel(Bf16Backward a) {
  SHARED_DYN(bf16, memory);
  constexpr int kDims = Tiles::dims;
  constexpr int kKeys = Tiles::keys;
  constexpr int kStep = Tiles::step;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int warp_row = thread / 32 * kWarpRows;
  const LanePlaces<kDims> places;
  SHARED(QueryRows, tile, 1);
  bf16* const own = memory + (Tiles::kept ? 1 : 2) * Tiles::stage;

  for (int64_t unit = blockIdx.x; unit < ld(a.plan.query_tiles + a.plan.count) * a.heads; unit += gridDim.x) {
    const int head = static_cast<int>(unit % a.heads);
    const QueryTile t = query_tile(a.plan, unit / a.heads);
    if (t.s.wrong != 0) {
      spoil_rows(a.plan, t.sequence, a.grad_q, t.s.row(t.base + t.low), t.high - t.low, int64_t{head} * a.dim, a.dim);
      continue;
    }
    __syncthreads();  // the tile before is done
    if (thread == 0) {
      tile[0] = {static_cast<int>(t.base),
                 t.low,
                 t.high,
                 t.s.prefix_start,
                 t.s.prefix_length,
                 t.s.start,
                 int64_t{head} * a.dim,
                 int64_t{head / a.per_group} * a.dim};
    }
    __syncthreads();
    const auto fetch = [&](int begin, bf16* to) {
      load_tiles<kKeys, kDims, Tiles::threads>(to, a.k, a.v, tile->key_column, a.dim, a.wide_in, [&](int r) {
        return begin + r < tile->seen() ? tile->row(begin + r) : -1;
      });
      cp_async_commit();
    };
    load_tiles<kAttentionBlock, kDims, Tiles::threads>(
        own, a.q, a.grad_out, tile->column, a.dim, a.wide_in,
        [&](int r) { return r >= tile->low && r < tile->high ? tile->own_row(r) : -1; });
    fetch(0, memory);
    float lse[2] = {};
    float delta[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = warp_row + half * 8 + lane / 4;
      if (r < tile->low || r >= tile->high) continue;
      const int64_t at = int64_t{tile->own_row(r)} * a.heads + head;
      lse[half] = ld(a.lse + at);
      delta[half] = ld(a.delta + at);
    }
    cp_async_wait<0>();
    __syncthreads();
    const LeftRows<kDims, Tiles::kept> q(places, own + warp_row * kDims);
    const LeftRows<kDims, Tiles::kept> grad_out(places, own + (kAttentionBlock + warp_row) * kDims);

    float sums[kDims / 8][4] = {};
    int stage = 0;
#pragma unroll 1
    for (int begin = 0; begin < tile->seen(); begin += kKeys) {
      // The barrier says both: this stage is there for all threads, and all have left the other.
      cp_async_wait<0>();
      __syncthreads();
      const bf16* const keys = memory + stage * Tiles::stage;
      stage ^= 1;
      if (begin + kKeys < tile->seen()) fetch(begin + kKeys, memory + stage * Tiles::stage);
#pragma unroll 1
      for (int first = 0; first < kKeys; first += kStep) {
        // None of these keys is seen by a row of the warp.
        if (begin + first > tile->base + warp_row + kWarpRows - 1) break;
        const bf16* const k = keys + first * kDims;
        float score[kStep / 8][4] = {};
        float gradient[kStep / 8][4] = {};
        multiply_along<kDims, kStep>(score, places, q, k);
        multiply_along<kDims, kStep>(gradient, places, grad_out, k + kKeys * kDims);
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const float weight = __expf(fmaf(score[n][e], a.scale, -lse[e / 2]));
            gradient[n][e] = weight * (gradient[n][e] - delta[e / 2]);
          }
        }
        // The first row of the warp sees the keys up to this one.
        const int last = tile->base + warp_row - begin - first;
        if (last < kStep - 1) {
#pragma unroll
          for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const int key = n * 8 + lane % 4 * 2 + e % 2;
              if (key > last + e / 2 * 8 + lane / 4) gradient[n][e] = 0.0f;
            }
          }
        }
        uint32_t left[kStep / 16][4];
        round_left<kStep>(left, gradient);
        multiply_across<kDims, kStep, kDims>(sums, places, left, k, 0);
      }
    }
    __syncthreads();
    store_sums<kDims>(sums, a.scale, memory + warp_row * kDims, a.dim, a.wide_out, [&](int i) {
      const int r = warp_row + i;
      return r >= tile->low && r < tile->high ? a.grad_q.at(tile->own_row(r), tile->column) : nullptr;
    });
  }
}

// ---- gradK and gradV

// queries: of a stage, of which `step` are multiplied at a time. kept: the warp's keys and values stay in registers. parts: of the columns; warps of every part make the weights, and sums of their columns.
template <int dims_>
struct KeyTiles {
  static constexpr int dims = dims_;
  static constexpr int queries = dims <= 64 ? 64 : dims <= 128 ? 32 : 16;
  static constexpr int step = dims <= 128 ? 32 : 16;
  static constexpr bool kept = dims <= 64;
  static constexpr int parts = dims <= 128 ? 1 : 2;
  static constexpr int columns = dims / parts;
  static constexpr int threads = 128 * parts;
  static constexpr int resident = dims <= 128 ? 2 : 1;
  static constexpr int own = 2 * kAttentionBlock * dims;  // elements: keys, then values
  static constexpr int stage = 2 * queries * dims;        // q, then gradOut
  static constexpr int numbers = 2 * queries;             // lse, then delta
  static constexpr int bytes = 2 * (own + 2 * stage) + 4 * 2 * numbers;
  static_assert(threads / 32 * kWarpRows * columns <= 2 * stage && numbers <= threads);
};

// A tile of keys in shared memory, since registers are few: `count` own rows of a sequence from `begin` on, for a
// key/value head.
struct KeyTile {
  PlannedSequence keys;
  int32_t owner;
  int begin, count, group;
};

// What a stage holds: queries of a head. One thread goes from one to the next.
template <int rows>
struct KeyStage {
  KeyTileQueries<rows> queries;
  int head;
  bool there;
};

template <class Tiles>
KERNEL(Tiles::threads, Tiles::resident)
attention_backward_bf16_keys_kernel(Bf16Backward a) {
  SHARED_DYN(bf16, memory);
  // Of the stage being multiplied, the next and the one after, in turn.
  SHARED(KeyStage<Tiles::queries>, walk, 4);
  SHARED(KeyTile, tile, 1);
  constexpr int kDims = Tiles::dims;
  constexpr int kQueries = Tiles::queries;
  constexpr int kStep = Tiles::step;
  constexpr int kColumns = Tiles::columns;
  bf16* const stages = memory + Tiles::own;
  float* const numbers = reinterpret_cast<float*>(stages + 2 * Tiles::stage);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  const int warp_row = thread / 32 % 4 * kWarpRows;
  const int first_column = thread / 128 * kColumns;
  const LanePlaces<kDims> places;

  const int groups = a.heads / a.per_group;
  for (int64_t unit = blockIdx.x; unit < ld(a.plan.key_tiles + a.plan.count) * groups; unit += gridDim.x) {
    KeyTile own;
    own.group = static_cast<int>(unit % groups);
    own.owner = sequence_of_tile(a.plan.key_tiles, a.plan.count, unit / groups);
    own.keys = a.plan.sequences[own.owner];
    own.begin = static_cast<int>((unit / groups - a.plan.key_tiles[own.owner]) * kAttentionBlock);
    own.count = min(own.keys.length - own.begin, kAttentionBlock);
    const int first_key = own.keys.start + own.begin;
    if (own.keys.wrong != 0) {
      spoil_rows(a.plan, own.owner, a.grad_k, first_key, own.count, int64_t{own.group} * a.dim, a.dim);
      spoil_rows(a.plan, own.owner, a.grad_v, first_key, own.count, int64_t{own.group} * a.dim, a.dim);
      continue;
    }
    // From a stage to the one after it.
    const auto advance = [&](KeyStage<kQueries> next, KeyStage<kQueries>& to) {
      if (next.there && !next_queries(a.plan, tile->owner, tile->keys, tile->begin, tile->count, next.queries)) {
        next.head += 1;
        next.there = next.head < (tile->group + 1) * a.per_group &&
                     find_queries(a.plan, tile->owner, tile->keys, tile->begin, tile->count, tile->owner, next.queries);
      }
      to = next;
    };
    // Its tiles, and of its numbers the thread's own, which is on its way while the stage before is multiplied.
    const auto fetch = [&](const KeyStage<kQueries>& next, bf16* to) {
      const int queries = next.queries.count();
      const int begin = next.queries.s.start + static_cast<int>(next.queries.begin);
      load_tiles<kQueries, kDims, Tiles::threads>(to, a.q, a.grad_out, int64_t{next.head} * a.dim, a.dim, a.wide_in,
                                                  [&](int r) { return r < queries ? begin + r : -1; });
      cp_async_commit();
      const int i = thread % kQueries;
      if (thread >= Tiles::numbers || i >= queries) return 0.0f;
      return ld((thread < kQueries ? a.lse : a.delta) + int64_t{begin + i} * a.heads + next.head);
    };
    __syncthreads();  // the tile before is done
    if (thread == 0) {
      tile[0] = own;
      KeyStage<kQueries> first = {};
      first.head = own.group * a.per_group;
      first.there = find_queries(a.plan, own.owner, own.keys, own.begin, own.count, own.owner, first.queries);
      walk[0] = first;
      advance(first, walk[1]);
    }
    __syncthreads();
    load_tiles<kAttentionBlock, kDims, Tiles::threads>(memory, a.k, a.v, int64_t{own.group} * a.dim, a.dim, a.wide_in,
                                                       [&](int r) { return r < own.count ? first_key + r : -1; });
    float number = fetch(walk[0], stages);
    cp_async_wait<0>();
    __syncthreads();
    const LeftRows<kDims, Tiles::kept> left_keys(places, memory + warp_row * kDims);
    const LeftRows<kDims, Tiles::kept> left_values(places, memory + (kAttentionBlock + warp_row) * kDims);

    float key_sums[kColumns / 8][4] = {};
    float value_sums[kColumns / 8][4] = {};
#pragma unroll 1
    for (unsigned i = 0; walk[i % 4].there; ++i) {
      if (thread < Tiles::numbers) numbers[i % 2 * Tiles::numbers + thread] = number;
      // The barrier says both: this stage is there for all threads, and all have left the other.
      cp_async_wait<0>();
      __syncthreads();
      if (walk[(i + 1) % 4].there) number = fetch(walk[(i + 1) % 4], stages + (i + 1) % 2 * Tiles::stage);
      if (thread == 0) advance(walk[(i + 1) % 4], walk[(i + 2) % 4]);
#pragma unroll 1
      for (int first = 0; first < kQueries; first += kStep) {
        const KeyTileQueries<kQueries>& these = walk[i % 4].queries;
        // None of the warp's keys is seen.
        if (first >= these.count() || warp_row - these.shift - first >= kStep || warp_row >= these.high ||
            warp_row + kWarpRows <= these.low) {
          continue;
        }
        const bf16* const q = stages + i % 2 * Tiles::stage + first * kDims;
        const bf16* const grad_out = q + kQueries * kDims;
        float score[kStep / 8][4] = {};
        float gradient[kStep / 8][4] = {};
        multiply_along<kDims, kStep>(score, places, left_keys, q);
        multiply_along<kDims, kStep>(gradient, places, left_values, grad_out);
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n) {
          const float* const at = numbers + i % 2 * Tiles::numbers + first + n * 8 + lane % 4 * 2;
          const float2 lse = ld(reinterpret_cast<const float2*>(at));
          const float2 delta = ld(reinterpret_cast<const float2*>(at + kQueries));
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            score[n][e] = __expf(fmaf(score[n][e], a.scale, e % 2 == 0 ? -lse.x : -lse.y));
            gradient[n][e] = score[n][e] * (gradient[n][e] - (e % 2 == 0 ? delta.x : delta.y));
          }
        }
        const int seeing = these.count() - first;
        const int ahead = these.shift + first;
        if (seeing < kStep || warp_row + kWarpRows - 1 > ahead || warp_row < these.low ||
            warp_row + kWarpRows > these.high) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int r = warp_row + half * 8 + lane / 4;
            // The queries that see the row.
            const int begin = r - ahead;
            const int end = r >= these.low && r < these.high ? seeing : 0;
#pragma unroll
            for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
              for (int e = 0; e < 2; ++e) {
                const int query = n * 8 + lane % 4 * 2 + e;
                if (query >= begin && query < end) continue;
                score[n][half * 2 + e] = 0.0f;
                gradient[n][half * 2 + e] = 0.0f;
              }
            }
          }
        }
        uint32_t left[kStep / 16][4];
        round_left<kStep>(left, score);
        multiply_across<kDims, kStep, kColumns>(value_sums, places, left, grad_out, first_column);
        round_left<kStep>(left, gradient);
        multiply_across<kDims, kStep, kColumns>(key_sums, places, left, q, first_column);
      }
    }
    __syncthreads();
    bf16* const mine = stages + thread / 32 * kWarpRows * kColumns;
    const int row = tile->keys.start + tile->begin + warp_row;
    const int rows = tile->count - warp_row;
    const int64_t column = int64_t{tile->group} * a.dim + first_column;
    const int columns = a.dim - first_column;
    store_sums<kColumns>(value_sums, 1.0f, mine, columns, a.wide_out,
                         [&](int i) { return i < rows ? a.grad_v.at(row + i, column) : nullptr; });
    store_sums<kColumns>(key_sums, a.scale, mine, columns, a.wide_out,
                         [&](int i) { return i < rows ? a.grad_k.at(row + i, column) : nullptr; });
  }
}

// ---- launching

template <int dims>
static void launch_dims(const Bf16Backward& a, unsigned query_blocks, unsigned key_blocks, cudaStream_t stream) {
  constexpr int64_t kMostBlocks = 1 << 20;
  const int64_t rows = kDeltaThreads / (dims / 8);
  const int64_t blocks = (a.plan.tokens * a.heads + rows - 1) / rows;
  const dim3 delta_blocks(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks));
  launch<attention_delta_bf16_kernel<dims>>(Launch(delta_blocks, dim3(kDeltaThreads), 0, stream), a);
  using Queries = QueryTiles<dims>;
  launch<attention_backward_bf16_queries_kernel<Queries>>(
      Launch(dim3(query_blocks), dim3(Queries::threads), Queries::bytes, stream), a);
  using Keys = KeyTiles<dims>;
  launch<attention_backward_bf16_keys_kernel<Keys>>(Launch(dim3(key_blocks), dim3(Keys::threads), Keys::bytes, stream),
                                                    a);
}

void launch_bf16_backward(const Bf16Backward& a, unsigned query_blocks, unsigned key_blocks, cudaStream_t stream) {
  if (a.dim <= 64) return launch_dims<64>(a, query_blocks, key_blocks, stream);
  if (a.dim <= 128) return launch_dims<128>(a, query_blocks, key_blocks, stream);
  launch_dims<256>(a, query_blocks, key_blocks, stream);
}

void attention_backward_bf16(Context& context, const AttentionPlan& plan, const Heads& heads, unsigned query_blocks,
                             unsigned key_blocks, const Tensor& grad_out, const Tensor& q, const Tensor& k,
                             const Tensor& v, const Tensor& out, const Tensor& lse, double scale, const Tensor& grad_q,
                             const Tensor& grad_k, const Tensor& grad_v) {
  LUFFY_CHECK(plan.tokens <= 0x7fffffff, "attention: expected at most 2147483647 rows of bfloat16, got %" PRId64,
              plan.tokens);
  Bf16Backward a = {};
  set_attention_inputs(a, plan, heads, q, k, v, out, lse, scale);
  set_attention_gradients(context, a, grad_out, grad_q, grad_k, grad_v);
  const auto wide = [&](const Tensor& t) {
    return heads.dim % 8 == 0 && reinterpret_cast<uintptr_t>(t.data) % 16 == 0 &&
           (t.row_stride % 8 == 0 || t.shape[0] <= 1);
  };
  a.wide_in = wide(q) && wide(k) && wide(v) && wide(grad_out);
  a.wide_delta = wide(grad_out) && wide(out);
  a.wide_out = wide(grad_q) && wide(grad_k) && wide(grad_v);
  launch_bf16_backward(a, query_blocks, key_blocks, static_cast<cudaStream_t>(context.stream));
}

}  // namespace cuda
}  // namespace luffy
