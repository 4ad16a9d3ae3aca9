// What tests ask of the emulated runtime by environment variables: a record of its calls, and a kernel that fails.
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "runtime.h"

namespace emulator {

void note_call(const char* format, ...) {
  const char* path = std::getenv("EMULATOR_CALLS");
  if (path == nullptr || path[0] == 0) return;
  LUFFY_RUNTIME_LOCK;
  std::FILE* file = std::fopen(path, "a");
  if (file == nullptr) return report("EMULATOR_CALLS: cannot write %s", path);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(file, format, arguments);
  va_end(arguments);
  std::fputc('\n', file);
  std::fclose(file);
}

bool inject_fault(Call& call) {
  static unsigned long launches = 0;
  const char* text = std::getenv("EMULATOR_FAULT");
  if (text == nullptr || text[0] == 0) return false;
  const char* colon = std::strchr(text, ':');
  const std::string part = colon == nullptr ? text : std::string(text, colon);
  if (std::strstr(call.name, part.c_str()) == nullptr) return false;
  char* end = nullptr;
  const unsigned long which = colon == nullptr ? 1 : std::strtoul(colon + 1, &end, 10);
  if (++launches != which) return false;
  if (end != nullptr && std::strcmp(end, ":illegal") == 0) {
    report("%s: an illegal access, as EMULATOR_FAULT asks", call.name);
    set_sticky_error(cudaErrorIllegalAddress);
    return true;
  }
  // Volatile, so that the compiler does not see where this goes.
  static volatile uintptr_t nowhere = 16;
  call.body = [] { *reinterpret_cast<volatile int*>(nowhere) = 1; };
  return false;
}

}  // namespace emulator
