// ldmatrix and mma.sync m16n8, lane by lane as the PTX manual lays fragments out. Products are exact and summed in
// double, then rounded once; a tensor core truncates, so no bits of a sum are the hardware's unless all are integers.
#include <cstring>

#include "machine.h"

namespace emulator {

namespace {

struct MatrixLane {
  uint32_t* out;
  const char* row;
  int count;
  bool transposed;
};

// Matrix i takes its eight rows of 16 bytes from lanes 8i to 8i+7; lane t gets columns 2(t%4), +1 of row t/4.
void combine_ldmatrix(void* const lanes[32], uint32_t) {
  const MatrixLane& any = *static_cast<MatrixLane*>(lanes[0]);
  for (int m = 0; m < any.count; ++m) {
    uint16_t matrix[8][8];
    unsigned in_bank[8] = {};
    unsigned most = 1;
    for (int r = 0; r < 8; ++r) {
      const char* row = static_cast<MatrixLane*>(lanes[8 * m + r])->row;
      std::memcpy(matrix[r], row, 16);
      const unsigned bank = reinterpret_cast<uintptr_t>(row) / 16 % 8;
      bool again = false;
      for (int other = 0; other < r; ++other) again |= static_cast<MatrixLane*>(lanes[8 * m + other])->row == row;
      if (!again && ++in_bank[bank] > most) most = in_bank[bank];
    }
    if (tracing) count_phases(1, most - 1);
    for (int t = 0; t < 32; ++t) {
      const int r = t / 4, c = t % 4 * 2;
      const uint32_t low = any.transposed ? matrix[c][r] : matrix[r][c];
      const uint32_t high = any.transposed ? matrix[c + 1][r] : matrix[r][c + 1];
      static_cast<MatrixLane*>(lanes[t])->out[m] = low | high << 16;
    }
  }
}

struct MmaLane {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
  const float* c;
};

float from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

template <class Element>
void multiply(void* const lanes[32], int k, Element element) {
  if (tracing) count_mma();
  // a[row][k], b[k][column] as float; d lane t: rows t/4 and t/4 + 8, columns 2(t%4), +1.
  float a[16][16], b[16][8];
  for (int row = 0; row < 16; ++row)
    for (int i = 0; i < k; ++i) a[row][i] = element(lanes, true, row, i);
  for (int i = 0; i < k; ++i)
    for (int column = 0; column < 8; ++column) b[i][column] = element(lanes, false, column, i);
  for (int t = 0; t < 32; ++t) {
    MmaLane& lane = *static_cast<MmaLane*>(lanes[t]);
    float d[4];
    for (int e = 0; e < 4; ++e) {
      const int row = t / 4 + (e >= 2 ? 8 : 0), column = t % 4 * 2 + (e & 1);
      double sum = lane.c[e];
      for (int i = 0; i < k; ++i) sum += static_cast<double>(a[row][i]) * b[i][column];
      d[e] = static_cast<float>(sum);
    }
    std::memcpy(lane.d, d, sizeof d);
  }
}

// bf16, k16: A register r holds row t/4 + 8(r%2), columns 2(t%4) + 8(r/2), +1; B register r: rows 2(t%4) + 8r, +1.
void combine_bf16(void* const lanes[32], uint32_t) {
  multiply(lanes, 16, [](void* const l[32], bool is_a, int row, int i) {
    const int t = row % 8 * 4 + i % 8 / 2;
    const MmaLane& lane = *static_cast<MmaLane*>(l[t]);
    const uint32_t word = is_a ? lane.a[(row >= 8 ? 1 : 0) + (i >= 8 ? 2 : 0)] : lane.b[i >= 8 ? 1 : 0];
    return from_bits((i & 1) != 0 ? word & 0xffff0000u : word << 16);
  });
}

// tf32, k8: A register r holds row t/4 + 8(r%2), column t%4 + 4(r/2); B register r: row t%4 + 4r. 10 bits of mantissa.
void combine_tf32(void* const lanes[32], uint32_t) {
  multiply(lanes, 8, [](void* const l[32], bool is_a, int row, int i) {
    const int t = row % 8 * 4 + i % 4;
    const MmaLane& lane = *static_cast<MmaLane*>(l[t]);
    const uint32_t word = is_a ? lane.a[(row >= 8 ? 1 : 0) + (i >= 4 ? 2 : 0)] : lane.b[i >= 4 ? 1 : 0];
    return from_bits(word & 0xffffe000u);
  });
}

}  // namespace

void ldmatrix(uint32_t* out, int count, bool transposed, const void* row, Site site) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0 && (self()->rank & 31) < static_cast<unsigned>(count) * 8)
    kernel_error("ldmatrix at %s:%d: row address %p is not a multiple of 16", short_name(site), site.line, row);
  if ((self()->rank & 31) < static_cast<unsigned>(count) * 8) {
    sanitizer_check_read(row, 16);
    race_read(row, 16);
  }
  MatrixLane mine{out, static_cast<const char*>(row), count, transposed};
  collective(Collective::ldmatrix, 0xffffffffu, &mine, combine_ldmatrix, site);
}

void mma_m16n8(MmaInput input, float* d, const uint32_t* a, const uint32_t* b, const float* c, Site site) {
  MmaLane mine{d, a, b, c};
  collective(Collective::mma, 0xffffffffu, &mine, input == MmaInput::bf16 ? combine_bf16 : combine_tf32, site);
}

}  // namespace emulator
