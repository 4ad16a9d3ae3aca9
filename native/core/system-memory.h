// How much memory this process may still take, so that a request that cannot be met fails with numbers instead of
// waking the kernel's out-of-memory killer.
#pragma once

#include <cstddef>

namespace luffy {

// Free bytes by /proc/meminfo and the control group's limit; SIZE_MAX where neither can be read.
size_t available_memory();

// 64-byte aligned system memory (2 MiB aligned and on huge pages from 4 MiB on), or null. Requests of 64 MiB and more
// are refused when available_memory() is below them.
void* allocate_aligned(size_t bytes);
void free_aligned(void* data);

}  // namespace luffy
