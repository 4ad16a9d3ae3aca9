// Errors of the native side. Nothing here ends the process: a failed check throws, the stream catches and poisons
// itself, and JavaScript receives the message.
#pragma once

#include "macros.h"

namespace luffy {

// Throws luffy::OpError with a printf-style message. Never inlined: cold, and compiled for the baseline only.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2), cold));

// Throws luffy::OutOfMemory: `bytes` could not be had for `what`, of which `free_bytes` were there.
[[noreturn]] void fail_out_of_memory(const char* what, unsigned long long bytes, unsigned long long free_bytes)
    __attribute__((cold));

}  // namespace luffy

// LUFFY_CHECK(condition, "linear: expected x [T, %lld], got [T, %lld]", k, x.shape[1]);
#define LUFFY_CHECK(condition, ...)                                    \
  do {                                                                 \
    if (__builtin_expect(!(condition), 0)) ::luffy::fail(__VA_ARGS__); \
  } while (0)
