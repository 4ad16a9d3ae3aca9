// See cublaslt.h. The library's matrices are stored by columns: a matrix stored by rows is its transpose there. So what
// it is asked for is out^T [n,m] = B^T [n,k] · A^T [k,m]: its A is luffy's B, its columns are luffy's rows.
#include "cublaslt.h"

#include <dlfcn.h>

#include <array>
#include <map>
#include <mutex>

#include "../core/cu.cuh"
#include "../core/library.h"

namespace luffy {
namespace cuda {

namespace {

// Of NVIDIA's documentation of cuBLASLt: enumerations by their numbers.
constexpr int kSuccess = 0;
constexpr int kInvalidValue = 7;
constexpr int kNotSupported = 15;
constexpr int kFloat32 = 0;    // CUDA_R_32F
constexpr int kBfloat16 = 14;  // CUDA_R_16BF
constexpr int kComputeFloat32 = 68;
constexpr int32_t kTranspose = 1;         // CUBLAS_OP_T
constexpr uint32_t kEpilogueBias = 4;     // CUBLASLT_EPILOGUE_BIAS
constexpr uint32_t kReduceInFloat32 = 2;  // CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE
enum DescAttribute { kTransposeA = 3, kTransposeB = 4, kEpilogue = 7, kBiasPointer = 8 };
enum PreferenceAttribute {
  kMaxWorkspace = 1,
  kReductionMask = 3,
  kAlignmentA = 5,
  kAlignmentB,
  kAlignmentC,
  kAlignmentD
};

struct Algorithm {
  uint64_t data[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};

struct Functions {
  size_t (*version)();
  const char* (*status_name)(int status);
  int (*create)(void** handle);
  int (*destroy)(void* handle);
  int (*desc_create)(void** desc, int compute_type, int scale_type);
  int (*desc_destroy)(void* desc);
  int (*desc_set)(void* desc, int attribute, const void* value, size_t bytes);
  int (*layout_create)(void** layout, int type, uint64_t rows, uint64_t columns, int64_t leading_dimension);
  int (*layout_destroy)(void* layout);
  int (*preference_create)(void** preference);
  int (*preference_destroy)(void* preference);
  int (*preference_set)(void* preference, int attribute, const void* value, size_t bytes);
  int (*heuristic)(void* handle, void* desc, void* a, void* b, void* c, void* d, void* preference, int most,
                   Heuristic* found, int* count);
  int (*matmul)(void* handle, void* desc, const void* alpha, const void* a, void* a_layout, const void* b,
                void* b_layout, const void* beta, const void* c, void* c_layout, void* d, void* d_layout,
                const Algorithm* algorithm, void* workspace, size_t workspace_bytes, cudaStream_t stream);
};

// The first function that the library lacks, or null.
const char* read_functions(void* library, Functions& f) {
  const char* missing = nullptr;
  const auto read = [&](auto& function, const char* name) {
    void* found = dlsym(library, name);
    if (found == nullptr && missing == nullptr) missing = name;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
  };
  read(f.version, "cublasLtGetVersion");
  read(f.status_name, "cublasLtGetStatusName");
  read(f.create, "cublasLtCreate");
  read(f.destroy, "cublasLtDestroy");
  read(f.desc_create, "cublasLtMatmulDescCreate");
  read(f.desc_destroy, "cublasLtMatmulDescDestroy");
  read(f.desc_set, "cublasLtMatmulDescSetAttribute");
  read(f.layout_create, "cublasLtMatrixLayoutCreate");
  read(f.layout_destroy, "cublasLtMatrixLayoutDestroy");
  read(f.preference_create, "cublasLtMatmulPreferenceCreate");
  read(f.preference_destroy, "cublasLtMatmulPreferenceDestroy");
  read(f.preference_set, "cublasLtMatmulPreferenceSetAttribute");
  read(f.heuristic, "cublasLtMatmulAlgoGetHeuristic");
  read(f.matmul, "cublasLtMatmul");
  return missing;
}

std::string status_text(const Functions& f, int status) {
  return "status " + std::to_string(status) + " (" + f.status_name(status) + ")";
}

// `start` has the functions of a library that has all of them; it returns why that one is not taken, or nothing.
ProductLibrary search(const std::function<std::string(const Functions&)>& start) {
  ProductLibrary found;
  LibrarySearch how{"cuBLASLt", "LUFFY_CUBLASLT", {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}};
  how.only_named = kEmulated;
  const auto read = [&](void* library, ProductLibrary& one) -> std::string {
    Functions f{};
    if (const char* missing = read_functions(library, f)) return one.file + " lacks " + missing;
    const size_t number = f.version();
    one.version =
        std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." + std::to_string(number % 100);
    if (number < 120000 || number >= 140000) return one.file + " is of version " + one.version + ", not 12 or 13";
    return start(f);
  };
  const std::string reason = open_library(how, [&](void* library, const std::string& file) {
    ProductLibrary one{file, "", ""};
    one.reason = read(library, one);
    if (one.reason.empty() || found.file.empty()) found = one;
    return one.reason;
  });
  found.reason = reason;
  return found;
}

constexpr size_t kMostPlans = 4096;  // then all are forgotten
// What decides between the library's kernels. A larger alignment is none that they ask for, and where the pool put a
// tensor shall decide nothing.
constexpr uintptr_t kMostAlignment = 16;

uint32_t alignment(const void* pointer) {
  const auto address = reinterpret_cast<uintptr_t>(pointer) | kMostAlignment;
  return static_cast<uint32_t>(address & (~address + 1));
}

using Key = std::array<int64_t, 8>;

Key key_of(const LtProduct& p) {
  int64_t kind = p.a_transposed | p.b_columns << 1 | p.out_is_float << 2 | (p.bias != nullptr) << 3 |
                 (p.addend != nullptr) << 4 | (p.addend == p.out) << 5;
  for (const void* pointer : {p.a, p.b, p.bias, p.addend, static_cast<const void*>(p.out)})
    kind = kind << 5 | alignment(pointer);
  return {p.m, p.n, p.k, p.a_stride, p.b_stride, p.out_stride, p.addend == nullptr ? 0 : p.addend_stride, kind};
}

// Whether the library can be told of the matrices: 32-bit sizes, rows that do not overlap.
bool maps(const LtProduct& p) {
  const auto fits = [](int64_t rows, int64_t columns, int64_t stride) {
    constexpr int64_t most = INT32_MAX;
    return rows > 0 && columns > 0 && rows <= most && columns <= most && stride >= columns;
  };
  if (p.bias != nullptr && p.out_is_float) return false;  // it would have to be float32
  if (p.addend == p.out && p.addend_stride != p.out_stride) return false;
  return fits(p.m, p.n, p.out_stride) && (p.addend == nullptr || fits(p.m, p.n, p.addend_stride)) &&
         (p.a_transposed ? fits(p.k, p.m, p.a_stride) : fits(p.m, p.k, p.a_stride)) &&
         (p.b_columns ? fits(p.n, p.k, p.b_stride) : fits(p.k, p.n, p.b_stride));
}

}  // namespace

struct CublasLt::Parts {
  // A product's description and the kernel that the library chose for it, if it has one.
  struct Plan {
    const Functions& f;
    void *desc = nullptr, *a = nullptr, *b = nullptr, *c = nullptr, *d = nullptr;
    Heuristic found{};
    bool has_kernel = false;
    explicit Plan(const Functions& functions) : f(functions) {}
    Plan(const Plan&) = delete;
    ~Plan() {
      if (desc != nullptr) f.desc_destroy(desc);
      for (void* layout : {a, b, c == d ? nullptr : c, d})
        if (layout != nullptr) f.layout_destroy(layout);
    }
  };

  Functions f{};
  void* handle = nullptr;
  void* workspace = nullptr;
  std::map<Key, Plan> plans;
  bool in_use = true;
  mutable std::mutex mutex;  // of `state`
  ProductLibrary state;

  ~Parts() {
    plans.clear();
    if (handle != nullptr) f.destroy(handle);
  }

  int describe(const LtProduct& p, Plan& plan) const;
  int choose(const LtProduct& p, Plan& plan) const;
};

int CublasLt::Parts::describe(const LtProduct& p, Plan& plan) const {
  const int out_type = p.out_is_float ? kFloat32 : kBfloat16;
  int status = f.desc_create(&plan.desc, kComputeFloat32, kFloat32);
  const auto set = [&](DescAttribute attribute, auto value) {
    if (status == kSuccess) status = f.desc_set(plan.desc, attribute, &value, sizeof value);
  };
  // Rows as they are stored are columns there.
  const auto layout = [&](void*& made, int type, int64_t rows, int64_t columns, int64_t stride) {
    if (status == kSuccess)
      status = f.layout_create(&made, type, static_cast<uint64_t>(columns), static_cast<uint64_t>(rows), stride);
  };
  if (p.b_columns) set(kTransposeA, kTranspose);
  if (p.a_transposed) set(kTransposeB, kTranspose);
  if (p.bias != nullptr) {
    set(kEpilogue, kEpilogueBias);
    set(kBiasPointer, p.bias);
  }
  layout(plan.a, kBfloat16, p.b_columns ? p.n : p.k, p.b_columns ? p.k : p.n, p.b_stride);
  layout(plan.b, kBfloat16, p.a_transposed ? p.k : p.m, p.a_transposed ? p.m : p.k, p.a_stride);
  layout(plan.d, out_type, p.m, p.n, p.out_stride);
  if (p.addend == nullptr || p.addend == p.out) {
    plan.c = plan.d;
  } else {
    layout(plan.c, out_type, p.m, p.n, p.addend_stride);
  }
  return status;
}

int CublasLt::Parts::choose(const LtProduct& p, Plan& plan) const {
  void* preference = nullptr;
  int status = f.preference_create(&preference);
  const auto set = [&](PreferenceAttribute attribute, auto value) {
    if (status == kSuccess) status = f.preference_set(preference, attribute, &value, sizeof value);
  };
  set(kMaxWorkspace, uint64_t{kWorkspace});
  set(kReductionMask, kReduceInFloat32);
  set(kAlignmentA, alignment(p.b));
  set(kAlignmentB, alignment(p.a));
  set(kAlignmentC, alignment(p.addend == nullptr ? p.out : p.addend));
  set(kAlignmentD, alignment(p.out));
  int count = 0;
  if (status == kSuccess)
    status = f.heuristic(handle, plan.desc, plan.a, plan.b, plan.c, plan.d, preference, 1, &plan.found, &count);
  if (preference != nullptr) f.preference_destroy(preference);
  plan.has_kernel =
      status == kSuccess && count > 0 && plan.found.state == kSuccess && plan.found.workspace <= kWorkspace;
  return status == kNotSupported || status == kInvalidValue ? kSuccess : status;  // no kernel, which is no failure
}

CublasLt::CublasLt() : parts_(new Parts) {}
CublasLt::~CublasLt() = default;

std::unique_ptr<CublasLt> CublasLt::open(const std::function<void*(size_t bytes)>& take, ProductLibrary& found) {
  std::unique_ptr<CublasLt> made(new CublasLt);
  Parts& parts = *made->parts_;
  found = search([&](const Functions& f) -> std::string {
    const int status = f.create(&parts.handle);
    if (status != kSuccess) {
      parts.handle = nullptr;
      return "cublasLtCreate: " + status_text(f, status);
    }
    parts.f = f;
    return "";
  });
  if (!found.reason.empty()) return nullptr;
  parts.workspace = take(kWorkspace);
  if (parts.workspace == nullptr) {
    found.reason = "there is no memory for its workspace of 32 MiB";
    return nullptr;
  }
  parts.state = found;
  return made;
}

ProductLibrary CublasLt::find() {
  return search([](const Functions&) { return std::string(); });
}

ProductLibrary CublasLt::state() const {
  const std::lock_guard<std::mutex> lock(parts_->mutex);
  return parts_->state;
}

void CublasLt::give_up(const std::string& reason) {
  parts_->in_use = false;
  const std::lock_guard<std::mutex> lock(parts_->mutex);
  parts_->state.reason = reason;
}

bool CublasLt::multiply(const LtProduct& p, void* stream) {
  Parts& parts = *parts_;
  if (!parts.in_use || !maps(p)) return false;
  const auto failed = [&](const char* call, int status) {
    give_up(std::string(call) + ": " + status_text(parts.f, status));
    return false;
  };
  const Key key = key_of(p);
  auto at = parts.plans.find(key);
  if (at == parts.plans.end()) {
    if (parts.plans.size() >= kMostPlans) parts.plans.clear();
    at = parts.plans.try_emplace(key, parts.f).first;
    int status = parts.describe(p, at->second);
    if (status != kSuccess) return failed("describing a product", status);
    status = parts.choose(p, at->second);
    if (status != kSuccess) return failed("cublasLtMatmulAlgoGetHeuristic", status);
  }
  const Parts::Plan& plan = at->second;
  if (!plan.has_kernel) return false;
  if (p.bias != nullptr) {
    const int status = parts.f.desc_set(plan.desc, kBiasPointer, &p.bias, sizeof p.bias);
    if (status != kSuccess) return failed("cublasLtMatmulDescSetAttribute", status);
  }
  const float one = 1.0f;
  const float zero = 0.0f;
  const void* c = p.addend == nullptr ? p.out : p.addend;
  const int status = parts.f.matmul(parts.handle, plan.desc, &one, p.b, plan.a, p.a, plan.b,
                                    p.addend == nullptr ? &zero : &one, c, plan.c, p.out, plan.d, &plan.found.algorithm,
                                    parts.workspace, kWorkspace, static_cast<cudaStream_t>(stream));
  return status == kSuccess || failed("cublasLtMatmul", status);
}

}  // namespace cuda
}  // namespace luffy
