// A cuBLASLt for tests: the calls that luffy makes, after NVIDIA's documentation, on the emulator's memory. It checks
// every argument, refuses what the real one would, and can misbehave.
//
//   CUBLASLT_PEER_LOG=FILE   a line for every heuristic asked for and every product
//   CUBLASLT_PEER=aligned    has kernels for rows that start at multiples of 16 bytes only
//                =refuses    has no kernel for anything
//                =wrong      adds one to the last element
//                =narrow     adds parts of k in bfloat16
//                =biasless   forgets the bias
//                =stopped    does not start
//                =fails:N    the N-th product since it started, and every later one, is an execution error
// Compiled with -DLACKS it has no cublasLtMatmul, with -DVERSION=N it is of that version.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#ifndef VERSION
#define VERSION 130101
#endif

namespace {

enum Status { kSuccess = 0, kNotInitialized = 1, kInvalidValue = 7, kExecutionFailed = 13, kNotSupported = 15 };
enum DataType { kFloat32 = 0, kBfloat16 = 14 };
constexpr size_t kMostWorkspace = size_t{32} << 20;

struct Object {
  uint32_t kind;
};
int objects = 0;  // that are there

template <uint32_t kind_>
struct Typed : Object {
  static constexpr uint32_t magic = kind_;
  Typed() : Object{kind_} { ++objects; }
  ~Typed() {
    kind = 0;
    --objects;
  }
};

struct Handle : Typed<0x4c740001> {};
struct Desc : Typed<0x4c740002> {
  int32_t transpose[2] = {0, 0};
  uint32_t epilogue = 1;
  const void* bias = nullptr;
};
struct Layout : Typed<0x4c740003> {
  int type = 0;
  uint64_t rows = 0, columns = 0;
  int64_t ld = 0;
};
struct Preference : Typed<0x4c740004> {
  uint64_t workspace = 0;
  uint32_t reductions = 7;
  uint32_t alignments[4] = {256, 256, 256, 256};
};

// What a heuristic chose, as the algorithm's 64 bytes: it runs for nothing else.
struct Chosen {
  uint64_t mark, problem, workspace;
  uint32_t alignments[5];
  uint32_t unused;
};
struct Algorithm {
  uint64_t data[8];
};
static_assert(sizeof(Chosen) <= sizeof(Algorithm));
struct Heuristic {
  Algorithm algorithm;
  size_t workspace;
  int state;
  float waves;
  int reserved[4];
};
constexpr uint64_t kMark = 0x6c75666679ull;

int products = 0;  // since the last start

template <class T>
T* as(void* object) {
  auto* typed = static_cast<T*>(object);
  return typed != nullptr && typed->kind == T::magic ? typed : nullptr;
}

std::string way() {
  const char* text = std::getenv("CUBLASLT_PEER");
  return text == nullptr ? "" : text;
}

void log_line(const std::string& line) {
  const char* path = std::getenv("CUBLASLT_PEER_LOG");
  if (path == nullptr) return;
  FILE* file = std::fopen(path, "a");
  if (file == nullptr) return;
  std::fprintf(file, "%s\n", line.c_str());
  std::fclose(file);
}

struct Problem {
  uint64_t m, n, k;  // of D [m,n], by columns
  bool transpose_a, transpose_b;
  const Layout *a, *b, *c, *d;
};

// Whether the layouts fit together, after the documentation's rules for this one pair of types.
Status read_problem(const Desc& desc, const Layout* a, const Layout* b, const Layout* c, const Layout* d, Problem& p) {
  if (a == nullptr || b == nullptr || c == nullptr || d == nullptr) return kInvalidValue;
  p = {d->rows, d->columns, 0, desc.transpose[0] == 1, desc.transpose[1] == 1, a, b, c, d};
  p.k = p.transpose_a ? a->rows : a->columns;
  const bool fits = (p.transpose_a ? a->columns : a->rows) == p.m && (p.transpose_b ? b->columns : b->rows) == p.k &&
                    (p.transpose_b ? b->rows : b->columns) == p.n && c->rows == p.m && c->columns == p.n;
  if (!fits) return kInvalidValue;
  for (const Layout* layout : {a, b, c, d}) {
    if (layout->ld < static_cast<int64_t>(layout->rows) || layout->rows > INT32_MAX || layout->columns > INT32_MAX)
      return kInvalidValue;
  }
  if (a->type != kBfloat16 || b->type != kBfloat16 || c->type != d->type) return kNotSupported;
  if (d->type != kBfloat16 && d->type != kFloat32) return kNotSupported;
  if (desc.epilogue == 4 && desc.bias == nullptr) return kInvalidValue;
  return kSuccess;
}

uint64_t hash_of(const Desc& desc, const Problem& p) {
  uint64_t hash = 1469598103934665603ull;
  const auto add = [&](uint64_t x) { hash = (hash ^ x) * 1099511628211ull; };
  for (const Layout* layout : {p.a, p.b, p.c, p.d})
    for (const uint64_t x :
         {static_cast<uint64_t>(layout->type), layout->rows, layout->columns, static_cast<uint64_t>(layout->ld)})
      add(x);
  add(p.transpose_a);
  add(p.transpose_b);
  add(desc.epilogue);
  return hash;
}

std::string text_of(const Desc& desc, const Problem& p, const char* more) {
  char text[200];
  std::snprintf(text, sizeof text, "%c%c %llu x %llu x %llu to %s%s%s", p.transpose_a ? 'T' : 'N',
                p.transpose_b ? 'T' : 'N', static_cast<unsigned long long>(p.m), static_cast<unsigned long long>(p.n),
                static_cast<unsigned long long>(p.k), p.d->type == kFloat32 ? "float32" : "bfloat16",
                desc.epilogue == 4 ? ", bias" : "", more);
  return text;
}

float from_bits(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float x = 0;
  std::memcpy(&x, &wide, sizeof x);
  return x;
}
uint16_t to_bits(float x) {
  uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  if (x != x) return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float load(const void* data, int type, int64_t at) {
  return type == kFloat32 ? static_cast<const float*>(data)[at] : from_bits(static_cast<const uint16_t*>(data)[at]);
}
void store(void* data, int type, int64_t at, float x) {
  if (type == kFloat32) {
    static_cast<float*>(data)[at] = x;
  } else {
    static_cast<uint16_t*>(data)[at] = to_bits(x);
  }
}

bool is_aligned(const void* pointer, uint32_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

// In another order than luffy's: k from its end.
void compute(const Desc& desc, const Problem& p, const void* a, const void* b, float alpha, float beta, const void* c,
             void* d) {
  const std::string how = way();
  for (uint64_t j = 0; j < p.n; ++j) {
    for (uint64_t i = 0; i < p.m; ++i) {
      float sum = 0;
      for (uint64_t t = p.k; t-- > 0;) {
        const auto at_a =
            static_cast<int64_t>(p.transpose_a ? t : i) + static_cast<int64_t>(p.transpose_a ? i : t) * p.a->ld;
        const auto at_b =
            static_cast<int64_t>(p.transpose_b ? j : t) + static_cast<int64_t>(p.transpose_b ? t : j) * p.b->ld;
        sum += load(a, kBfloat16, at_a) * load(b, kBfloat16, at_b);
        if (how == "narrow" && t % 16 == 0) sum = from_bits(to_bits(sum));
      }
      float x = alpha * sum;
      // C is not read when beta is 0.
      if (beta != 0) x += beta * load(c, p.c->type, static_cast<int64_t>(i) + static_cast<int64_t>(j) * p.c->ld);
      if (desc.epilogue == 4 && how != "biasless") x += load(desc.bias, p.d->type, static_cast<int64_t>(i));
      if (how == "wrong" && i + 1 == p.m && j + 1 == p.n) x = x * 1.25f + 1;
      store(d, p.d->type, static_cast<int64_t>(i) + static_cast<int64_t>(j) * p.d->ld, x);
    }
  }
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED size_t cublasLtGetVersion() { return VERSION; }

EXPORTED const char* cublasLtGetStatusName(int status) {
  switch (status) {
    case kSuccess:
      return "CUBLAS_STATUS_SUCCESS";
    case kNotInitialized:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case kInvalidValue:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case kExecutionFailed:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case kNotSupported:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "unknown";
  }
}

EXPORTED int cublasLtCreate(void** handle) {
  if (handle == nullptr) return kInvalidValue;
  if (way() == "stopped") return kNotInitialized;
  products = 0;
  *handle = new Handle;
  return kSuccess;
}
template <class T>
int destroy(void* object) {
  T* typed = as<T>(object);
  if (typed == nullptr) return kInvalidValue;
  delete typed;
  return kSuccess;
}
EXPORTED int cublasLtDestroy(void* handle) {
  const int status = destroy<Handle>(handle);
  if (objects != 0) log_line("left " + std::to_string(objects));
  return status;
}

EXPORTED int cublasLtMatmulDescCreate(void** desc, int compute_type, int scale_type) {
  if (desc == nullptr || compute_type != 68 || scale_type != kFloat32) return kInvalidValue;
  *desc = new Desc;
  return kSuccess;
}
EXPORTED int cublasLtMatmulDescDestroy(void* desc) { return destroy<Desc>(desc); }

template <class T>
int set(T& to, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return kInvalidValue;
  std::memcpy(&to, value, bytes);
  return kSuccess;
}

EXPORTED int cublasLtMatmulDescSetAttribute(void* object, int attribute, const void* value, size_t bytes) {
  Desc* desc = as<Desc>(object);
  if (desc == nullptr) return kInvalidValue;
  switch (attribute) {
    case 3:
    case 4: {
      int32_t transpose = 0;
      if (set(transpose, value, bytes) != kSuccess || transpose < 0 || transpose > 1) return kInvalidValue;
      desc->transpose[attribute - 3] = transpose;
      return kSuccess;
    }
    case 7: {
      uint32_t epilogue = 0;
      if (set(epilogue, value, bytes) != kSuccess || (epilogue != 1 && epilogue != 4)) return kInvalidValue;
      desc->epilogue = epilogue;
      return kSuccess;
    }
    case 8:
      return set(desc->bias, value, bytes);
    default:
      return kInvalidValue;
  }
}

EXPORTED int cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  if (layout == nullptr || rows == 0 || columns == 0 || ld < 0) return kInvalidValue;
  auto* made = new Layout;
  made->type = type;
  made->rows = rows;
  made->columns = columns;
  made->ld = ld;
  *layout = made;
  return kSuccess;
}
EXPORTED int cublasLtMatrixLayoutDestroy(void* layout) { return destroy<Layout>(layout); }

EXPORTED int cublasLtMatmulPreferenceCreate(void** preference) {
  if (preference == nullptr) return kInvalidValue;
  *preference = new Preference;
  return kSuccess;
}
EXPORTED int cublasLtMatmulPreferenceDestroy(void* preference) { return destroy<Preference>(preference); }

EXPORTED int cublasLtMatmulPreferenceSetAttribute(void* object, int attribute, const void* value, size_t bytes) {
  Preference* preference = as<Preference>(object);
  if (preference == nullptr) return kInvalidValue;
  if (attribute == 1) return set(preference->workspace, value, bytes);
  if (attribute == 3) return set(preference->reductions, value, bytes);
  if (attribute < 5 || attribute > 8) return kInvalidValue;
  return set(preference->alignments[attribute - 5], value, bytes);
}

EXPORTED int cublasLtMatmulAlgoGetHeuristic(void* handle, void* desc_object, void* a, void* b, void* c, void* d,
                                            void* preference_object, int most, Heuristic* found, int* count) {
  const Desc* desc = as<Desc>(desc_object);
  const Preference* preference = as<Preference>(preference_object);
  if (as<Handle>(handle) == nullptr) return kNotInitialized;
  if (desc == nullptr || preference == nullptr || most <= 0 || found == nullptr || count == nullptr)
    return kInvalidValue;
  *count = 0;
  Problem p{};
  const Status status = read_problem(*desc, as<Layout>(a), as<Layout>(b), as<Layout>(c), as<Layout>(d), p);
  if (status != kSuccess) return status;
  log_line("heuristic " + text_of(*desc, p, ""));
  const std::string how = way();
  if (how == "refuses") return kNotSupported;
  // Sums in shorter types are what the mask leaves out.
  if (preference->reductions != 2 || preference->workspace > kMostWorkspace) return kNotSupported;
  Chosen chosen{};
  chosen.mark = kMark;
  chosen.problem = hash_of(*desc, p);
  chosen.workspace = p.k > 512 ? 1 << 20 : 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t alignment = preference->alignments[i];
    if (alignment < 2 || (alignment & (alignment - 1)) != 0) return kInvalidValue;
    if (i >= 2 && p.d->type == kFloat32 && alignment < 4) return kInvalidValue;
    const Layout* layout = (const Layout*[]){p.a, p.b, p.c, p.d}[i];
    const bool in_runs = alignment >= 16 && layout->ld * (layout->type == kFloat32 ? 4 : 2) % 16 == 0;
    if (how == "aligned" && !in_runs) return kNotSupported;
    chosen.alignments[i] = alignment;
  }
  if (chosen.workspace > preference->workspace) return kNotSupported;
  chosen.alignments[4] = desc->bias == nullptr ? 1 : is_aligned(desc->bias, 16) ? 16 : 2;
  std::memset(found, 0, sizeof *found);
  std::memcpy(&found->algorithm, &chosen, sizeof chosen);
  found->workspace = chosen.workspace;
  found->waves = 1;
  *count = 1;
  return kSuccess;
}

#ifdef LACKS
#define cublasLtMatmul another_name
#endif
EXPORTED int cublasLtMatmul(void* handle, void* desc_object, const void* alpha, const void* a, void* a_layout,
                            const void* b, void* b_layout, const void* beta, const void* c, void* c_layout, void* d,
                            void* d_layout, const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
                            void* stream) {
  const Desc* desc = as<Desc>(desc_object);
  if (as<Handle>(handle) == nullptr) return kNotInitialized;
  if (desc == nullptr || alpha == nullptr || beta == nullptr || a == nullptr || b == nullptr || d == nullptr ||
      algorithm == nullptr || stream == nullptr)
    return kInvalidValue;
  Problem p{};
  const Status status =
      read_problem(*desc, as<Layout>(a_layout), as<Layout>(b_layout), as<Layout>(c_layout), as<Layout>(d_layout), p);
  if (status != kSuccess) return status;
  float scale[2];
  std::memcpy(scale, alpha, sizeof scale[0]);
  std::memcpy(scale + 1, beta, sizeof scale[1]);
  if (scale[1] != 0 && c == nullptr) return kInvalidValue;
  if (c == d && p.c->ld != p.d->ld) return kInvalidValue;
  Chosen chosen{};
  std::memcpy(&chosen, algorithm, sizeof chosen);
  if (chosen.mark != kMark || chosen.problem != hash_of(*desc, p)) return kInvalidValue;
  const void* pointers[] = {a, b, c, d, desc->bias};
  for (int i = 0; i < 5; ++i)
    if (pointers[i] != nullptr && !is_aligned(pointers[i], chosen.alignments[i])) return kInvalidValue;
  if (chosen.workspace > workspace_bytes || !is_aligned(workspace, 256)) return kInvalidValue;
  if (chosen.workspace > 0) {
    if (workspace == nullptr) return kInvalidValue;
    std::memset(workspace, 0xa5, workspace_bytes);  // all of it is the library's
  }
  products += 1;
  const std::string how = way();
  if (how.rfind("fails:", 0) == 0 && products >= std::atoi(how.c_str() + 6)) {
    log_line("failed " + text_of(*desc, p, ""));
    return kExecutionFailed;
  }
  compute(*desc, p, a, b, scale[0], scale[1], c, d);
  log_line("matmul " + text_of(*desc, p, scale[1] == 0 ? "" : c == d ? ", added to D" : ", added to C"));
  return kSuccess;
}
