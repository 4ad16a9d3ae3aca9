// The blocks of k into which every matrix product cuts its sums, on every backend: with them the order of additions of
// an element is given (matmul.h).
#pragma once

#include <cstdint>

#include "../core/macros.h"

namespace luffy {
namespace LUFFY_BACKEND {

// The length of a block of k: a function of K alone, at most kLongestBlock.
constexpr int64_t kLongestBlock = 512;
LUFFY_INLINE int64_t k_block(int64_t k) {
  const int64_t blocks = (k + kLongestBlock - 1) / kLongestBlock;
  return blocks <= 1 ? k : ((k + blocks - 1) / blocks + 15) / 16 * 16;
}

}  // namespace LUFFY_BACKEND
}  // namespace luffy
