// matmul on CUDA: float32 by plain fused multiply-adds. See matmul.h and matmul-product.h.
//
// A block of threads computes one tile of out. Slices of 16 k of both operands come to shared memory by cp.async, some
// slices ahead of the one being multiplied, in the order in which they are stored; each thread holds a part of the tile
// in registers. At the end of a block of k the sums are added to out, which costs 8 bytes per element and 512
// multiply-adds. Where the tiles are too few for the device, blocks of k are computed side by side into scratch memory
// and added by a second kernel, in the same order.
//
// Bound by: large tiles by arithmetic (128 x 128: 32 multiply-adds per byte brought in); up to 32 rows by reading B once.
#include "matmul.h"

#include "device-limits.cuh"
#include "matmul-bf16.cuh"

namespace luffy {
namespace cuda {

constexpr int kSlice = 16;               // k of one slice
constexpr int kAlongPitch = kSlice + 4;  // floats from line to line: eight lines then lie in different banks
constexpr int kTileGroup = 8;            // rows of tiles that run side by side, so that they find B in the cache
constexpr int kCombineBlock = 256;
constexpr int64_t kMostSplits = 64;  // blocks of k in scratch memory at a time

// rows x columns of out by row_threads x column_threads threads, of which a warp is 4 x 8; `resident` blocks of threads
// share a multiprocessor.
template <int rows_, int columns_, int row_threads_, int column_threads_, int stages_, int resident_>
struct MatmulTile {
  static constexpr int rows = rows_;
  static constexpr int columns = columns_;
  static constexpr int row_threads = row_threads_;
  static constexpr int column_threads = column_threads_;
  static constexpr int stages = stages_;
  static constexpr int resident = resident_;
  static constexpr int threads = row_threads * column_threads;
  static constexpr int high = rows / row_threads;        // rows of a thread
  static constexpr int wide = columns / column_threads;  // columns of a thread
  static_assert(row_threads % 4 == 0 && column_threads % 8 == 0 && high % 4 == 0 && wide % 4 == 0);
};

using LargeTile = MatmulTile<128, 128, 16, 16, 3, 2>;
using MiddleTile = MatmulTile<64, 64, 8, 16, 4, 4>;
using LowTile = MatmulTile<32, 64, 8, 16, 5, 4>;
using FlatTile = MatmulTile<16, 64, 4, 16, 6, 4>;

// One side of the product: rows of A or columns of B are its lines.
struct MatmulOperand {
  const float* data;
  int64_t stride;  // between lines when they are stored along k, else between one k and the next
  int64_t lines;
  bool aligned;  // every four floats start at a multiple of 16 bytes
};

struct MatmulCall {
  MatmulOperand a, b;
  int64_t k;
  int64_t block;  // of k
  int block_slices;
  int64_t split;  // -1: a block of threads takes all blocks of k; else the one that blockIdx.y = 0 takes
  const float* bias;
  float* out;
  int64_t out_stride;
  int64_t split_stride;  // between the results of blockIdx.y
  unsigned row_tiles, column_tiles;
  bool add;
  bool aligned_out;
};

// Of a block of threads.
struct MatmulPlace {
  int64_t row0, column0;
  int last_k;  // k of its last slice
};

HOST_DEV constexpr int slice_floats(int lines, bool along_k) { return lines * (along_k ? kAlongPitch : kSlice); }

template <class Tile>
HOST_DEV constexpr int stage_floats(bool a_along, bool b_along) {
  return slice_floats(Tile::rows, a_along) + slice_floats(Tile::columns, b_along);
}

DEV int clamp_to_four(int count) { return count < 0 ? 0 : count > 4 ? 4 : count; }

// Brings one slice after another of `lines` lines to shared memory, zero outside the operand. Stored along k as
// [line][kAlongPitch], else as [k][lines]. Holds few registers: what is the same for all threads is in the arguments.
template <int lines, int threads, bool along_k>
class SliceLoader {
 public:
  DEV SliceLoader(const MatmulOperand& operand, int64_t first_line, int64_t first_k) {
    const int t = static_cast<int>(threadIdx.x);
    const int line = along_k ? t / kPerRun : t % kPerRun * 4;
    k_ = along_k ? t % kPerRun * 4 : t / kPerRun;
    from_ = operand.data + (along_k ? (first_line + line) * operand.stride + first_k + k_
                                    : (first_k + k_) * operand.stride + first_line + line);
    const int64_t lines_left = operand.lines - first_line - line;
    lines_left_ = lines_left < lines ? static_cast<int>(lines_left) : lines;
    to_ = along_k ? line * kAlongPitch + k_ : k_ * lines + line;
  }

  // k_count: how many k of the slice there are.
  DEV void load(const MatmulOperand& operand, float* slice, int k_count) {
    const int k_left = k_count - k_;
    const float* from = from_;
    float* to = slice + to_;
#pragma unroll
    for (int i = 0; i < kChunks; ++i) {
      const int count = along_k ? (i * kRuns < lines_left_ ? clamp_to_four(k_left) : 0)
                                : (i * kRuns < k_left ? clamp_to_four(lines_left_) : 0);
      if (operand.aligned) {
        cp_async16(to, from, count * 4);
      } else {
        Pack<float> pack;
#pragma unroll
        for (int j = 0; j < 4; ++j) pack.at[j] = j < count ? ld(from + j) : 0.0f;
        st128(to, pack);
      }
      from += operand.stride * kRuns;
      to += kRuns * (along_k ? kAlongPitch : lines);
    }
    from_ += along_k ? kSlice : operand.stride * kSlice;
  }

 private:
  // Runs are what lies side by side in memory: the k of a line, or the lines of a k.
  static constexpr int kPerRun = (along_k ? kSlice : lines) / 4;
  static constexpr int kRuns = threads / kPerRun;
  static constexpr int kChunks = lines * kSlice / 4 / threads;
  static_assert(threads % kPerRun == 0 && kChunks * threads * 4 == lines * kSlice);

  const float* from_;
  int lines_left_, to_, k_;
};

// Which line of the tile is line i of thread t of `threads`.
template <int threads, bool along_k>
DEV int line_of(int t, int i) {
  return along_k ? t + i * threads : i / 4 * 4 * threads + t * 4 + i % 4;
}

// Four k of a line.
DEV void load_line(float (&out)[4], const float* slice, int line, int k) {
  const Pack<float> pack = ld128(slice + line * kAlongPitch + k);
#pragma unroll
  for (int j = 0; j < 4; ++j) out[j] = pack.at[j];
}

// One k of all lines of the thread, to element `at` of each.
template <int threads, int lines, int count>
DEV void load_lines(float (&out)[count][4], int at, const float* slice, int t, int k) {
#pragma unroll
  for (int i = 0; i < count; i += 4) {
    const Pack<float> pack = ld128(slice + k * lines + i * threads + t * 4);
#pragma unroll
    for (int j = 0; j < 4; ++j) out[i + j][at] = pack.at[j];
  }
}

// sums += the product of a slice, ascending k.
template <class Tile, bool a_along, bool b_along>
DEV void multiply_slice(float (&sums)[Tile::high][Tile::wide], const float* slice, int row_thread, int column_thread) {
  const float* slice_b = slice + slice_floats(Tile::rows, a_along);
#pragma unroll
  for (int k = 0; k < kSlice; k += 4) {
    float a[Tile::high][4];
    if (a_along) {
#pragma unroll
      for (int i = 0; i < Tile::high; ++i) {
        load_line(a[i], slice, line_of<Tile::row_threads, true>(row_thread, i), k);
      }
    } else {
#pragma unroll
      for (int j = 0; j < 4; ++j) load_lines<Tile::row_threads, Tile::rows>(a, j, slice, row_thread, k + j);
    }
    if (b_along) {
#pragma unroll
      for (int n = 0; n < Tile::wide; ++n) {
        float b[4];
        load_line(b, slice_b, line_of<Tile::column_threads, true>(column_thread, n), k);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
#pragma unroll
          for (int m = 0; m < Tile::high; ++m) sums[m][n] = fmaf(a[m][j], b[j], sums[m][n]);
        }
      }
    } else {
      float b[Tile::wide][4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        load_lines<Tile::column_threads, Tile::columns>(b, j, slice_b, column_thread, k + j);
#pragma unroll
        for (int m = 0; m < Tile::high; ++m) {
#pragma unroll
          for (int n = 0; n < Tile::wide; ++n) sums[m][n] = fmaf(a[m][j], b[n][j], sums[m][n]);
        }
      }
    }
  }
}

// out = or += sums, then the bias (null: none), for the thread's part of the tile; sums become zero.
template <class Tile, bool a_along, bool b_along>
DEV void add_to_out(const MatmulCall& call, const MatmulPlace& place, bool add, const float* bias, int row_thread,
                    int column_thread, float (&sums)[Tile::high][Tile::wide]) {
  const int rows = static_cast<int>(min(call.a.lines - place.row0, int64_t{Tile::rows}));
  const int columns = static_cast<int>(min(call.b.lines - place.column0, int64_t{Tile::columns}));
  float* const out = call.out + (call.split < 0 ? 0 : blockIdx.y * call.split_stride);
  float* const tile = out + place.row0 * call.out_stride + place.column0;
  if (bias != nullptr) bias += place.column0;
#pragma unroll
  for (int m = 0; m < Tile::high; ++m) {
    const int row = line_of<Tile::row_threads, a_along>(row_thread, m);
    if (row >= rows) continue;
    float* const row_out = tile + row * call.out_stride;
#pragma unroll
    for (int n = 0; n < Tile::wide; n += 4) {
      const int column = line_of<Tile::column_threads, b_along>(column_thread, n);
      if (!b_along && call.aligned_out && column + 4 <= columns) {
        Pack<float> pack;
        if (add) pack = ld128(row_out + column);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          pack.at[j] = add ? pack.at[j] + sums[m][n + j] : sums[m][n + j];
          if (bias != nullptr) pack.at[j] += ld(bias + column + j);
        }
        st128(row_out + column, pack);
        continue;
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int at = b_along ? column + j * Tile::column_threads : column + j;
        if (at >= columns) continue;
        float x = sums[m][n + j];
        if (add) x = ld(row_out + at) + x;
        if (bias != nullptr) x += ld(bias + at);
        st(row_out + at, x);
      }
    }
  }
#pragma unroll
  for (int m = 0; m < Tile::high; ++m) {
#pragma unroll
    for (int n = 0; n < Tile::wide; ++n) sums[m][n] = 0.0f;
  }
}

// Two large tiles share a multiprocessor of sm_90. Elsewhere its shared memory holds one, or the registers of half of it
// are too few, as they are for both operands turned, which no layer asks for.
template <class Tile, bool a_along, bool b_along>
KERNEL(Tile::threads, Tile::rows == 128 && (KARCH != 900 || (!a_along && b_along)) ? 1 : Tile::resident)
matmul_kernel(const MatmulCall call) {
  SHARED_DYN(float, slices);

  const unsigned group = blockIdx.x / (kTileGroup * call.column_tiles);
  const unsigned in_group = blockIdx.x % (kTileGroup * call.column_tiles);
  const unsigned height = min(unsigned{kTileGroup}, call.row_tiles - group * kTileGroup);
  const int64_t row0 = int64_t{group * kTileGroup + in_group % height} * Tile::rows;
  const int64_t column0 = int64_t{in_group / height} * Tile::columns;

  const bool is_split = call.split >= 0;
  const int64_t k_begin = is_split ? (call.split + blockIdx.y) * call.block : 0;
  const int64_t k_end = is_split && k_begin + call.block < call.k ? k_begin + call.block : call.k;
  const int count = static_cast<int>((k_end - k_begin + kSlice - 1) / kSlice);

  // What is needed seldom waits in shared memory: the registers hold the sums.
  SHARED(MatmulPlace, place, 1);
  if (threadIdx.x == 0) {
    place->row0 = row0;
    place->column0 = column0;
    place->last_k = static_cast<int>(k_end - k_begin - int64_t{count - 1} * kSlice);
  }
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int row_thread = warp / (Tile::column_threads / 8) * 4 + lane / 8;
  const int column_thread = warp % (Tile::column_threads / 8) * 8 + lane % 8;

  SliceLoader<Tile::rows, Tile::threads, a_along> a(call.a, row0, k_begin);
  SliceLoader<Tile::columns, Tile::threads, b_along> b(call.b, column0, k_begin);
  const auto load = [&](int i, int stage) {
    float* const slice = slices + stage * stage_floats<Tile>(a_along, b_along);
    const int k_count = i + 1 == count ? place->last_k : kSlice;
    a.load(call.a, slice, k_count);
    b.load(call.b, slice + slice_floats(Tile::rows, a_along), k_count);
  };

  float sums[Tile::high][Tile::wide] = {};
#pragma unroll
  for (int i = 0; i < Tile::stages - 1; ++i) {
    if (i < count) load(i, i);
    cp_async_commit();
  }
  int stage = 0;
  int block_end = call.block_slices;
  for (int i = 0; i < count; ++i) {
    // The barrier says both: this slice is there for all threads, and all have left the one before it.
    cp_async_wait<Tile::stages - 2>();
    __syncthreads();
    if (i + Tile::stages - 1 < count) load(i + Tile::stages - 1, stage == 0 ? Tile::stages - 1 : stage - 1);
    cp_async_commit();
    multiply_slice<Tile, a_along, b_along>(sums, slices + stage * stage_floats<Tile>(a_along, b_along), row_thread,
                                           column_thread);
    stage = stage + 1 == Tile::stages ? 0 : stage + 1;
    const bool is_last = i + 1 == count;
    if (i + 1 == block_end || is_last) {
      add_to_out<Tile, a_along, b_along>(call, *place, call.add || i >= call.block_slices,
                                         is_last ? call.bias : nullptr, row_thread, column_thread, sums);
      block_end += call.block_slices;
    }
  }
}

// out = or += the sum of `count` matrices [m,n] in ascending order, then the bias.
KERNEL(kCombineBlock)
matmul_combine_kernel(const float* parts, int64_t count, int64_t m, int64_t n, const float* bias, float* out,
                      int64_t out_stride, bool add) {
  const int64_t step = int64_t{gridDim.x} * kCombineBlock;
  for (int64_t i = int64_t{blockIdx.x} * kCombineBlock + threadIdx.x; i < m * n; i += step) {
    const int64_t row = i / n;
    const int64_t column = i - row * n;
    float* const to = out + row * out_stride + column;
    float x = add ? ld(to) : 0.0f;
    int64_t part = 0;
    if (!add && count > 0) x = ld(parts + part++ * m * n + i);
#pragma unroll 4
    for (; part < count; ++part) x += ld(parts + part * m * n + i);
    if (bias != nullptr) x += ld(bias + column);
    st(to, x);
  }
}

static int64_t tiles_over(int64_t size, int64_t tile) { return (size + tile - 1) / tile; }

static bool is_aligned(const float* data, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride % 4 == 0;
}

static void combine(const Context& context, const Product& product, const float* parts, int64_t count, bool add,
                    const float* bias) {
  const int64_t blocks = tiles_over(product.m * product.n, kCombineBlock);
  const int64_t most = multiprocessors() * 64;
  const Launch how(dim3(static_cast<unsigned>(blocks < most ? blocks : most)), dim3(kCombineBlock), 0,
                   static_cast<cudaStream_t>(context.stream));
  launch<matmul_combine_kernel>(how, parts, count, product.m, product.n, bias, product.out, product.out_stride, add);
}

template <class Tile, bool a_along, bool b_along>
static void start(const Context& context, const MatmulCall& call, int64_t splits) {
  const dim3 grid(call.row_tiles * call.column_tiles, static_cast<unsigned>(splits));
  const size_t bytes = sizeof(float) * Tile::stages * stage_floats<Tile>(a_along, b_along);
  launch<matmul_kernel<Tile, a_along, b_along>>(
      Launch(grid, dim3(Tile::threads), bytes, static_cast<cudaStream_t>(context.stream)), call);
}

template <class Tile>
static void run_tiles(Context& context, const Product& product) {
  const bool a_along = !product.a_transposed;
  const bool b_along = product.b_layout == BLayout::columns;
  MatmulCall call{};
  call.a = {product.a, product.a_stride, product.m, is_aligned(product.a, product.a_stride)};
  call.b = {product.b, product.b_stride, product.n, is_aligned(product.b, product.b_stride)};
  call.k = product.k;
  call.block = k_block(product.k);
  call.block_slices = static_cast<int>(tiles_over(call.block, kSlice));
  call.row_tiles = static_cast<unsigned>(tiles_over(product.m, Tile::rows));
  call.column_tiles = static_cast<unsigned>(tiles_over(product.n, Tile::columns));
  const auto run = [&](int64_t splits) {
    if (a_along && b_along) return start<Tile, true, true>(context, call, splits);
    if (a_along) return start<Tile, true, false>(context, call, splits);
    if (b_along) return start<Tile, false, true>(context, call, splits);
    return start<Tile, false, false>(context, call, splits);
  };

  const int64_t blocks = tiles_over(product.k, call.block);
  const int64_t tiles = int64_t{call.row_tiles} * call.column_tiles;
  if (blocks == 1 || tiles >= multiprocessors()) {
    call.split = -1;
    call.bias = product.bias;
    call.out = product.out;
    call.out_stride = product.out_stride;
    call.aligned_out = is_aligned(product.out, product.out_stride);
    call.add = product.accumulate;
    return run(1);
  }
  int64_t most = tiles_over(multiprocessors() * Tile::resident, tiles);
  most = most < kMostSplits ? most : kMostSplits;
  most = most < blocks ? most : blocks;
  const Context::ScratchMark mark = context.scratch_mark();
  call.out = context.scratch<float>(most * product.m * product.n);
  call.out_stride = product.n;
  call.split_stride = product.m * product.n;
  call.aligned_out = product.n % 4 == 0;
  for (call.split = 0; call.split < blocks; call.split += most) {
    const int64_t splits = blocks - call.split < most ? blocks - call.split : most;
    run(splits);
    const bool is_last = call.split + splits == blocks;
    combine(context, product, call.out, splits, product.accumulate || call.split > 0, is_last ? product.bias : nullptr);
  }
  context.scratch_release(mark);
}

void run_product(Context& context, const Product& product) {
  if (product.m == 0 || product.n == 0) return;
  if (product.k == 0) return combine(context, product, nullptr, 0, product.accumulate, product.bias);
  if (product.m <= FlatTile::rows) return run_tiles<FlatTile>(context, product);
  if (product.m <= LowTile::rows) return run_tiles<LowTile>(context, product);
  const int64_t blocks = tiles_over(product.k, kLongestBlock);
  const int64_t large = tiles_over(product.m, LargeTile::rows) * tiles_over(product.n, LargeTile::columns) *
                        (blocks < kMostSplits ? blocks : kMostSplits);
  if (product.m > MiddleTile::rows && product.n > MiddleTile::columns && large >= multiprocessors()) {
    return run_tiles<LargeTile>(context, product);
  }
  run_tiles<MiddleTile>(context, product);
}

void matmul(Context& context, Tensor a, Tensor b, Tensor out, bool transpose_a, bool transpose_b, bool accumulate) {
  if (a.dtype != DType::bf16)
    return run_product(context, matmul_product<float, float>(a, b, out, transpose_a, transpose_b, accumulate));
  if (out.dtype == DType::bf16)
    return run_product(context, matmul_product<bf16, bf16>(a, b, out, transpose_a, transpose_b, accumulate));
  run_product(context, matmul_product<bf16, float>(a, b, out, transpose_a, transpose_b, accumulate));
}

}  // namespace cuda
}  // namespace luffy
