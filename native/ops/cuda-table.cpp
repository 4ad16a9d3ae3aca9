// The CUDA backend's table. An op without a kernel in the plugin is null there; calling it is an error that names it.
#include "op-list.h"

namespace luffy {

namespace cuda {
#define LUFFY_MAY_BE_MISSING(name) extern __typeof__(name) name __attribute__((weak));
LUFFY_OPS(LUFFY_MAY_BE_MISSING) LUFFY_QUERIES(LUFFY_MAY_BE_MISSING)
#undef LUFFY_MAY_BE_MISSING
}  // namespace cuda

extern const OpTable op_table_cuda;
const OpTable op_table_cuda = {
#define LUFFY_POINTER(name) &cuda::name,
    LUFFY_OPS(LUFFY_POINTER) LUFFY_QUERIES(LUFFY_POINTER)
#undef LUFFY_POINTER
};

}  // namespace luffy
