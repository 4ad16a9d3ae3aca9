// The matrix product on CUDA: an element has the same bits whichever tile computed it. See matmul-product.h.
#pragma once

#include "../core/cu.cuh"
#include "matmul-product.h"

namespace luffy {
namespace cuda {

// Of the device, for choices that change no result.
int64_t multiprocessors();

}  // namespace cuda
}  // namespace luffy
