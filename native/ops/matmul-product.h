// The matrix product behind matmul and linear: one function, any layout of the operands.
//
// The sum of an element, on every path: k is cut into equal blocks (k_block(K), the last may be shorter); each block
// is a chain of fused multiply-adds from zero over ascending k; the blocks are added in ascending order, to the old
// out when accumulating; the bias comes last.
#pragma once

#include "../core/context.h"
#include "matmul-blocks.h"
#include "matmul-tile.h"

namespace luffy {
namespace LUFFY_BACKEND {

enum class BLayout {
  rows,     // [K,N]
  columns,  // [N,K]
  packed,   // by pack_weight
};

struct Product {
  int64_t m, n, k;
  const float* a;    // [m,k], or [k,m] when a_transposed
  int64_t a_stride;  // between rows of what is stored
  bool a_transposed;
  const float* b;
  int64_t b_stride;  // unused when packed
  BLayout b_layout;
  const float* bias;  // [n] or null
  float* out;         // [m,n]
  int64_t out_stride;
  bool accumulate;
};

void run_product(Context& context, const Product& product);

// weight[N,K] as vectors of kLanes outputs, [vector][K][kLanes], zero beyond N, up to a whole panel: each vector's part
// is one run of memory, which few rows meet at the speed of memory.
void pack_weight(Context& context, const float* weight, int64_t stride, int64_t n, int64_t k, float* packed);
LUFFY_INLINE int64_t packed_weight_size(int64_t n, int64_t k) { return (n + kPanel - 1) / kPanel * kPanel * k; }

}  // namespace LUFFY_BACKEND
}  // namespace luffy
