// attention on CUDA, forward and backward. See attention.h; the arithmetic of a block is in attention-block.cuh.
//
// Bound by float32 multiply-adds: 2 products of 64 x 64 x D per pair of tiles forward, 7 backward (dQ by tiles of
// queries, dK and dV by tiles of keys; scores are made again in both, so that no gradient needs atomics). Tiles of 64
// rows pass through shared memory in slices of 64 dimensions, the next one on its way while one is multiplied; memory
// and registers hold no more of a slice whatever D is.
//
// gradK and gradV are summed per query head: own queries first, then those of the sequences that share the rows, in
// ascending order. With several query heads per key/value head these sums go to scratch (2 T H D floats) and are added
// head by head.
#include <type_traits>

#include "attention-backward-bf16.cuh"
#include "attention-backward.cuh"
#include "attention-bf16.cuh"
#include "attention-block.cuh"
#include "attention-heads.h"
#include "attention-operands.cuh"

namespace luffy {
namespace cuda {

constexpr int64_t kAttentionMostBlocks = 1 << 30;

// ---- forward: a row of the tile has 16 lanes of 4 keys, a lane 8 rows (4 where a head has four slices), 2 apart.

HOST_DEV constexpr int forward_rows(int slices) { return slices <= 2 ? 8 : 4; }
HOST_DEV constexpr int forward_threads(int slices) { return kAttentionBlock / forward_rows(slices) * 16; }

// Tiles in shared memory: queries (while they fit; else a slice comes with each slice of keys), two buffers, weights.
HOST_DEV constexpr bool holds_queries(int slices) { return slices <= 2; }
HOST_DEV constexpr int forward_tiles(int slices) { return holds_queries(slices) ? slices + 3 : 5; }

// A row from block to block, in shared memory: two of each row, written and read in turn.
struct ForwardState {
  float largest, total, old_factor, new_factor;
};
constexpr int kForwardStates = 2 * kAttentionBlock;

// Scores become weights of the warp's rows in shared memory, and the block's largest and total join the rows' state.
// weights, old_state, new_state: at the thread's first row.
template <int rows>
DEV void forward_weights(float (&score)[rows][4], float* weights, const ForwardState* old_state,
                         ForwardState* new_state, float scale, bool diagonal, int first_row) {
  const int lane = static_cast<int>(threadIdx.x) % 16;
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    const int visible = diagonal ? first_row + 2 * i + 1 : kAttentionBlock;
    float top = kLowestScore;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      score[i][j] = attention_score(score[i][j], scale);
      if (lane + 16 * j < visible) top = fmaxf(top, score[i][j]);
    }
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2) top = fmaxf(top, __shfl_xor_sync(kFullWarp, top, lanes));
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      score[i][j] = lane + 16 * j < visible ? attention_weight(score[i][j], top) : 0.0f;
      weights[2 * i * kTileStride + lane + 16 * j] = score[i][j];
    }
    float total = __fadd_rn(__fadd_rn(score[i][0], score[i][2]), __fadd_rn(score[i][1], score[i][3]));
#pragma unroll
    for (int lanes = 8; lanes > 0; lanes /= 2) total = __fadd_rn(total, __shfl_xor_sync(kFullWarp, total, lanes));
    if (lane != 0) continue;
    const Merge merge = merge_of(old_state[2 * i].largest, top);
    new_state[2 * i] = {merge.largest, merged(old_state[2 * i].total, total, merge.old_factor, merge.new_factor),
                        merge.old_factor, merge.new_factor};
  }
  __syncwarp();
}

template <int slices, bool wide>
KERNEL(forward_threads(slices), slices == 1   ? 3
                                : slices == 2 ? 2
                                              : 1)
attention_forward_kernel(AttentionArguments a) {
  SHARED_DYN(float, memory);
  constexpr int kRows = forward_rows(slices);
  constexpr int kThreads = forward_threads(slices);
  constexpr bool held = holds_queries(slices);
  constexpr int kBuffer = held ? kTileFloats : 2 * kTileFloats;
  float* const queries = memory;
  float* const buffers = memory + (held ? slices * kTileFloats : 0);
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 16;
  const int first_row = thread / 32 * (2 * kRows) + thread % 32 / 16;
  float* const weights = buffers + 2 * kBuffer + first_row * kTileStride;
  ForwardState* const states = reinterpret_cast<ForwardState*>(buffers + 2 * kBuffer + kTileFloats) + first_row;

  const int64_t units = a.plan.query_tiles[a.plan.count] * a.heads;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int head = static_cast<int>(unit % a.heads);
    const int group = head / a.per_group;
    const QueryTile t = query_tile(a.plan, unit / a.heads);
    if (t.s.wrong != 0) {
      const int64_t row = t.s.row(t.base + t.low);
      spoil_rows(a.plan, t.sequence, a.out, row, t.high - t.low, int64_t{head} * a.dim, a.dim);
      if (a.lse != nullptr) spoil_rows(a.plan, t.sequence, HeadRows{a.lse, a.heads}, row, t.high - t.low, head, 1);
      continue;
    }
    // Steps of a block: its slices of keys, then those of values.
    const auto fetch = [&](int64_t block, int step, float* to) {
      const bool second = step >= slices;
      load_keys<kThreads, wide>(to, t, second ? a.v : a.k, group, a.dim, block, second ? step - slices : step);
      if (!held && !second) load_queries<kThreads, wide>(to + kTileFloats, t, a.q, head, a.dim, step);
      cp_async_commit();
    };
    // Where the step's slice is, the next one on its way.
    int current = 0;
    const auto arrive = [&](int64_t block, int step) {
      cp_async_wait<0>();
      __syncthreads();
      float* const buffer = buffers + current * kBuffer;
      current ^= 1;
      const bool ends = step + 1 == 2 * slices;
      if (!ends || block + 1 < t.blocks)
        fetch(ends ? block + 1 : block, ends ? 0 : step + 1, buffers + current * kBuffer);
      return buffer;
    };
    __syncthreads();  // the tile before is done
    if (held) {
#pragma unroll
      for (int c = 0; c < slices; ++c) {
        load_queries<kThreads, wide>(queries + c * kTileFloats, t, a.q, head, a.dim, c);
      }
    }
    fetch(0, 0, buffers);

    float sums[slices][kRows][4] = {};
    ForwardState* state = states;
    if (lane == 0) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) state[2 * i] = {kLowestScore, 0.0f, 1.0f, 1.0f};
    }
    for (int64_t block = 0; block < t.blocks; ++block) {
      const bool diagonal = block + 1 == t.blocks;
      float score[kRows][4] = {};
#pragma unroll 1
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(block, slice);
        const float* q = (held ? queries + slice * kTileFloats : buffer + kTileFloats) + first_row * kTileStride;
        const int width = min(a.dim - slice * kAttentionBlock, kAttentionBlock);
        multiply_rows<kRows, 2>(score, q, buffer + lane * kTileStride, width);
      }
      ForwardState* const next_state = states + (block % 2 == 0 ? kAttentionBlock : 0);
      forward_weights(score, weights, state, next_state, a.scale, diagonal, first_row);
      state = next_state;
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(block, slices + slice) + lane * 4;
        if (slice * kAttentionBlock + lane * 4 >= a.dim) continue;
        float sum[kRows][4] = {};
        if (diagonal) {
          multiply_columns<kRows, 2, true>(sum, weights, buffer, t.high, first_row + 1);
        } else {
          multiply_columns<kRows, 2, false>(sum, weights, buffer, kAttentionBlock, 0);
        }
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          const float old_factor = state[2 * i].old_factor;
          const float new_factor = state[2 * i].new_factor;
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            sums[slice][i][c] = merged(sums[slice][i][c], sum[i][c], old_factor, new_factor);
          }
        }
      }
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int r = first_row + 2 * i;
      if (r < t.low || r >= t.high) continue;
      const int64_t row = t.s.row(t.base + r);
      const float inverse = attention_inverse(state[2 * i].total);
      float* const out = a.out.at(row, int64_t{head} * a.dim);
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        Pack<float> x;
#pragma unroll
        for (int c = 0; c < 4; ++c) x.at[c] = __fmul_rn(sums[slice][i][c], inverse);
        store_columns<wide>(out, x, slice * kAttentionBlock + lane * 4, a.dim);
      }
      if (lane == 0 && a.lse != nullptr)
        st(a.lse + row * a.heads + head, state[2 * i].largest + logf(state[2 * i].total));
    }
  }
}

// ---- launching

static bool is_attention_wide(const Tensor& t) {
  return reinterpret_cast<uintptr_t>(t.data) % 16 == 0 && (t.row_stride % 4 == 0 || t.shape[0] <= 1);
}

// Has the device read the table.
static AttentionPlan make_attention_plan(Context& context, const Tensor& sequences, int64_t tokens) {
  AttentionPlan plan;
  plan.tokens = tokens;
  plan.count = sequences.shape[0];
  plan.table = sequences.i32();
  plan.sequences = context.scratch<PlannedSequence>(plan.count);
  plan.owner = context.scratch<int32_t>(tokens);
  plan.root = context.scratch<int32_t>(plan.count);
  plan.first_sharer = context.scratch<int32_t>(plan.count);
  plan.last_sharer = context.scratch<int32_t>(plan.count);
  plan.next_sharer = context.scratch<int32_t>(plan.count);
  plan.query_tiles = context.scratch<int64_t>(plan.count + 1);
  plan.key_tiles = context.scratch<int64_t>(plan.count + 1);
  launch<attention_plan_kernel<kPlanThreads>>(
      Launch(dim3(1), dim3(kPlanThreads), 0, static_cast<cudaStream_t>(context.stream)), plan,
      context.fault_sink(FaultOp::attention));
  return plan;
}

// Blocks of threads for the tiles of a table whose own ranges are disjoint; any number would do.
static unsigned attention_blocks(const AttentionPlan& plan, int64_t per_tile) {
  int64_t tiles = plan.tokens / kAttentionBlock + 2 * plan.count;
  if (tiles > plan.tokens) tiles = plan.tokens;
  const int64_t blocks = tiles * per_tile;
  return static_cast<unsigned>(blocks < 1 ? 1 : blocks < kAttentionMostBlocks ? blocks : kAttentionMostBlocks);
}

template <int slices, bool wide>
static void launch_forward(const AttentionArguments& a, cudaStream_t stream) {
  const size_t bytes = sizeof(float) * forward_tiles(slices) * kTileFloats + sizeof(ForwardState) * kForwardStates;
  launch<attention_forward_kernel<slices, wide>>(
      Launch(dim3(attention_blocks(a.plan, a.heads)), dim3(forward_threads(slices)), bytes, stream), a);
}

// launch(slices, wide) as compile-time constants.
template <class Body>
static void with_slices(int dim, bool wide, Body&& body) {
  const auto run = [&](auto slices) {
    if (wide) {
      body(slices, std::true_type());
    } else {
      body(slices, std::false_type());
    }
  };
  if (dim <= 64) return run(std::integral_constant<int, 1>());
  if (dim <= 128) return run(std::integral_constant<int, 2>());
  run(std::integral_constant<int, 4>());
}

void attention_forward(Context& context, Tensor q, Tensor k, Tensor v, Tensor sequences, double scale, Tensor out,
                       Tensor lse) {
  const DType dtype = q && q.dtype == DType::bf16 ? DType::bf16 : DType::f32;
  const Heads heads = read_heads(q, k, v, lse, dtype);
  check_heads("out", out, heads.tokens, heads.queries, heads.dim, dtype);
  check_matrix("attention", "sequences", sequences, DType::i32, -1, 4);
  if (heads.tokens == 0 || sequences.shape[0] == 0) return;
  if (dtype == DType::bf16) {
    HalfAttention half = {};
    half.plan = make_attention_plan(context, sequences, heads.tokens);
    half.q = half_matrix(q, heads.dim);
    half.k = half_matrix(k, heads.dim);
    half.v = half_matrix(v, heads.dim);
    half.out = half_matrix(out, heads.dim);
    half.lse = lse ? lse.f32() : nullptr;
    half.heads = heads.queries;
    half.per_group = heads.per_group;
    half.dim = heads.dim;
    return launch_attention_forward_bf16(half, scale, attention_blocks(half.plan, half.heads),
                                         static_cast<cudaStream_t>(context.stream));
  }
  AttentionArguments a = {};
  set_attention_inputs(a, make_attention_plan(context, sequences, heads.tokens), heads, q, k, v, out, lse, scale);
  const bool wide =
      a.dim % 4 == 0 && is_attention_wide(q) && is_attention_wide(k) && is_attention_wide(v) && is_attention_wide(out);
  with_slices(a.dim, wide, [&](auto slices, auto is_wide) {
    launch_forward<decltype(slices)::value, decltype(is_wide)::value>(a, static_cast<cudaStream_t>(context.stream));
  });
}

template <int slices, bool wide>
static void launch_backward(const AttentionArguments& a, cudaStream_t stream) {
  const size_t bytes = sizeof(float) * kBackwardTiles * kTileFloats;
  const Launch how(dim3(attention_blocks(a.plan, a.heads)), dim3(kBackwardThreads), bytes, stream);
  launch<attention_backward_queries_kernel<slices, wide>>(how, a);
  launch<attention_backward_keys_kernel<slices, wide>>(how, a);
}

void attention_backward(Context& context, Tensor grad_out, Tensor q, Tensor k, Tensor v, Tensor out, Tensor lse,
                        Tensor sequences, double scale, Tensor grad_q, Tensor grad_k, Tensor grad_v) {
  LUFFY_CHECK(lse, "attention: lse is missing");
  const DType dtype = q.dtype == DType::bf16 ? DType::bf16 : DType::f32;
  const Heads heads = read_heads(q, k, v, lse, dtype);
  check_heads("gradOut", grad_out, heads.tokens, heads.queries, heads.dim, dtype);
  check_heads("out", out, heads.tokens, heads.queries, heads.dim, dtype);
  check_heads("gradQ", grad_q, heads.tokens, heads.queries, heads.dim, dtype);
  check_heads("gradK", grad_k, heads.tokens, heads.keys, heads.dim, dtype);
  check_heads("gradV", grad_v, heads.tokens, heads.keys, heads.dim, dtype);
  check_matrix("attention", "sequences", sequences, DType::i32, -1, 4);
  if (heads.tokens == 0 || sequences.shape[0] == 0) return;
  if (dtype == DType::bf16) {
    const AttentionPlan plan = make_attention_plan(context, sequences, heads.tokens);
    return attention_backward_bf16(context, plan, heads, attention_blocks(plan, heads.queries),
                                   attention_blocks(plan, heads.keys), grad_out, q, k, v, out, lse, scale, grad_q,
                                   grad_k, grad_v);
  }
  AttentionArguments a = {};
  set_attention_inputs(a, make_attention_plan(context, sequences, heads.tokens), heads, q, k, v, out, lse, scale);
  set_attention_gradients(context, a, grad_out, grad_q, grad_k, grad_v);
  const auto stream = static_cast<cudaStream_t>(context.stream);
  const int64_t width = int64_t{heads.queries} * heads.dim;
  if (a.per_group > 1) {
    // Sums of every query head by itself.
    a.grad_k = {context.scratch<float>(heads.tokens * width), width};
    a.grad_v = {context.scratch<float>(heads.tokens * width), width};
  }
  const auto blocks = [](int64_t threads) {
    const int64_t count = (threads + kBackwardThreads - 1) / kBackwardThreads;
    return dim3(static_cast<unsigned>(count < kAttentionMostBlocks ? count : kAttentionMostBlocks));
  };
  launch<attention_delta_kernel>(Launch(blocks(heads.tokens * heads.queries * 32), dim3(kBackwardThreads), 0, stream),
                                 a);
  const bool wide = a.dim % 4 == 0 && is_attention_wide(q) && is_attention_wide(k) && is_attention_wide(v) &&
                    is_attention_wide(grad_out) && is_attention_wide(grad_q) && is_attention_wide(grad_k) &&
                    is_attention_wide(grad_v);
  with_slices(a.dim, wide, [&](auto slices, auto is_wide) {
    launch_backward<decltype(slices)::value, decltype(is_wide)::value>(a, stream);
  });
  if (a.per_group > 1) {
    const Launch how(blocks(heads.tokens * heads.keys * heads.dim), dim3(kBackwardThreads), 0, stream);
    launch<attention_add_heads_kernel>(how, a, head_rows<float>(grad_k), head_rows<float>(grad_v));
  }
}

}  // namespace cuda
}  // namespace luffy
