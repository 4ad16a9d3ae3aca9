#include "system-memory.h"

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace luffy {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kCheckedFrom = size_t{64} << 20;

// The number in a one-line file such as memory.max, or SIZE_MAX ("max", or no such file).
size_t number_in(const char* path) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return SIZE_MAX;
  unsigned long long value = 0;
  const bool found = std::fscanf(file, "%llu", &value) == 1;
  std::fclose(file);
  return found ? static_cast<size_t>(value) : SIZE_MAX;
}

// The number after `name` in a file of "name number" lines, or SIZE_MAX.
size_t number_after(const char* path, const char* name) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) return SIZE_MAX;
  char line[128];
  size_t result = SIZE_MAX;
  const size_t length = std::strlen(name);
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::strncmp(line, name, length) == 0) {
      result = static_cast<size_t>(std::strtoull(line + length, nullptr, 10));
      break;
    }
  }
  std::fclose(file);
  return result;
}

size_t mem_available() {
  const size_t kibibytes = number_after("/proc/meminfo", "MemAvailable:");
  return kibibytes == SIZE_MAX ? SIZE_MAX : kibibytes * 1024;
}

}  // namespace

size_t available_memory() {
  const size_t free_bytes = mem_available();
  const size_t limit = number_in("/sys/fs/cgroup/memory.max");
  if (limit == SIZE_MAX) return free_bytes;
  // The page cache counts as used there, but the kernel gives it up before it kills anything.
  const size_t counted = number_in("/sys/fs/cgroup/memory.current");
  const size_t cached = number_after("/sys/fs/cgroup/memory.stat", "file ");
  if (counted == SIZE_MAX) return free_bytes;
  const size_t used = cached == SIZE_MAX || cached > counted ? counted : counted - cached;
  const size_t rest = used > limit ? 0 : limit - used;
  return rest < free_bytes ? rest : free_bytes;
}

void* allocate_aligned(size_t bytes) {
  if (bytes >= kCheckedFrom && bytes > available_memory()) return nullptr;
  const bool huge = bytes >= 2 * kHugePage;
  const size_t alignment = huge ? kHugePage : 64;
  void* data = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (data != nullptr && huge) madvise(data, bytes, MADV_HUGEPAGE);
#endif
  return data;
}

void free_aligned(void* data) { std::free(data); }

}  // namespace luffy
