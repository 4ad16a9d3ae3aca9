// A tile of a bfloat16 product: how its operands come to shared memory, the multiplication of a slice, and what becomes of
// the sums. See matmul-bf16.cu.
#pragma once

#include "cuda-rows.cuh"
#include "swiglu-math.cuh"

namespace luffy {
namespace cuda {

constexpr int kMmaSlice = 32;  // k of one slice

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

}  // namespace cuda
}  // namespace luffy
