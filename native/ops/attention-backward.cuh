// attention-backward: gradQ by tiles of queries, gradK and gradV by tiles of keys. Private to attention.cu; what the
// kernels are bound by stands at its head.
//
// 256 threads hold a tile of 64 x 64: rows y + 16 i, columns x + 16 j of scores, or four neighbouring columns of a slice.
// Shared memory: two buffers, each of a slice of queries and one of keys, and a tile of weights or of their gradients.
#pragma once

#include "attention-block.cuh"
#include "attention-key-queries.cuh"
#include "attention-operands.cuh"

namespace luffy {
namespace cuda {

constexpr int kBackwardThreads = 256;
constexpr int kBackwardTiles = 5;

// A warp has 4 x 8 threads of the tile's 16 x 16, so that its loads meet no bank twice.
DEV int tile_x() {
  const int thread = static_cast<int>(threadIdx.x);
  return thread / 32 % 2 * 8 + thread % 8;
}
DEV int tile_y() {
  const int thread = static_cast<int>(threadIdx.x);
  return thread / 64 * 4 + thread % 32 / 8;
}

// delta[t, h] = sum over d of gradOut * out; a warp each.
KERNEL(kBackwardThreads)
attention_delta_kernel(AttentionArguments a) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t step = int64_t{gridDim.x} * (kBackwardThreads / 32);
  for (int64_t i = int64_t{blockIdx.x} * (kBackwardThreads / 32) + threadIdx.x / 32; i < a.plan.tokens * a.heads;
       i += step) {
    const int64_t row = i / a.heads;
    if (a.plan.owner[row] < 0) continue;
    const int64_t column = i % a.heads * a.dim;
    float sum = 0.0f;
    for (int d = lane; d < a.dim; d += 32) {
      sum = fmaf(ld(a.grad_out.at(row, column + d)), ld(a.out.at(row, column + d)), sum);
    }
    sum = warp_sum(sum);
    if (lane == 0) st(a.delta + i, sum);
  }
}

// d loss / d score, times scale.
DEV float score_gradient(float weight, float weight_gradient, float delta, float scale) {
  return __fmul_rn(__fmul_rn(weight, __fadd_rn(weight_gradient, -delta)), scale);
}

template <int slices, bool wide>
KERNEL(kBackwardThreads, 1)
attention_backward_queries_kernel(AttentionArguments a) {
  SHARED_DYN(float, memory);
  constexpr int kBuffer = 2 * kTileFloats;
  float* const gradients = memory + 2 * kBuffer;
  const int x = tile_x();
  const int y = tile_y();

  const int64_t units = a.plan.query_tiles[a.plan.count] * a.heads;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int head = static_cast<int>(unit % a.heads);
    const int group = head / a.per_group;
    const QueryTile t = query_tile(a.plan, unit / a.heads);
    if (t.s.wrong != 0) {
      spoil_rows(a.plan, t.sequence, a.grad_q, t.s.row(t.base + t.low), t.high - t.low, int64_t{head} * a.dim, a.dim);
      continue;
    }
    // Steps of a block: slices of q and k, of gradOut and v, and of k again.
    const auto fetch = [&](int64_t block, int step, float* to) {
      const int slice = step % slices;
      const bool second = step / slices == 1;
      load_keys<kBackwardThreads, wide>(to, t, second ? a.v : a.k, group, a.dim, block, slice);
      if (step < 2 * slices) {
        load_queries<kBackwardThreads, wide>(to + kTileFloats, t, second ? a.grad_out : a.q, head, a.dim, slice);
      }
      cp_async_commit();
    };
    // Where the step's slices are, the next ones on their way.
    int current = 0;
    const auto arrive = [&](int64_t block, int step) {
      cp_async_wait<0>();
      __syncthreads();
      float* const buffer = memory + current * kBuffer;
      current ^= 1;
      const bool ends = step + 1 == 3 * slices;
      if (!ends || block + 1 < t.blocks)
        fetch(ends ? block + 1 : block, ends ? 0 : step + 1, memory + current * kBuffer);
      return buffer;
    };
    __syncthreads();  // the tile before is done
    fetch(0, 0, memory);
    float sums[slices][4][4] = {};
    for (int64_t block = 0; block < t.blocks; ++block) {
      const bool diagonal = block + 1 == t.blocks;
      float score[4][4] = {};
      float gradient[4][4] = {};
#pragma unroll 1
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(block, slice);
        multiply_rows<4, 16>(score, buffer + kTileFloats + y * kTileStride, buffer + x * kTileStride,
                             min(a.dim - slice * kAttentionBlock, kAttentionBlock));
      }
#pragma unroll 1
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(block, slices + slice);
        multiply_rows<4, 16>(gradient, buffer + kTileFloats + y * kTileStride, buffer + x * kTileStride,
                             min(a.dim - slice * kAttentionBlock, kAttentionBlock));
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = y + 16 * i;
        const bool own = r >= t.low && r < t.high;
        const int64_t at = t.s.row(t.base + (own ? r : t.low)) * a.heads + head;
        const float lse = ld(a.lse + at);
        const float delta = ld(a.delta + at);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const bool seen = !diagonal || x + 16 * j <= r;
          const float weight = attention_weight(attention_score(score[i][j], a.scale), lse);
          const float result = score_gradient(weight, gradient[i][j], delta, a.scale);
          gradients[(y + 16 * i) * kTileStride + x + 16 * j] = seen ? result : 0.0f;
        }
      }
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(block, 2 * slices + slice) + x * 4;
        if (slice * kAttentionBlock + x * 4 >= a.dim) continue;
        if (diagonal) {
          multiply_columns<4, 16, true>(sums[slice], gradients + y * kTileStride, buffer, t.high, y + 1);
        } else {
          multiply_columns<4, 16, false>(sums[slice], gradients + y * kTileStride, buffer, kAttentionBlock, 0);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = y + 16 * i;
      if (r < t.low || r >= t.high) continue;
      float* const to = a.grad_q.at(t.s.row(t.base + r), int64_t{head} * a.dim);
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        Pack<float> result;
#pragma unroll
        for (int c = 0; c < 4; ++c) result.at[c] = sums[slice][i][c];
        store_columns<wide>(to, result, slice * kAttentionBlock + x * 4, a.dim);
      }
    }
  }
}

template <int slices, bool wide>
KERNEL(kBackwardThreads, 1)
attention_backward_keys_kernel(AttentionArguments a) {
  SHARED_DYN(float, memory);
  constexpr int kBuffer = 2 * kTileFloats;
  float* const weights = memory + 2 * kBuffer;  // then their gradients: [query][key]
  const int x = tile_x();
  const int y = tile_y();

  const int64_t units = a.plan.key_tiles[a.plan.count] * a.heads;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    const int head = static_cast<int>(unit % a.heads);
    const int group = head / a.per_group;
    const int32_t owner = sequence_of_tile(a.plan.key_tiles, a.plan.count, unit / a.heads);
    const PlannedSequence keys = a.plan.sequences[owner];
    const int64_t key = (unit / a.heads - a.plan.key_tiles[owner]) * kAttentionBlock;
    const int count = static_cast<int>(min(keys.length - key, int64_t{kAttentionBlock}));
    const int64_t column = int64_t{head} * a.dim;
    if (keys.wrong != 0) {
      spoil_rows(a.plan, owner, a.grad_k, keys.start + key, count, column, a.dim);
      spoil_rows(a.plan, owner, a.grad_v, keys.start + key, count, column, a.dim);
      continue;
    }
    // Steps of a tile of queries: slices of k and q, of v and gradOut, of gradOut, and of q.
    const auto fetch = [&](const KeyTileQueries<kAttentionBlock>& q, int step, float* to) {
      const int slice = step % slices;
      const int product = step / slices;
      const int width = min(a.dim - slice * kAttentionBlock, kAttentionBlock);
      if (product < 2) {
        const HeadRows& from = product == 0 ? a.k : a.v;
        const int64_t at = int64_t{group} * a.dim + slice * kAttentionBlock;
        load_tile<kBackwardThreads, wide>(
            to, width, from.data, [&](int r) { return r < count ? from.at(keys.start + key + r, at) : nullptr; });
      }
      const HeadRows& from = product == 0 || product == 3 ? a.q : a.grad_out;
      const int queries = q.count();
      load_tile<kBackwardThreads, wide>(to + kTileFloats, width, from.data, [&](int r) {
        return r < queries ? from.at(q.s.start + q.begin + r, column + slice * kAttentionBlock) : nullptr;
      });
      cp_async_commit();
    };
    __syncthreads();  // the tile before is done
    KeyTileQueries<kAttentionBlock> q;
    bool more = find_queries(a.plan, owner, keys, key, count, owner, q);
    fetch(q, 0, memory);
    float key_sums[slices][4][4] = {};
    float value_sums[slices][4][4] = {};
    int current = 0;
    while (more) {
      const KeyTileQueries<kAttentionBlock> now = q;
      more = next_queries(a.plan, owner, keys, key, count, q);
      const int queries = now.count();
      const bool whole = now.shift >= kAttentionBlock && now.low == 0 && now.high == count;
      int first[4];
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int at = y * 4 + r;
        first[r] = at >= now.low && at < now.high ? at - now.shift : kAttentionBlock;
      }
      // Where the step's slices are, the next ones on their way.
      const auto arrive = [&](int step) {
        cp_async_wait<0>();
        __syncthreads();
        float* const buffer = memory + current * kBuffer;
        current ^= 1;
        const bool ends = step + 1 == 4 * slices;
        if (!ends || more) fetch(ends ? q : now, ends ? 0 : step + 1, memory + current * kBuffer);
        return buffer;
      };
      const auto add_products = [&](float(&sums)[4][4], const float* buffer, int slice) {
        if (slice * kAttentionBlock + x * 4 >= a.dim) return;
        if (whole) {
          multiply_transposed<false>(sums, weights + y * 4, buffer + kTileFloats + x * 4, queries, first);
        } else {
          multiply_transposed<true>(sums, weights + y * 4, buffer + kTileFloats + x * 4, queries, first);
        }
      };
      float score[4][4] = {};
      float gradient[4][4] = {};
#pragma unroll 1
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(slice);
        multiply_rows<4, 16>(score, buffer + kTileFloats + y * kTileStride, buffer + x * kTileStride,
                             min(a.dim - slice * kAttentionBlock, kAttentionBlock));
      }
#pragma unroll 1
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(slices + slice);
        multiply_rows<4, 16>(gradient, buffer + kTileFloats + y * kTileStride, buffer + x * kTileStride,
                             min(a.dim - slice * kAttentionBlock, kAttentionBlock));
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int r = y + 16 * i;
        const bool own = r < queries;
        const int64_t at = (now.s.start + now.begin + (own ? r : 0)) * a.heads + head;
        const float lse = ld(a.lse + at);
        const float delta = ld(a.delta + at);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int c = x + 16 * j;
          const bool seen = own && c >= now.low && c < now.high && c - now.shift <= r;
          const float weight = attention_weight(attention_score(score[i][j], a.scale), lse);
          gradient[i][j] = seen ? score_gradient(weight, gradient[i][j], delta, a.scale) : 0.0f;
          weights[r * kTileStride + c] = seen ? weight : 0.0f;
        }
      }
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        add_products(value_sums[slice], arrive(2 * slices + slice), slice);
      }
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        const float* buffer = arrive(3 * slices + slice);
        if (slice == 0) {
          // Everyone has used the weights.
#pragma unroll
          for (int i = 0; i < 4; ++i) {
#pragma unroll
            for (int j = 0; j < 4; ++j) weights[(y + 16 * i) * kTileStride + x + 16 * j] = gradient[i][j];
          }
          __syncthreads();
        }
        add_products(key_sums[slice], buffer, slice);
      }
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      if (y * 4 + r >= count) continue;
      const int64_t row = keys.start + key + y * 4 + r;
#pragma unroll
      for (int slice = 0; slice < slices; ++slice) {
        Pack<float> for_key, for_value;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          for_key.at[c] = key_sums[slice][r][c];
          for_value.at[c] = value_sums[slice][r][c];
        }
        store_columns<wide>(a.grad_k.at(row, column), for_key, slice * kAttentionBlock + x * 4, a.dim);
        store_columns<wide>(a.grad_v.at(row, column), for_value, slice * kAttentionBlock + x * 4, a.dim);
      }
    }
  }
}

// Sums of the query heads of each key/value head, ascending: a.grad_k and a.grad_v hold them head by head.
KERNEL(kBackwardThreads)
attention_add_heads_kernel(AttentionArguments a, HeadRows grad_k, HeadRows grad_v) {
  const int64_t columns = int64_t{a.heads} / a.per_group * a.dim;
  const int64_t step = int64_t{gridDim.x} * kBackwardThreads;
  for (int64_t i = int64_t{blockIdx.x} * kBackwardThreads + threadIdx.x; i < a.plan.tokens * columns; i += step) {
    const int64_t row = i / columns;
    const int64_t column = i % columns;
    if (a.plan.owner[row] < 0) continue;
    const int64_t first = column / a.dim * a.per_group * a.dim + column % a.dim;
    float key = ld(a.grad_k.at(row, first));
    float value = ld(a.grad_v.at(row, first));
    for (int h = 1; h < a.per_group; ++h) {
      key += ld(a.grad_k.at(row, first + int64_t{h} * a.dim));
      value += ld(a.grad_v.at(row, first + int64_t{h} * a.dim));
    }
    st(grad_k.at(row, column), key);
    st(grad_v.at(row, column), value);
  }
}

}  // namespace cuda
}  // namespace luffy
