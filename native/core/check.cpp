#include "check.h"

#include <cstdarg>
#include <cstdio>

#include "errors.h"

namespace luffy {

void fail(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  throw OpError(text);
}

void fail_out_of_memory(const char* what, unsigned long long bytes, unsigned long long free_bytes) {
  char text[256];
  int length = std::snprintf(text, sizeof text, "out of memory: %s needs %.1f MiB", what,
                             static_cast<double>(bytes) / 1048576.0);
  // All ones: not known.
  if (free_bytes != ~0ull) {
    std::snprintf(text + length, sizeof text - static_cast<size_t>(length), ", %.1f MiB are free",
                  static_cast<double>(free_bytes) / 1048576.0);
  }
  throw OutOfMemory(text, bytes);
}

}  // namespace luffy
