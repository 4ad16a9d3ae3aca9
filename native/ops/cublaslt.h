// cuBLASLt as the faster way to a product of bfloat16: opened at run time where it is found, by the few declarations in
// cublaslt.cu; nothing links it, and nvcc alone builds. Versions 12 and 13.
//
// It is used where its product means the same: sums in float32 (parts of k are added in float32 as well), then the bias
// and the addend, one rounding. What it promises less: which of its kernels runs follows from all sizes, strides and
// alignments of a product, so that a row's bits may depend on how many rows stand beside it. Equal products on one device
// and one version give equal bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "../core/runtime.h"

namespace luffy {
namespace cuda {

// A product as ProductOf<bf16, Out> has it (matmul-product.h), whatever Out is.
struct LtProduct {
  int64_t m, n, k;
  const void* a;
  int64_t a_stride;
  bool a_transposed;
  const void* b;
  int64_t b_stride;
  bool b_columns;      // B is stored [n,k]
  const void* bias;    // bfloat16 [n], or null
  const void* addend;  // of out's type, or null; may be out itself
  int64_t addend_stride;
  void* out;
  int64_t out_stride;
  bool out_is_float;  // else bfloat16
};

class CublasLt {
 public:
  static constexpr size_t kWorkspace = size_t{32} << 20;

  // Finds the library and starts it on the current device. `take` gives its workspace. Null when there is none, or it
  // does not start: `found.reason` says why.
  static std::unique_ptr<CublasLt> open(const std::function<void*(size_t bytes)>& take, ProductLibrary& found);
  // Only finds it.
  static ProductLibrary find();
  ~CublasLt();

  // Launches the product, or returns false: the layout does not map, the library has no kernel for it, or it has failed
  // before. A failure is the end of its use on this device. By the stream's thread only.
  bool multiply(const LtProduct& product, void* stream);

  // Where it was found, and why it is not used any more. By any thread.
  ProductLibrary state() const;
  // `reason` is why it is not used from now on.
  void give_up(const std::string& reason);

 private:
  CublasLt();
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace cuda
}  // namespace luffy
