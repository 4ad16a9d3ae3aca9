// cuBLAS as a peer: opened at run time where it is found, by the few declarations here; nothing links it.
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace luffy::programs {

enum class Product { float32, bfloat16 };

class Cublas {
 public:
  // Version 13 or 12, or the file that LUFFY_CUBLAS names. Null when there is none or it does not start; `reason` says
  // why.
  static std::unique_ptr<Cublas> open(void* stream, std::string& reason);
  ~Cublas();

  // C[n, n] = A B on device memory: float32 without tensor cores' rounding, or bfloat16 with float32 sums. Throws OpError.
  void multiply(Product product, int n, const void* a, const void* b, void* c);

  const std::string& file() const { return file_; }

 private:
  Cublas() = default;
  struct Functions;
  std::unique_ptr<Functions> functions_;
  void* handle_ = nullptr;
  std::string file_;
};

}  // namespace luffy::programs
