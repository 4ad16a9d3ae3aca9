#include "system-runtime.h"

#include <cstring>

#include "system-memory.h"

namespace luffy {

void* SystemRuntime::allocate(size_t bytes) { return allocate_aligned(bytes); }
void SystemRuntime::release(void* data) { free_aligned(data); }
size_t SystemRuntime::free_memory() { return available_memory(); }
void SystemRuntime::write(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
void SystemRuntime::read(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }

}  // namespace luffy
