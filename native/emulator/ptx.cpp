// The window of shared memory that translated PTX addresses by offsets.
#include "ptx.h"

#include "machine.h"

namespace emulator {

char* ptx_window() { return self()->block->ptx_window; }
size_t ptx_window_bytes() { return self()->block->ptx_window_bytes; }

}  // namespace emulator
