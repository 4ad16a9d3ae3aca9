// The CPU backends in this build, and which of them this processor runs.
#pragma once

#include "../core/device.h"
#include "op-list.h"

namespace luffy {

// `isa`: "avx512", "avx2", "baseline" (the portable build; NEON on Arm), or "" for the best this processor has. Throws OpError when it is
// unknown, not built or not supported here.
Backend cpu_backend(const char* isa);

// Comma-separated names of those that are built and supported, best first.
const char* cpu_isas();

}  // namespace luffy
