// attention forward in bfloat16 on CUDA. See attention.h; the arithmetic of a block is in attention-mma.cuh.
//
// A block of threads takes 64 queries of a head, a warp 16 of them (and 128 columns of the values, where a head has more:
// then two warps make the same scores). Tiles of keys and of values come to shared memory in turn by cp.async, a whole
// block of both on its way while one is computed (half a block of more than 128 dimensions). Scores, weights and sums stay
// in registers; a segment's sums are kept apart from those before, since attention-decode computes segments side by side.
//
// Bound by the tensor cores: 2 products of 64 x 64 x D for a pair of tiles; half of the diagonal one is left out.
#include "attention-bf16.cuh"

#include "attention-mma.cuh"

namespace luffy {
namespace cuda {

// By the dimensions that a tile in shared memory has room for: 64, 128 or 256.
template <int width>
struct HalfForward {
  static constexpr int halves = width > 128 ? 2 : 1;
  static constexpr int columns = width / halves;  // of a warp
  static constexpr int parts = columns / 8;
  static constexpr int warps = kBlockChunks * halves;
  static constexpr int threads = 32 * warps;
  static constexpr int stages = width > 128 ? 1 : 2;  // tiles of keys, and of values
  static constexpr int group = width > 128 ? 2 : 4;   // parts whose sums are made side by side
  static constexpr int resident = width == 64 ? 3 : width == 128 ? 2 : 1;
  static constexpr int tile = kAttentionBlock * width;
  static constexpr size_t bytes = sizeof(bf16) * (1 + 2 * stages) * tile;
};

// What a block of threads works on, in shared memory: there are no registers to spare.
struct HalfUnit {
  QueryTile tile;
  int head;
  int64_t query_column, key_column;
};

// Out of a warp's 16 rows, by way of shared memory: eight columns at a time.
template <int width, int parts>
DEV void store_half_rows(const HalfMatrix& out, const QueryTile& t, bf16* rows, const HalfRows<parts>& x, int first_row,
                         int64_t head_column, int first_column, int dim) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float inverse = attention_inverse(x.state.total[i]);
    const int r = lane / 4 + 8 * i;
#pragma unroll
    for (int n = 0; n < parts; ++n) {
      st(reinterpret_cast<uint32_t*>(rows + tile_place<width>(r, first_column / 8 + n) + lane % 4 * 2),
         pack_bf16(__fmul_rn(x.sums[n][2 * i], inverse), __fmul_rn(x.sums[n][2 * i + 1], inverse)));
    }
  }
  __syncwarp();
#pragma unroll 1
  for (int i = lane; i < kChunkKeys * parts; i += 32) {
    const int r = i / parts;
    const int column = first_column + i % parts * 8;
    if (first_row + r < t.low || first_row + r >= t.high || column >= dim) continue;
    bf16* const to = out.at(t.s.row(t.base + first_row + r), head_column + column);
    const Pack<bf16> pack = ld128(rows + tile_place<width>(r, column / 8));
    if (out.aligned) {
      st128(to, pack);
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (column + j < dim) st(to + j, pack.at[j]);
      }
    }
  }
}

template <int width>
KERNEL(HalfForward<width>::threads, HalfForward<width>::resident)
attention_forward_bf16_kernel(HalfAttention a) {
  SHARED_DYN(bf16, queries);
  SHARED(HalfUnit, shared_unit, 1);
  const HalfUnit& u = shared_unit[0];
  const QueryTile& t = u.tile;
  using Shape = HalfForward<width>;
  constexpr int stages = Shape::stages;
  bf16* const keys = queries + Shape::tile;
  bf16* const values = keys + stages * Shape::tile;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int chunk = warp % kBlockChunks;  // of the tile's rows, and of the last key that they see in the last block
  const int first_row = chunk * kChunkKeys;
  const int first_column = warp / kBlockChunks * Shape::columns;
  bf16* const own_queries = queries + first_row * width;

  const int64_t units = a.plan.query_tiles[a.plan.count] * a.heads;
  for (int64_t unit = blockIdx.x; unit < units; unit += gridDim.x) {
    __syncthreads();  // the one before is done
    if (threadIdx.x == 0) {
      const int head = static_cast<int>(unit % a.heads);
      shared_unit[0] = {query_tile(a.plan, unit / a.heads), head, int64_t{head} * a.dim,
                        int64_t{head / a.per_group} * a.dim};
    }
    __syncthreads();
    if (t.s.wrong != 0) {
      for (int64_t i = threadIdx.x; i < int64_t{t.high - t.low} * a.dim; i += Shape::threads) {
        const int64_t row = t.s.row(t.base + t.low + i / a.dim);
        if (a.plan.owner[row] != t.sequence) continue;
        st(a.out.at(row, u.query_column + i % a.dim), from_float<bf16>(__uint_as_float(0x7fc00000u)));
        if (a.lse != nullptr && i % a.dim == 0) st(a.lse + row * a.heads + u.head, __uint_as_float(0x7fc00000u));
      }
      continue;
    }
    const int blocks = static_cast<int>(t.blocks);
    const auto fetch = [&](bf16* tiles, const HalfMatrix& from, int block) {
      if (block < blocks) {
        const int count = block + 1 == blocks ? t.high : kAttentionBlock;
        load_half_tile<Shape::threads, kAttentionBlock, width>(
            tiles + block % stages * Shape::tile, a.dim, from.aligned, from.data, [&](int r) {
              return r < count ? from.at(t.s.row(int64_t{block} * kAttentionBlock + r), u.key_column) : nullptr;
            });
      }
      cp_async_commit();
    };
    load_half_tile<Shape::threads, kAttentionBlock, width>(queries, a.dim, a.q.aligned, a.q.data, [&](int r) {
      return r >= t.low && r < t.high ? a.q.at(t.s.row(t.base + r), u.query_column) : nullptr;
    });
    fetch(keys, a.k, 0);
    if (stages == 2) {
      fetch(values, a.v, 0);
      fetch(keys, a.k, 1);
    }

    HalfRows<Shape::parts> rows;
    HalfRows<Shape::parts> segment;
    rows.clear();
    segment.clear();
    for (int block = 0; block < blocks; ++block) {
      const bool diagonal = block + 1 == blocks;
      const int stage = block % stages * Shape::tile;
      // Each barrier says both: what is waited for is there for all threads, and all have left the tile to be overwritten.
      cp_async_wait<2 * stages - 2>();
      __syncthreads();
      fetch(values, a.v, block + stages - 1);

      float score[kBlockParts][4] = {};
#pragma unroll(width > 128 ? 2 : 8)
      for (int k = 0; k < width; k += 16) {
        if (k >= a.dim) break;
        uint32_t query[4];
        load_query_fragment<width>(query, own_queries, k);
#pragma unroll
        for (int c = 0; c < kBlockChunks; ++c) {
          if (diagonal && c > chunk) break;
          multiply_keys<width>(score[2 * c], score[2 * c + 1], query, keys + stage + c * kChunkKeys * width, k);
        }
      }
      uint32_t weights[kBlockChunks][4];
      const int first = first_row + lane / 4 + 1;
      const HalfState state = diagonal ? weigh_scores<true>(weights, score, a.scale, first, first + 8)
                                       : weigh_scores<false>(weights, score, a.scale, 0, 0);
      const auto factors = segment.join(state);

      cp_async_wait<2 * stages - 2>();
      __syncthreads();
      fetch(keys, a.k, block + stages);
      const bf16* const columns = values + stage + first_column;
#pragma unroll
      for (int part = 0; part < Shape::parts; part += Shape::group) {
        const int left = a.dim - first_column - part * 8;
        float sums[Shape::group][4] = {};
#pragma unroll
        for (int c = 0; c < kBlockChunks; ++c) {
          if (diagonal && c >= chunk) break;
          multiply_values<width, Shape::group, false>(sums, weights[c], columns + c * kChunkKeys * width, part * 8,
                                                      left);
        }
        if (diagonal) {
          uint32_t last[4];
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            last[i] = weights[0][i];
#pragma unroll
            for (int c = 1; c < kBlockChunks; ++c) last[i] = c == chunk ? weights[c][i] : last[i];
          }
          multiply_values<width, Shape::group, true>(sums, last, columns + first_row * width, part * 8, left);
        }
        segment.add(factors, sums, part);
      }
      if (diagonal || (block + 1) % kSegmentBlocks == 0) {
        rows.add(rows.join(segment.state), segment.sums);
        segment.clear();
      }
    }
    // Nobody has read queries since the last barrier: their place takes the sums.
    store_half_rows<width>(a.out, t, own_queries, rows, first_row, u.query_column, first_column, a.dim);
    if (a.lse == nullptr || lane % 4 != 0 || first_column > 0) continue;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int r = first_row + lane / 4 + 8 * i;
      if (r < t.low || r >= t.high) continue;
      st(a.lse + t.s.row(t.base + r) * a.heads + u.head, (rows.state.largest[i] + log2f(rows.state.total[i])) * kLn2);
    }
  }
}

template <int width>
static void launch_half_forward(const HalfAttention& a, unsigned blocks, cudaStream_t stream) {
  using Shape = HalfForward<width>;
  launch<attention_forward_bf16_kernel<width>>(Launch(dim3(blocks), dim3(Shape::threads), Shape::bytes, stream), a);
}

void launch_attention_forward_bf16(HalfAttention a, double scale, unsigned blocks, cudaStream_t stream) {
  a.scale = scale_of_powers(scale);
  if (a.dim <= 64) return launch_half_forward<64>(a, blocks, stream);
  if (a.dim <= 128) return launch_half_forward<128>(a, blocks, stream);
  launch_half_forward<256>(a, blocks, stream);
}

}  // namespace cuda
}  // namespace luffy
