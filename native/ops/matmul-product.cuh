// The matrix product on CUDA: an element has the same bits whichever tile computed it. See matmul-product.h.
#pragma once

#include "../core/cu.cuh"
#include "matmul-product.h"

namespace luffy {
namespace cuda {

// Of the device, for choices that change no result.
inline int64_t multiprocessors() {
  static const int count = [] {
    int device = 0;
    int found = 0;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&found, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) {
      return 1;
    }
    return found;
  }();
  return count;
}

}  // namespace cuda
}  // namespace luffy
