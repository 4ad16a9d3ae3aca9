// silu(gate) * up on CUDA, with the same bits in every kernel. See swiglu.h.
#pragma once

#include "../core/cu.cuh"

namespace luffy {
namespace cuda {

struct Sigmoid {
  float value;
  float rest;  // 1 - value
};

// With e = e^-|g|, which never overflows: both parts keep their relative precision however large |g| is.
DEV Sigmoid sigmoid(float g) {
  const float e = expf(fminf(g, -g));
  const float large = 1.0f / (1.0f + e);
  const float small = e * large;
  return g > 0.0f ? Sigmoid{large, small} : Sigmoid{small, large};
}

DEV float swiglu_value(float gate, float up) { return gate * sigmoid(gate).value * up; }

}  // namespace cuda
}  // namespace luffy
