// Device and pinned allocations: poisoned when fresh, guarded on both sides, closed to the host under
// AddressSanitizer, and looked up for every pointer that reaches a kernel or a copy.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runtime.h"

namespace emulator {

namespace {

constexpr size_t kGuard = 256;
constexpr size_t kRemembered = 64;

std::map<uintptr_t, Allocation>& live() {
  static auto* map = new std::map<uintptr_t, Allocation>;
  return *map;
}
struct Freed {
  uintptr_t address;
  size_t bytes;
};
std::deque<Freed> freed;
size_t used = 0;
bool device_is_open = false;

size_t guard() { return address_sanitizer() ? 0 : kGuard; }

bool guards_are_intact(uintptr_t address, size_t bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(address);
  for (size_t i = 0; i < guard(); ++i)
    if (p[bytes + i] != 0xff || p[-static_cast<ptrdiff_t>(i) - 1] != 0xff) return false;
  return true;
}

struct LeakReport {
  ~LeakReport() {
    if (std::getenv("EMULATOR_LEAKS") == nullptr) return;
    size_t bytes = 0;
    for (const auto& [address, allocation] : live()) bytes += allocation.bytes;
    if (!live().empty()) report("leak: %zu bytes in %zu allocations were never freed", bytes, live().size());
  }
} leak_report;

}  // namespace

size_t total_memory() {
  const char* text = std::getenv("EMULATOR_MEMORY");
  return text == nullptr ? size_t{2} << 30 : std::strtoull(text, nullptr, 10);
}
size_t free_memory() { return total_memory() > used ? total_memory() - used : 0; }

cudaError_t allocate(void** out, size_t bytes, Place place) {
  if (out == nullptr) return cudaErrorInvalidValue;
  *out = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (place == Place::device && bytes > free_memory()) return cudaErrorMemoryAllocation;
  void* memory = nullptr;
  if (posix_memalign(&memory, 512, bytes + 2 * guard()) != 0) return cudaErrorMemoryAllocation;
  std::memset(memory, 0xff, bytes + 2 * guard());
  char* start = static_cast<char*>(memory) + guard();
  mark_undefined(start, bytes);
  if (place == Place::device) {
    used += bytes;
    if (!device_is_open) set_poisoned(start, bytes, true);
  }
  live()[reinterpret_cast<uintptr_t>(start)] = {bytes, place};
  *out = start;
  return cudaSuccess;
}

cudaError_t release(void* pointer, Place place) {
  if (pointer == nullptr) return cudaSuccess;
  const auto it = live().find(reinterpret_cast<uintptr_t>(pointer));
  if (it == live().end() || it->second.place != place) {
    report("%s of %p, which is no live allocation of that kind", place == Place::device ? "cudaFree" : "cudaFreeHost",
           pointer);
    return cudaErrorInvalidValue;
  }
  const size_t bytes = it->second.bytes;
  cudaError_t result = cudaSuccess;
  if (!guards_are_intact(it->first, bytes)) {
    report("something wrote outside an allocation of %zu bytes", bytes);
    set_sticky_error(cudaErrorIllegalAddress);
    result = cudaErrorIllegalAddress;
  }
  if (place == Place::device) {
    used -= bytes;
    set_poisoned(pointer, bytes, false);
  }
  std::memset(pointer, 0xff, bytes);
  freed.push_back({it->first, bytes});
  if (freed.size() > kRemembered) freed.pop_front();
  live().erase(it);
  std::free(static_cast<char*>(pointer) - guard());
  return result;
}

const Allocation* find_allocation(const void* pointer, size_t bytes, const char** reason) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(pointer);
  auto it = live().upper_bound(at);
  if (it != live().begin()) {
    --it;
    if (at < it->first + it->second.bytes || (at == it->first && bytes == 0)) {
      if (at + bytes <= it->first + it->second.bytes) return &it->second;
      *reason = "passes the end of its allocation";
      return nullptr;
    }
    // One past the end is a fine pointer as long as nothing is read there.
    if (at == it->first + it->second.bytes && bytes == 0) return &it->second;
  }
  for (const Freed& f : freed) {
    if (at >= f.address && at < f.address + f.bytes) {
      *reason = "points into freed memory";
      return nullptr;
    }
  }
  *reason = "is a host pointer";
  return nullptr;
}

bool is_pinned(const void* pointer) {
  const char* reason = nullptr;
  const Allocation* allocation = find_allocation(pointer, 0, &reason);
  return allocation != nullptr && allocation->place == Place::pinned;
}

bool check_pointer(const char* kernel, int argument, const void* pointer) {
  LUFFY_RUNTIME_LOCK;
  if (pointer == nullptr) return true;
  const char* reason = nullptr;
  if (find_allocation(pointer, 0, &reason) != nullptr) return true;
  report("%s: argument %d, %p, %s", kernel, argument, pointer, reason);
  set_sticky_error(cudaErrorLaunchFailure);
  return false;
}

// Words inside structs may be numbers: only what looks like an address of this process is looked up.
bool check_struct_word(const char* kernel, int argument, uint64_t word) {
#if defined(__x86_64__)
  const bool looks_mapped = (word >> 40) == 0x55 || (word >> 40) == 0x56 || (word >> 40) == 0x7f;
#else
  const bool looks_mapped = (word >> 40) == 0xaa || (word >> 40) == 0xff;
#endif
  return !looks_mapped || check_pointer(kernel, argument, reinterpret_cast<const void*>(word));
}

void open_device_memory() {
  device_is_open = true;
  if (!address_sanitizer()) return;
  for (const auto& [address, allocation] : live())
    if (allocation.place == Place::device) set_poisoned(reinterpret_cast<void*>(address), allocation.bytes, false);
}

bool close_device_memory(const char* kernel) {
  device_is_open = false;
  bool intact = true;
  for (const auto& [address, allocation] : live()) {
    if (allocation.place == Place::device) set_poisoned(reinterpret_cast<void*>(address), allocation.bytes, true);
    if (guards_are_intact(address, allocation.bytes)) continue;
    report("%s wrote outside an allocation of %zu bytes", kernel, allocation.bytes);
    std::memset(reinterpret_cast<char*>(address) - guard(), 0xff, guard());
    std::memset(reinterpret_cast<char*>(address) + allocation.bytes, 0xff, guard());
    intact = false;
  }
  return intact;
}

cudaError_t check_copy(const void* target, const void* source, size_t bytes, cudaMemcpyKind* kind) {
  if (bytes == 0) return cudaSuccess;
  const char* reason = nullptr;
  const Allocation* to = find_allocation(target, 0, &reason);
  const Allocation* from = find_allocation(source, 0, &reason);
  const bool to_device = to != nullptr && to->place == Place::device;
  const bool from_device = from != nullptr && from->place == Place::device;
  if (*kind == cudaMemcpyDefault)
    *kind = to_device ? (from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                      : (from_device ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  const bool wants_to = *kind == cudaMemcpyHostToDevice || *kind == cudaMemcpyDeviceToDevice;
  const bool wants_from = *kind == cudaMemcpyDeviceToHost || *kind == cudaMemcpyDeviceToDevice;
  for (int end = 0; end < 2; ++end) {
    const void* pointer = end == 0 ? target : source;
    const bool wants_device = end == 0 ? wants_to : wants_from;
    const bool is_device = end == 0 ? to_device : from_device;
    const char* name = end == 0 ? "target" : "source";
    const char* why = nullptr;
    if (find_allocation(pointer, bytes, &why) == nullptr && (wants_device || is_device)) {
      report("copy of %zu bytes: the %s %p %s", bytes, name, pointer, why);
      return cudaErrorInvalidValue;
    }
    if (wants_device != is_device) {
      report("copy of %zu bytes: the %s %p is %s memory", bytes, name, pointer, is_device ? "device" : "host");
      return cudaErrorInvalidValue;
    }
  }
  return cudaSuccess;
}

namespace {
// The copy itself runs through the sanitizers' memcpy, which must not see the device as closed.
void set_device_open(const void* pointer, bool open) {
  if (!address_sanitizer() || device_is_open) return;
  auto it = live().upper_bound(reinterpret_cast<uintptr_t>(pointer));
  if (it == live().begin()) return;
  --it;
  if (it->second.place == Place::device && reinterpret_cast<uintptr_t>(pointer) < it->first + it->second.bytes)
    set_poisoned(reinterpret_cast<void*>(it->first), it->second.bytes, !open);
}
}  // namespace

cudaError_t copy_memory(void* target, const void* source, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = check_copy(target, source, bytes, &kind);
  if (error != cudaSuccess || bytes == 0) return error;
  set_device_open(target, true);
  set_device_open(source, true);
  std::memmove(target, source, bytes);
  set_device_open(target, false);
  set_device_open(source, false);
  return cudaSuccess;
}

cudaError_t set_memory(void* target, int value, size_t bytes) {
  if (bytes == 0) return cudaSuccess;
  const char* reason = nullptr;
  if (find_allocation(target, bytes, &reason) == nullptr) {
    report("memset of %zu bytes: the target %p %s", bytes, target, reason);
    return cudaErrorInvalidValue;
  }
  set_device_open(target, true);
  std::memset(target, value, bytes);
  set_device_open(target, false);
  return cudaSuccess;
}

}  // namespace emulator
