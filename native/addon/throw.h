// Native errors as JavaScript errors. `code` says which kind; lib/native.ts turns them into luffy's classes.
#pragma once

#include <node_api.h>

#include <string>

#include "../core/errors.h"
#include "../core/stream.h"

namespace luffy::addon {

// A wrong argument at the border: becomes a RangeError or a TypeError that names the argument.
struct ArgumentError : std::runtime_error {
  enum class Kind { type, range, disposed };
  ArgumentError(Kind k, const std::string& what) : std::runtime_error(what), kind(k) {}
  Kind kind;
};

napi_value stream_error_value(napi_env env, const StreamError& error);
napi_value disposed_value(napi_env env, const char* message);
napi_value out_of_memory_value(napi_env env, const char* message, unsigned long long bytes);

// Throws the C++ exception in flight as a JavaScript exception. Call it in a catch block; never lets one through.
void throw_current(napi_env env) noexcept;

}  // namespace luffy::addon
