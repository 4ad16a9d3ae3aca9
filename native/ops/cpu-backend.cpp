#include "cpu-backend.h"

#include <cstring>

#include "../core/system-runtime.h"

namespace luffy {

extern const OpTable op_table_cpu_baseline;
#if defined(__x86_64__)
extern const OpTable op_table_cpu_avx2;
extern const OpTable op_table_cpu_avx512;
#endif

namespace {

struct Candidate {
  const char* isa;
  const OpTable* ops;
  bool supported;
};

#if defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
}
#endif

constexpr int kCandidates = 3;

const Candidate* candidates() {
  static const Candidate list[kCandidates] = {
#if defined(__x86_64__)
    {"avx512", &op_table_cpu_avx512, has_avx512()},
    {"avx2", &op_table_cpu_avx2, has_avx2()},
#else
    {"avx512", nullptr, false},
    {"avx2", nullptr, false},
#endif
    {"baseline", &op_table_cpu_baseline, true},
  };
  return list;
}

}  // namespace

Backend cpu_backend(const char* isa) {
  for (int i = 0; i < kCandidates; ++i) {
    const Candidate& candidate = candidates()[i];
    const bool named = std::strcmp(isa, candidate.isa) == 0;
    if (named)
      LUFFY_CHECK(candidate.supported, "this processor does not run the %s kernels (it runs %s)", isa, cpu_isas());
    if (candidate.supported && (named || isa[0] == '\0')) {
      return {candidate.ops, "cpu", candidate.isa, std::make_unique<SystemRuntime>()};
    }
  }
  fail("unknown instruction set \"%s\", expected one of %s", isa, cpu_isas());
}

const char* cpu_isas() {
#if defined(__x86_64__)
  return has_avx512() ? "avx512, avx2, baseline" : has_avx2() ? "avx2, baseline" : "baseline";
#else
  return "baseline";
#endif
}

}  // namespace luffy
