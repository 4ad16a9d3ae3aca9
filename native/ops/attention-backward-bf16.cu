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

template <class Tiles>
KERNEL(Tiles::threads, Tiles::resident)
attention_backward_bf16_queries_kernel(Bf16Backward a) {
  SHARED_DYN(bf16, memory);
  constexpr int kDims = Tiles::dims;
  constexpr int kKeys = Tiles::keys;
  constexpr int kStep = Tiles::step;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp_row = static_cast<int>(threadIdx.x) / 32 * kWarpRows;
  const LanePlaces<kDims> places;
  bf16* const own = memory + (Tiles::kept ? 1 : 2) * Tiles::stage;

  const int64_t units = a.plan.query_tiles[a.plan.count] * a.heads;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int head = static_cast<int>(unit % a.heads);
    const int64_t column = int64_t{head} * a.dim;
    const int64_t key_column = int64_t{head / a.per_group} * a.dim;
    const QueryTile t = query_tile(a.plan, unit / a.heads);
    if (t.s.wrong != 0) {
      spoil(a.plan, t.sequence, a.grad_q, t.s.row(t.base + t.low), t.high - t.low, column, a.dim);
      continue;
    }
    const int64_t seen = t.base + t.high;
    const auto blocks = static_cast<int>((seen + kKeys - 1) / kKeys);
    const auto fetch = [&](int block) {
      load_tiles<kKeys, kDims, Tiles::threads>(memory + block % 2 * Tiles::stage, a.k, a.v, key_column, a.dim,
                                               a.wide_in, [&](int r) {
                                                 const int64_t position = int64_t{block} * kKeys + r;
                                                 return position < seen ? t.s.row(position) : int64_t{-1};
                                               });
      cp_async_commit();
    };
    __syncthreads();  // the tile before is done
    load_tiles<kAttentionBlock, kDims, Tiles::threads>(own, a.q, a.grad_out, column, a.dim, a.wide_in, [&](int r) {
      return r >= t.low && r < t.high ? t.s.row(t.base + r) : int64_t{-1};
    });
    fetch(0);
    float lse[2] = {};
    float delta[2] = {};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = warp_row + half * 8 + lane / 4;
      if (r < t.low || r >= t.high) continue;
      const int64_t at = t.s.row(t.base + r) * a.heads + head;
      lse[half] = ld(a.lse + at) * kLog2E;
      delta[half] = ld(a.delta + at);
    }
    cp_async_wait<0>();
    __syncthreads();
    const LeftRows<kDims, Tiles::kept> q(places, own + warp_row * kDims);
    const LeftRows<kDims, Tiles::kept> grad_out(places, own + (kAttentionBlock + warp_row) * kDims);

    const float scale = a.scale * kLog2E;
    float sums[kDims / 8][4] = {};
    for (int block = 0; block < blocks; ++block) {
      // The barrier says both: this stage is there for all threads, and all have left the other.
      cp_async_wait<0>();
      __syncthreads();
      if (block + 1 < blocks) fetch(block + 1);
      const bf16* const keys = memory + block % 2 * Tiles::stage;
      const int64_t before = t.base - int64_t{block} * kKeys;
#pragma unroll 1
      for (int first = 0; first < kKeys; first += kStep) {
        // Row r sees keys up to r + shift of these.
        const int shift = static_cast<int>(min(before, int64_t{kKeys})) - first;
        if (warp_row + kWarpRows - 1 + shift < 0) break;
        const bf16* const k = keys + first * kDims;
        float score[kStep / 8][4] = {};
        float gradient[kStep / 8][4] = {};
        multiply_along<kDims, kStep>(score, places, q, k);
        multiply_along<kDims, kStep>(gradient, places, grad_out, k + kKeys * kDims);
        const bool whole = warp_row + shift >= kStep - 1;
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int row = warp_row + e / 2 * 8 + lane / 4;
            const int key = n * 8 + lane % 4 * 2 + e % 2;
            const float weight = exp2f(fmaf(score[n][e], scale, -lse[e / 2]));
            gradient[n][e] = whole || key <= row + shift ? weight * (gradient[n][e] - delta[e / 2]) : 0.0f;
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
      return r >= t.low && r < t.high ? a.grad_q.at(t.s.row(t.base + r), column) : nullptr;
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
  static constexpr bool kept = false;
  static constexpr int parts = dims <= 128 ? 1 : 2;
  static constexpr int columns = dims / parts;
  static constexpr int threads = 128 * parts;
  static constexpr int resident = dims <= 64 ? 3 : dims <= 128 ? 2 : 1;
  static constexpr int own = 2 * kAttentionBlock * dims;  // elements: keys, then values
  static constexpr int stage = 2 * queries * dims;        // q, then gradOut
  static constexpr int numbers = 2 * queries;             // lse * log2(e), then delta
  static constexpr int bytes = 2 * (own + 2 * stage) + 4 * 2 * numbers;
  static_assert(threads / 32 * kWarpRows * columns <= 2 * stage && numbers <= threads);
};

template <class Tiles>
KERNEL(Tiles::threads, Tiles::resident)
attention_backward_bf16_keys_kernel(Bf16Backward a) {
  SHARED_DYN(bf16, memory);
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
  const int64_t units = a.plan.key_tiles[a.plan.count] * groups;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int group = static_cast<int>(unit % groups);
    const int32_t owner = sequence_of_tile(a.plan.key_tiles, a.plan.count, unit / groups);
    const PlannedSequence keys = a.plan.sequences[owner];
    const int64_t key = (unit / groups - a.plan.key_tiles[owner]) * kAttentionBlock;
    const int count = static_cast<int>(min(keys.length - key, int64_t{kAttentionBlock}));
    const int64_t column = int64_t{group} * a.dim;
    if (keys.wrong != 0) {
      spoil(a.plan, owner, a.grad_k, keys.start + key, count, column, a.dim);
      spoil(a.plan, owner, a.grad_v, keys.start + key, count, column, a.dim);
      continue;
    }
    const auto fetch = [&](const KeyTileQueries<kQueries>& q, int head, int stage) {
      const int queries = q.count();
      const int64_t begin = q.s.start + q.begin;
      load_tiles<kQueries, kDims, Tiles::threads>(stages + stage * Tiles::stage, a.q, a.grad_out, int64_t{head} * a.dim,
                                                  a.dim, a.wide_in,
                                                  [&](int r) { return r < queries ? begin + r : int64_t{-1}; });
      cp_async_commit();
    };
    // The number of these queries that the thread brings: it is on its way while the stage before is multiplied.
    const auto load_number = [&](const KeyTileQueries<kQueries>& q, int head) {
      const int i = thread % kQueries;
      if (thread >= Tiles::numbers || i >= q.count()) return 0.0f;
      const int64_t at = (q.s.start + q.begin + i) * a.heads + head;
      return thread < kQueries ? ld(a.lse + at) * kLog2E : ld(a.delta + at);
    };
    __syncthreads();  // the tile before is done
    load_tiles<kAttentionBlock, kDims, Tiles::threads>(memory, a.k, a.v, column, a.dim, a.wide_in, [&](int r) {
      return r < count ? keys.start + key + r : int64_t{-1};
    });
    KeyTileQueries<kQueries> next = {};
    int head = group * a.per_group;
    const int heads_end = head + a.per_group;
    find_queries(a.plan, owner, keys, key, count, owner, next);
    fetch(next, head, 0);
    float number = load_number(next, head);

    const float scale = a.scale * kLog2E;
    float key_sums[kColumns / 8][4] = {};
    float value_sums[kColumns / 8][4] = {};
    int stage = 0;
    bool more = true;
    while (more) {
      const int queries = next.count();
      const int low = next.low;
      const int high = next.high;
      const int shift = next.shift;
      more = next_queries(a.plan, owner, keys, key, count, next);
      if (!more && ++head < heads_end) more = find_queries(a.plan, owner, keys, key, count, owner, next);
      float* const now = numbers + stage * Tiles::numbers;
      if (thread < Tiles::numbers) now[thread] = number;
      // The barrier says both: this stage is there for all threads, and all have left the other.
      cp_async_wait<0>();
      __syncthreads();
      const bf16* const tiles = stages + stage * Tiles::stage;
      stage ^= 1;
      if (more) {
        fetch(next, head, stage);
        number = load_number(next, head);
      }
      const LeftRows<kDims, Tiles::kept> left_keys(places, memory + warp_row * kDims);
      const LeftRows<kDims, Tiles::kept> left_values(places, memory + (kAttentionBlock + warp_row) * kDims);
#pragma unroll 1
      for (int first = 0; first < kQueries; first += kStep) {
        const int seeing = queries - first;
        const int ahead = shift + first;
        // None of the warp's keys is seen.
        if (warp_row - ahead >= seeing || warp_row >= high || warp_row + kWarpRows <= low) continue;
        const bf16* const q = tiles + first * kDims;
        const bf16* const grad_out = q + kQueries * kDims;
        float score[kStep / 8][4] = {};
        float gradient[kStep / 8][4] = {};
        multiply_along<kDims, kStep>(score, places, left_keys, q);
        multiply_along<kDims, kStep>(gradient, places, left_values, grad_out);
        const bool whole =
            seeing >= kStep && warp_row + kWarpRows - 1 <= ahead && low <= warp_row && warp_row + kWarpRows <= high;
#pragma unroll
        for (int n = 0; n < kStep / 8; ++n) {
          const float* const at = now + first + n * 8 + lane % 4 * 2;
          const float2 lse = ld(reinterpret_cast<const float2*>(at));
          const float2 delta = ld(reinterpret_cast<const float2*>(at + kQueries));
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const int r = warp_row + e / 2 * 8 + lane / 4;
            const int query = n * 8 + lane % 4 * 2 + e % 2;
            const bool seen = whole || (query < seeing && r >= low && r < high && r - ahead <= query);
            const float weight = exp2f(fmaf(score[n][e], scale, e % 2 == 0 ? -lse.x : -lse.y));
            const float change = gradient[n][e] - (e % 2 == 0 ? delta.x : delta.y);
            score[n][e] = seen ? weight : 0.0f;
            gradient[n][e] = seen ? weight * change : 0.0f;
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
    const auto row_of = [&](const Bf16Rows& to) {
      return [&](int i) {
        return warp_row + i < count ? to.at(keys.start + key + warp_row + i, column + first_column) : nullptr;
      };
    };
    store_sums<kColumns>(value_sums, 1.0f, mine, a.dim - first_column, a.wide_out, row_of(a.grad_v));
    store_sums<kColumns>(key_sums, a.scale, mine, a.dim - first_column, a.wide_out, row_of(a.grad_k));
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

static Bf16Rows bf16_rows(const Tensor& t) { return {static_cast<bf16*>(t.data), t.row_stride}; }

void attention_backward_bf16(Context& context, const AttentionPlan& plan, const Heads& heads, unsigned query_blocks,
                             unsigned key_blocks, const Tensor& grad_out, const Tensor& q, const Tensor& k,
                             const Tensor& v, const Tensor& out, const Tensor& lse, double scale, const Tensor& grad_q,
                             const Tensor& grad_k, const Tensor& grad_v) {
  Bf16Backward a = {};
  a.plan = plan;
  a.q = bf16_rows(q);
  a.k = bf16_rows(k);
  a.v = bf16_rows(v);
  a.out = bf16_rows(out);
  a.grad_out = bf16_rows(grad_out);
  a.grad_q = bf16_rows(grad_q);
  a.grad_k = bf16_rows(grad_k);
  a.grad_v = bf16_rows(grad_v);
  a.lse = lse.f32();
  a.delta = context.scratch<float>(heads.tokens * heads.queries);
  a.heads = heads.queries;
  a.per_group = heads.per_group;
  a.dim = heads.dim;
  a.scale = static_cast<float>(scale);
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
