// The matrix product of bfloat16 on the tensor cores: mma.sync m16n8k16, sums in float32. See matmul-bf16.cuh.
//
// A block of threads computes one tile of out. Slices of 32 k of both operands come to shared memory by cp.async, some
// slices ahead of the one being multiplied, in the order in which they are stored; ldmatrix hands them to the tensor
// cores, transposing what does not lie along k. Runs of 16 bytes are permuted within a row of shared memory so that the
// eight rows of an 8 x 8 matrix lie in different banks. Where the tiles are too few for the device, blocks of k are
// computed side by side into scratch memory and added by a second kernel, in the same order.
//
// Bound by: large tiles by arithmetic (128 x 128: 64 multiply-adds per byte brought in); up to 16 rows by reading B once.
#include "matmul-bf16.cuh"

#include "device-limits.cuh"
#include "matmul-bf16-tile.cuh"

namespace luffy {
namespace cuda {

constexpr int kMmaTileGroup = 8;  // rows of tiles that run side by side, so that they find B in the cache
constexpr int kMmaSumBlock = 256;
constexpr int64_t kMmaMostSplits = 32;  // blocks of k in scratch memory at a time

template <class Tile, bool a_along, bool b_along, bool gated>
KERNEL(Tile::threads, Tile::resident)
matmul_bf16_kernel(const MmaCall call) {
  SHARED_DYN(bf16, slices);

  const unsigned group = blockIdx.x / (kMmaTileGroup * call.column_tiles);
  const unsigned in_group = blockIdx.x % (kMmaTileGroup * call.column_tiles);
  const unsigned height = min(unsigned{kMmaTileGroup}, call.row_tiles - group * kMmaTileGroup);
  const int64_t row0 = int64_t{group * kMmaTileGroup + in_group % height} * Tile::rows;
  const int64_t column0 = int64_t{in_group / height} * Tile::columns;

  const bool is_split = call.split >= 0;
  const int64_t k_begin = is_split ? (call.split + blockIdx.y) * call.block : 0;
  const int64_t k_end = is_split && k_begin + call.block < call.k ? k_begin + call.block : call.k;
  const int count = static_cast<int>((k_end - k_begin + kMmaSlice - 1) / kMmaSlice);
  const int last_k = static_cast<int>(k_end - k_begin - int64_t{count - 1} * kMmaSlice);
  const int block_slices = static_cast<int>(call.block / kMmaSlice);

  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int row = warp / Tile::wide * (16 * Tile::m_tiles);
  const int column = warp % Tile::wide * 32;

  MmaLoader<Tile::rows, Tile::threads, a_along> a(call.a, row0, k_begin);
  MmaLoader<Tile::columns, Tile::threads, b_along, gated> b(call.b, column0, k_begin);
  const auto load = [&](int i, int stage) {
    bf16* const slice = slices + stage * Tile::stage;
    const int k_count = i + 1 == count ? last_k : kMmaSlice;
    a.load(call.a, slice, k_count);
    b.load(call.b, slice + Tile::rows * kMmaSlice, k_count);
  };

  float sums[Tile::m_tiles][4][4] = {};
  float total[Tile::m_tiles][4][4];
#pragma unroll 1
  for (int i = 0; i < Tile::stages - 1; ++i) {
    if (i < count) load(i, i);
    cp_async_commit();
  }
  int stage = 0;
  for (int i = 0; i < count; ++i) {
    // The barrier says both: this slice is there for all threads, and all have left the one before it.
    cp_async_wait<Tile::stages - 2>();
    __syncthreads();
    if (i + Tile::stages - 1 < count) load(i + Tile::stages - 1, stage == 0 ? Tile::stages - 1 : stage - 1);
    cp_async_commit();
    multiply_mma_slice<Tile, a_along, b_along>(sums, slices + stage * Tile::stage, row, column);
    stage = stage + 1 == Tile::stages ? 0 : stage + 1;
    if ((i + 1) % block_slices == 0 || i + 1 == count) {
      const bool first = i < block_slices;
#pragma unroll
      for (int m = 0; m < Tile::m_tiles; ++m) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            total[m][n][e] = first ? sums[m][n][e] : total[m][n][e] + sums[m][n][e];
            sums[m][n][e] = 0.0f;
          }
        }
      }
    }
  }

  // Of every 8 x 8 part a lane has two columns of row lane / 4. Through shared memory it comes to 16 bytes of a row, which
  // are read and written at once. Groups of eight are permuted so that four rows meet different banks.
  __syncthreads();
  float* const mine = reinterpret_cast<float*>(slices) + warp * (16 * Tile::m_tiles * 32);
#pragma unroll
  for (int m = 0; m < Tile::m_tiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float* const to = mine + (m * 16 + half * 8 + lane / 4) * 32 + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        st(reinterpret_cast<float2*>(to + (n ^ (lane / 4 & 3)) * 8),
           make_float2(total[m][n][2 * half], total[m][n][2 * half + 1]));
      }
    }
  }
  __syncwarp();
  if constexpr (gated) {
    finish_gated<16 * Tile::m_tiles>(call, mine, row0 + row, (column0 + column) / 2);
    return;
  }
  MmaOut out = call.out;
  if (is_split) out.full += blockIdx.y * call.split_stride;
  if (out.full != nullptr) {
    finish_sums<16 * Tile::m_tiles>(call, out, out.full, mine, row0 + row, column0 + column);
  } else {
    finish_sums<16 * Tile::m_tiles>(call, out, out.half, mine, row0 + row, column0 + column);
  }
}

// out = the sum of `count` matrices [m,n] in ascending order, and what MmaOut adds.
KERNEL(kMmaSumBlock)
matmul_bf16_sum_kernel(const float* parts, int64_t count, int64_t m, int64_t n, const MmaOut out) {
  const int64_t step = int64_t{gridDim.x} * kMmaSumBlock;
  for (int64_t i = int64_t{blockIdx.x} * kMmaSumBlock + threadIdx.x; i < m * n; i += step) {
    const int64_t row = i / n;
    const int64_t column = i - row * n;
    float x = count > 0 ? ld(parts + i) : 0.0f;
#pragma unroll 4
    for (int64_t part = 1; part < count; ++part) x += ld(parts + part * m * n + i);
    if (out.bias != nullptr) x += to_float(ld(out.bias + column));
    if (out.full != nullptr) {
      if (out.addend != nullptr) x += ld(static_cast<const float*>(out.addend) + row * out.addend_stride + column);
      st(out.full + row * out.stride + column, x);
    } else {
      if (out.addend != nullptr)
        x += to_float(ld(static_cast<const bf16*>(out.addend) + row * out.addend_stride + column));
      st(out.half + row * out.stride + column, from_float<bf16>(x));
    }
  }
}

// out = swiglu of the sum of `count` matrices [m,2n] in ascending order.
KERNEL(kMmaSumBlock)
matmul_bf16_gated_sum_kernel(const float* parts, int64_t count, int64_t m, int64_t n, const MmaOut out) {
  const int64_t step = int64_t{gridDim.x} * kMmaSumBlock;
  for (int64_t i = int64_t{blockIdx.x} * kMmaSumBlock + threadIdx.x; i < m * n; i += step) {
    const int64_t row = i / n;
    const int64_t column = i - row * n;
    const float* const from = parts + row * 2 * n + column;
    float gate = count > 0 ? ld(from) : 0.0f;
    float up = count > 0 ? ld(from + n) : 0.0f;
#pragma unroll 4
    for (int64_t part = 1; part < count; ++part) {
      gate += ld(from + part * m * 2 * n);
      up += ld(from + part * m * 2 * n + n);
    }
    st(out.half + row * out.stride + column, from_float<bf16>(swiglu_value(rounded(gate), rounded(up))));
  }
}

static int64_t mma_tiles(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

template <class T>
static bool in_runs(const T* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride * static_cast<int64_t>(sizeof(T)) % 16 == 0;
}

enum class MmaSize { large, middle, flat };

static MmaSize choose_mma_tile(int64_t m, int64_t n) {
  if (m <= FlatMmaTile::rows) return MmaSize::flat;
  const int64_t large = mma_tiles(m, LargeMmaTile::rows) * mma_tiles(n, LargeMmaTile::columns);
  const bool fits = m > MiddleMmaTile::rows && n > MiddleMmaTile::columns;
  return fits && large >= multiprocessors() ? MmaSize::large : MmaSize::middle;
}

// Blocks of k that are computed side by side; 0: none, each tile takes all of them.
static int64_t mma_splits(int64_t m, int64_t n, int64_t k) {
  const int64_t blocks = mma_tiles(k, bf16_block(k));
  const MmaSize size = choose_mma_tile(m, n);
  const int64_t rows = size == MmaSize::flat ? FlatMmaTile::rows : MiddleMmaTile::rows;
  const int64_t tiles = mma_tiles(m, rows) * mma_tiles(n, MiddleMmaTile::columns);
  static_assert(FlatMmaTile::columns == MiddleMmaTile::columns);
  if (blocks <= 1 || size == MmaSize::large || tiles >= multiprocessors()) return 0;
  int64_t most = mma_tiles(multiprocessors() * MiddleMmaTile::resident, tiles);
  most = most < kMmaMostSplits ? most : kMmaMostSplits;
  return most < blocks ? most : blocks;
}

int64_t bf16_workspace(int64_t m, int64_t n, int64_t k) {
  // The sums so far, then one matrix for each block.
  const int64_t splits = mma_splits(m, n, k);
  return splits == 0 ? 0 : (splits + 1) * m * n;
}

static void sum_parts(const float* parts, int64_t count, int64_t m, int64_t n, bool gated, const MmaOut& out,
                      cudaStream_t stream) {
  const int64_t blocks = mma_tiles(gated ? m * n / 2 : m * n, kMmaSumBlock);
  const int64_t most = multiprocessors() * 64;
  const Launch how(dim3(static_cast<unsigned>(blocks < most ? blocks : most)), dim3(kMmaSumBlock), 0, stream);
  if (gated) return launch<matmul_bf16_gated_sum_kernel>(how, parts, count, m, n / 2, out);
  launch<matmul_bf16_sum_kernel>(how, parts, count, m, n, out);
}

// How the operands are stored, and whether sums go by swiglu.
struct MmaKind {
  bool a_along, b_along, gated;
};

template <class Tile>
static void start_mma(MmaCall call, MmaKind kind, int64_t splits, cudaStream_t stream) {
  const int64_t lines = kind.gated ? mma_tiles(call.b.lines, 8) * 16 : call.b.lines;
  call.row_tiles = static_cast<unsigned>(mma_tiles(call.a.lines, Tile::rows));
  call.column_tiles = static_cast<unsigned>(mma_tiles(lines, Tile::columns));
  const dim3 grid(call.row_tiles * call.column_tiles, static_cast<unsigned>(splits));
  const Launch how(grid, dim3(Tile::threads), sizeof(bf16) * Tile::stages * Tile::stage, stream);
  if (kind.gated) return launch<matmul_bf16_kernel<Tile, true, true, true>>(how, call);
  if (kind.a_along && kind.b_along) return launch<matmul_bf16_kernel<Tile, true, true, false>>(how, call);
  if (kind.a_along) return launch<matmul_bf16_kernel<Tile, true, false, false>>(how, call);
  if (kind.b_along) return launch<matmul_bf16_kernel<Tile, false, true, false>>(how, call);
  launch<matmul_bf16_kernel<Tile, false, false, false>>(how, call);
}

static void start_mma(const MmaCall& call, MmaKind kind, int64_t n, int64_t splits, cudaStream_t stream) {
  switch (choose_mma_tile(call.a.lines, n)) {
    case MmaSize::large:
      return start_mma<LargeMmaTile>(call, kind, splits, stream);
    case MmaSize::middle:
      return start_mma<MiddleMmaTile>(call, kind, splits, stream);
    case MmaSize::flat:
      return start_mma<FlatMmaTile>(call, kind, splits, stream);
  }
}

static void set_out(MmaOut& out, bf16* data) { out.half = data; }
static void set_out(MmaOut& out, float* data) { out.full = data; }

// A product whose tiles go to `out`, by blocks of k side by side where there are too few of them.
static void run_mma(MmaCall call, MmaKind kind, int64_t n, const MmaOut& out, float* workspace, cudaStream_t stream) {
  const int64_t m = call.a.lines;
  if (call.k == 0) return sum_parts(nullptr, 0, m, n, kind.gated, out, stream);
  call.block = bf16_block(call.k);
  const int64_t most = mma_splits(m, n, call.k);
  if (most == 0) {
    call.split = -1;
    call.out = out;
    return start_mma(call, kind, n, 1, stream);
  }
  const int64_t blocks = mma_tiles(call.k, call.block);
  const MmaKind apart = {kind.a_along, kind.b_along, false};
  call.b.lines = n;
  call.out = {};
  call.out.full = workspace + m * n;
  call.out.stride = n;
  call.out.aligned = n % 4 == 0;
  call.split_stride = m * n;
  MmaOut so_far{};
  so_far.full = workspace;
  so_far.stride = n;
  for (call.split = 0; call.split < blocks; call.split += most) {
    const int64_t splits = blocks - call.split < most ? blocks - call.split : most;
    start_mma(call, apart, n, splits, stream);
    const bool is_first = call.split == 0;
    const bool is_last = call.split + splits == blocks;
    sum_parts(is_first ? workspace + m * n : workspace, is_first ? splits : splits + 1, m, n, is_last && kind.gated,
              is_last ? out : so_far, stream);
  }
}

template <class Out>
void launch_bf16_product(const ProductOf<bf16, Out>& product, const Out* residual, int64_t residual_stride,
                         float* workspace, cudaStream_t stream) {
  const int64_t m = product.m, n = product.n;
  if (m == 0 || n == 0) return;
  MmaOut out{};
  out.bias = product.bias;
  out.stride = product.out_stride;
  set_out(out, product.out);
  out.aligned = in_runs(product.out, product.out_stride);
  out.addend = product.accumulate ? product.out : residual;
  out.addend_stride = product.accumulate ? product.out_stride : residual_stride;
  if (out.addend != nullptr && !product.accumulate) out.aligned &= in_runs(residual, residual_stride);

  MmaCall call{};
  call.a = {product.a, product.a_stride, m, in_runs(product.a, product.a_stride)};
  call.b = {product.b, product.b_stride, n, in_runs(product.b, product.b_stride)};
  call.k = product.k;
  run_mma(call, {!product.a_transposed, product.b_layout == BLayout::columns, false}, n, out, workspace, stream);
}

template void launch_bf16_product(const ProductOf<bf16, bf16>&, const bf16*, int64_t, float*, cudaStream_t);
template void launch_bf16_product(const ProductOf<bf16, float>&, const float*, int64_t, float*, cudaStream_t);

void run_swiglu_product(Context& context, const ProductOf<bf16, bf16>& product) {
  if (product.m == 0 || product.n == 0) return;
  MmaOut out{};
  out.stride = product.out_stride;
  out.half = product.out;
  out.aligned = in_runs(product.out, product.out_stride);
  MmaCall call{};
  call.a = {product.a, product.a_stride, product.m, in_runs(product.a, product.a_stride)};
  call.b = {product.b, product.b_stride, product.n / 2, in_runs(product.b, product.b_stride)};
  call.k = product.k;
  const Context::ScratchMark mark = context.scratch_mark();
  float* workspace = context.scratch<float>(bf16_workspace(product.m, product.n, product.k));
  run_mma(call, {true, true, true}, product.n, out, workspace, stream_of(context));
  context.scratch_release(mark);
}

}  // namespace cuda
}  // namespace luffy
