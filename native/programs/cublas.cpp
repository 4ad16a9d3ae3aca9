#include "cublas.h"

#include <dlfcn.h>

#include "../core/check.h"
#include "../core/errors.h"
#include "../core/library.h"

namespace luffy::programs {

// Of NVIDIA's documentation of cuBLAS: enumerations by their numbers.
struct Cublas::Functions {
  static constexpr int kNoTranspose = 0;
  static constexpr int kFloat32 = 0;    // CUDA_R_32F
  static constexpr int kBfloat16 = 14;  // CUDA_R_16BF
  static constexpr int kComputeFloat32 = 68;
  static constexpr int kDefaultAlgorithm = -1;
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*set_stream)(void* handle, void* stream);
  int (*gemm)(void* handle, int transpose_a, int transpose_b, int m, int n, int k, const void* alpha, const void* a,
              int a_type, int lda, const void* b, int b_type, int ldb, const void* beta, void* c, int c_type, int ldc,
              int compute_type, int algorithm);
};

std::unique_ptr<Cublas> Cublas::open(void* stream, std::string& reason) {
  std::unique_ptr<Cublas> cublas(new Cublas);
  const LibrarySearch search{"cuBLAS", "LUFFY_CUBLAS", {"libcublas.so.13", "libcublas.so.12", "libcublas.so"}};
  reason = open_library(search, [&](void* library, const std::string& file) -> std::string {
    auto functions = std::make_unique<Functions>();
    functions->create = reinterpret_cast<decltype(functions->create)>(dlsym(library, "cublasCreate_v2"));
    functions->destroy = reinterpret_cast<decltype(functions->destroy)>(dlsym(library, "cublasDestroy_v2"));
    functions->set_stream = reinterpret_cast<decltype(functions->set_stream)>(dlsym(library, "cublasSetStream_v2"));
    functions->gemm = reinterpret_cast<decltype(functions->gemm)>(dlsym(library, "cublasGemmEx"));
    if (!functions->create || !functions->destroy || !functions->set_stream || !functions->gemm)
      return file + " lacks a function";
    int status = functions->create(&cublas->handle_);
    if (status == 0) status = functions->set_stream(cublas->handle_, stream);
    if (status != 0) return file + " did not start: status " + std::to_string(status);
    cublas->functions_ = std::move(functions);
    cublas->file_ = file;
    return "";
  });
  return reason.empty() ? std::move(cublas) : nullptr;
}

Cublas::~Cublas() {
  if (functions_ && handle_ != nullptr) functions_->destroy(handle_);
}

void Cublas::multiply(Product product, int n, const void* a, const void* b, void* c) {
  const float one = 1.0f;
  const float zero = 0.0f;
  const int type = product == Product::bfloat16 ? Functions::kBfloat16 : Functions::kFloat32;
  const int status =
      functions_->gemm(handle_, Functions::kNoTranspose, Functions::kNoTranspose, n, n, n, &one, a, type, n, b, type, n,
                       &zero, c, type, n, Functions::kComputeFloat32, Functions::kDefaultAlgorithm);
  if (status != 0) fail("cuBLAS: status %d", status);
}

}  // namespace luffy::programs
