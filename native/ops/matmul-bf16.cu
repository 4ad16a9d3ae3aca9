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

#include "cuda-rows.cuh"
#include "device-limits.cuh"
#include "swiglu-math.cuh"

namespace luffy {
namespace cuda {

constexpr int kMmaSlice = 32;     // k of one slice
constexpr int kMmaTileGroup = 8;  // rows of tiles that run side by side, so that they find B in the cache
constexpr int kMmaSumBlock = 256;
constexpr int64_t kMmaMostSplits = 32;  // blocks of k in scratch memory at a time

// A tile of high x wide warps, each of 16 m_tiles x 32 elements of out.
template <int high_, int wide_, int m_tiles_, int stages_, int resident_>
struct MmaTile {
  static constexpr int high = high_;
  static constexpr int wide = wide_;
  static constexpr int m_tiles = m_tiles_;
  static constexpr int stages = stages_;
  static constexpr int resident = resident_;
  static constexpr int rows = 16 * m_tiles * high;
  static constexpr int columns = 32 * wide;
  static constexpr int threads = 32 * high * wide;
  static constexpr int stage = (rows + columns) * kMmaSlice;  // elements
  static_assert(rows * columns * 2 <= stages * stage);        // the sums take the place of the slices
};

using LargeMmaTile = MmaTile<2, 4, 4, 4, 1>;   // 128 x 128
using MiddleMmaTile = MmaTile<2, 2, 2, 4, 3>;  // 64 x 64
using FlatMmaTile = MmaTile<1, 2, 1, 6, 6>;    // 16 x 64

// One side of the product: rows of A or columns of B are its lines. Gated: of the weight of a gate and an up, as many
// lines of each.
struct MmaOperand {
  const bf16* data;
  int64_t stride;  // between lines when they are stored along k, else between one k and the next
  int64_t lines;
  bool aligned;  // every eight elements start at a multiple of 16 bytes
};

// What becomes of the sums: + bias[n] + addend[m, n] (each may be null), to exactly one of the outs.
struct MmaOut {
  const bf16* bias;
  const void* addend;  // of out's type
  bf16* half;
  float* full;
  int64_t addend_stride, stride;
  bool aligned;  // every eight elements of out and addend start at a multiple of 16 bytes
};

struct MmaCall {
  MmaOperand a, b;
  MmaOut out;
  int64_t k;
  int64_t block;         // of k
  int64_t split;         // -1: a block of threads takes all blocks of k; else the one that blockIdx.y = 0 takes
  int64_t split_stride;  // between the sums of blockIdx.y
  unsigned row_tiles, column_tiles;
};

DEV int clamp_to_eight(int count) { return count < 0 ? 0 : count > 8 ? 8 : count; }

// Where run `run` of 16 bytes of a row of `runs` runs stands in it: rows that ldmatrix reads together differ in banks.
template <int runs>
DEV int permuted_run(int row, int run) {
  if constexpr (runs >= 8) {
    return run ^ (row & 7);
  } else {
    return run ^ (row / (8 / runs) % runs);
  }
}

// Brings one slice after another of `lines` lines to shared memory, zero outside the operand: rows of kMmaSlice k, one
// for each line, when the operand is stored along k, else rows of all lines, one for each k. Gated: eight lines of the gate
// stand before the same eight of up.
template <int lines, int threads, bool along_k, bool gated = false>
class MmaLoader {
 public:
  DEV MmaLoader(const MmaOperand& operand, int64_t first_line, int64_t first_k) {
    const int row = static_cast<int>(threadIdx.x) / kRuns;
    const int run = static_cast<int>(threadIdx.x) % kRuns;
    int64_t line = first_line + (along_k ? row : run * 8);
    if (gated) line = line / 16 * 8 + line % 8;
    k_ = along_k ? run * 8 : row;
    from_ = operand.data + (along_k ? line * operand.stride + first_k + k_ : (first_k + k_) * operand.stride + line);
    if (gated && row / 8 % 2 == 1) from_ += operand.lines * operand.stride;
    const int64_t left = operand.lines - line;
    lines_left_ = left < lines ? static_cast<int>(left) : lines;
  }

  // k_count: how many k of the slice there are.
  DEV void load(const MmaOperand& operand, bf16* slice, int k_count) {
    if (operand.aligned) {
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        if (!is_there(i)) break;
        const int valid = count(i, k_count);
        cp_async16(slice + place(i), valid > 0 ? from_ + i * kRowStep * operand.stride : operand.data, valid * 2);
      }
    } else {
#pragma unroll 1
      for (int i = 0; i < kSteps; ++i) {
        if (!is_there(i)) break;
        const int valid = count(i, k_count);
        const bf16* from = from_ + i * kRowStep * operand.stride;
        Pack<bf16> pack;
#pragma unroll
        for (int j = 0; j < 8; ++j) pack.at[j] = j < valid ? ld(from + j) : from_float<bf16>(0.0f);
        st128(slice + place(i), pack);
      }
    }
    from_ += along_k ? kMmaSlice : operand.stride * kMmaSlice;
  }

 private:
  // Of the thread's runs of 16 bytes in a slice, run i: whether it has one, how many elements are there, where they go.
  DEV static bool is_there(int i) {
    return kSteps * kRows == kAllRows || static_cast<int>(threadIdx.x) / kRuns + i * kRows < kAllRows;
  }
  DEV int count(int i, int k_count) const {
    return along_k ? (i * kRowStep < lines_left_ ? clamp_to_eight(k_count - k_) : 0)
                   : (i * kRows < k_count - k_ ? clamp_to_eight(lines_left_) : 0);
  }
  DEV static int place(int i) {
    const int row = static_cast<int>(threadIdx.x) / kRuns + i * kRows;
    return (row * kRuns + permuted_run<kRuns>(row, static_cast<int>(threadIdx.x) % kRuns)) * 8;
  }

  static constexpr int kRuns = (along_k ? kMmaSlice : lines) / 8;  // of a row of shared memory
  static constexpr int kAllRows = along_k ? lines : kMmaSlice;
  static constexpr int kRows = threads / kRuns;  // that all threads load together
  static constexpr int kSteps = (kAllRows + kRows - 1) / kRows;
  static constexpr int kRowStep = gated ? kRows / 2 : kRows;
  static_assert(threads % kRuns == 0 && (!gated || (along_k && kRows % 16 == 0)));

  const bf16* from_;
  int lines_left_, k_;
};

// Two halves of 8 lines and two of 8 k from `line` and `k` on, of a slice of `lines` lines, in the order of the registers:
// of A the second half of the lines comes before the second half of k, of B it is the other way round.
template <int lines, bool along_k, bool lines_first>
DEV void load_fragments(uint32_t (&out)[4], const bf16* slice, int line, int k) {
  constexpr int runs = (along_k ? kMmaSlice : lines) / 8;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int first = lane / 8 % 2;
  const int second = lane / 16;
  const int line_half = lines_first ? first : second;
  const int k_half = lines_first ? second : first;
  const int row = along_k ? line + line_half * 8 + lane % 8 : k + k_half * 8 + lane % 8;
  const int run = along_k ? k / 8 + k_half : line / 8 + line_half;
  ldmatrix<4, !along_k>(out, slice + (row * runs + permuted_run<runs>(row, run)) * 8);
}

// sums += the product of a slice, ascending k.
template <class Tile, bool a_along, bool b_along>
DEV void multiply_mma_slice(float (&sums)[Tile::m_tiles][4][4], const bf16* slice, int row, int column) {
  const bf16* slice_b = slice + Tile::rows * kMmaSlice;
#pragma unroll
  for (int k = 0; k < kMmaSlice; k += 16) {
    uint32_t a[Tile::m_tiles][4];
    uint32_t b[2][4];
#pragma unroll
    for (int m = 0; m < Tile::m_tiles; ++m) load_fragments<Tile::rows, a_along, true>(a[m], slice, row + m * 16, k);
#pragma unroll
    for (int n = 0; n < 2; ++n) load_fragments<Tile::columns, b_along, false>(b[n], slice_b, column + n * 16, k);
#pragma unroll
    for (int m = 0; m < Tile::m_tiles; ++m) {
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const uint32_t right[2] = {b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]};
        mma_m16n8k16_bf16(sums[m][n], a[m], right, sums[m][n]);
      }
    }
  }
}

// Sixteen bytes of a row of out from `column` on, of which `count` elements are there.
template <class T>
DEV void finish_pack(const MmaOut& out, T* base, int64_t row, int64_t column, int count,
                     const float (&bias)[Pack<T>::size], float (&x)[Pack<T>::size]) {
  constexpr int size = Pack<T>::size;
  T* const to = base + row * out.stride + column;
  const T* const addend =
      out.addend == nullptr ? nullptr : static_cast<const T*>(out.addend) + row * out.addend_stride + column;
  if (out.bias != nullptr) {
#pragma unroll
    for (int j = 0; j < size; ++j) x[j] += bias[j];
  }
  if (out.aligned && count == size) {
    Pack<T> pack;
    if (addend != nullptr) pack = ld128(addend);
#pragma unroll
    for (int j = 0; j < size; ++j) pack.at[j] = from_float<T>(addend != nullptr ? x[j] + to_float(pack.at[j]) : x[j]);
    st128(to, pack);
    return;
  }
#pragma unroll
  for (int j = 0; j < size; ++j) {
    if (j >= count) continue;
    if (addend != nullptr) x[j] += to_float(ld(addend + j));
    st(to + j, from_float<T>(x[j]));
  }
}

// A warp's `rows` x 32 sums, as they stand in shared memory, to out: neighbouring lanes write neighbouring 16 bytes.
template <int rows, class T>
DEV void finish_sums(const MmaCall& call, const MmaOut& out, T* base, const float* sums, int64_t row0,
                     int64_t column0) {
  constexpr int size = Pack<T>::size;
  constexpr int lanes = 32 / size;  // of a row
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int place = lane % lanes * size;
  const int64_t column = column0 + place;
  const int count = static_cast<int>(min(call.b.lines - column, int64_t{size}));
  if (count <= 0) return;
  float bias[size];
#pragma unroll
  for (int j = 0; j < size; ++j)
    bias[j] = out.bias != nullptr && j < count ? to_float(ld(out.bias + column + j)) : 0.0f;
#pragma unroll 1
  for (int i = lane / lanes; i < rows && row0 + i < call.a.lines; i += size) {
    float x[size];
    const float* const from = sums + i * 32 + (place / 8 ^ (i & 3)) * 8 + place % 8;
#pragma unroll
    for (int j = 0; j < size; j += 4) {
      const Pack<float> four = ld128(from + j);
#pragma unroll
      for (int e = 0; e < 4; ++e) x[j + e] = four.at[e];
    }
    finish_pack(out, base, row0 + i, column, count, bias, x);
  }
}

DEV float rounded(float x) { return to_float(from_float<bf16>(x)); }

// The same where groups of eight are gate and up in turn: 16 columns of out, swiglu of the rounded sums.
template <int rows>
DEV void finish_gated(const MmaCall& call, const float* sums, int64_t row0, int64_t column0) {
  const MmaOut& out = call.out;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int gate = lane % 2 * 2;  // its group
  const int64_t column = column0 + lane % 2 * 8;
  const int count = static_cast<int>(min(call.b.lines - column, int64_t{8}));
  if (count <= 0) return;
#pragma unroll 1
  for (int i = lane / 2; i < rows && row0 + i < call.a.lines; i += 16) {
    const float* const g = sums + i * 32 + (gate ^ (i & 3)) * 8;
    const float* const u = sums + i * 32 + ((gate + 1) ^ (i & 3)) * 8;
    Pack<bf16> pack;
#pragma unroll
    for (int j = 0; j < 8; ++j) pack.at[j] = from_float<bf16>(swiglu_value(rounded(g[j]), rounded(u[j])));
    bf16* const to = out.half + (row0 + i) * out.stride + column;
    if (out.aligned && count == 8) {
      st128(to, pack);
    } else {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (j < count) st(to + j, pack.at[j]);
      }
    }
  }
}

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

template <class Out>
static void run_bf16(Context& context, const ProductOf<bf16, Out>& product, const Out* residual = nullptr,
                     int64_t residual_stride = 0) {
  const Context::ScratchMark mark = context.scratch_mark();
  float* workspace = context.scratch<float>(bf16_workspace(product.m, product.n, product.k));
  launch_bf16_product(product, residual, residual_stride, workspace, stream_of(context));
  context.scratch_release(mark);
}

void run_product(Context& context, const ProductOf<bf16, bf16>& product, const bf16* residual,
                 int64_t residual_stride) {
  run_bf16(context, product, residual, residual_stride);
}
void run_product(Context& context, const ProductOf<bf16, bf16>& product) { run_bf16(context, product); }
void run_product(Context& context, const ProductOf<bf16, float>& product) { run_bf16(context, product); }

}  // namespace cuda
}  // namespace luffy
