// The table of one backend: compiled once per instruction set, beside the kernels of that set.
#include "op-list.h"

#define LUFFY_JOIN_(a, b) a##b
#define LUFFY_JOIN(a, b) LUFFY_JOIN_(a, b)

namespace luffy {

extern const OpTable LUFFY_JOIN(op_table_, LUFFY_BACKEND);

const OpTable LUFFY_JOIN(op_table_, LUFFY_BACKEND) = {
#define LUFFY_POINTER(name) &LUFFY_BACKEND::name,
    LUFFY_OPS(LUFFY_POINTER) LUFFY_QUERIES(LUFFY_POINTER)
#undef LUFFY_POINTER
};

}  // namespace luffy
