// The addon: registers one JavaScript function per row (functions.cpp) and per op (ops/op-list.h).
#include <node_api.h>

#include <atomic>
#include <cctype>
#include <cstring>

#include "bind.h"
#include "functions.h"

namespace luffy::addon {

namespace {

struct OpRow {
  const char* name;  // as in C++
  napi_callback callback;
};

const OpRow kOps[] = {
#define LUFFY_ROW(name) {#name, op_callback<&OpTable::name>},
    LUFFY_OPS(LUFFY_ROW) LUFFY_QUERIES(LUFFY_ROW)
#undef LUFFY_ROW
};

constexpr size_t kOpCount = sizeof kOps / sizeof kOps[0];

// rms_norm_forward -> rmsNormForward. The names outlive every callback.
const char* js_name(size_t index) {
  static char names[kOpCount][64];
  char* to = names[index];
  for (const char* from = kOps[index].name; *from != '\0'; ++from) {
    if (*from == '_') {
      *to++ = static_cast<char>(std::toupper(*++from));
    } else {
      *to++ = *from;
    }
  }
  *to = '\0';
  return names[index];
}

void add_function(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, const_cast<char*>(name), &function);
  napi_set_named_property(env, exports, name, function);
}

void destroy(napi_env, void* data, void*) { delete static_cast<Environment*>(data); }

napi_value initialise(napi_env env, napi_value exports) {
  static std::atomic<uint32_t> environments{0};
  static const bool named = [] {
    for (size_t i = 0; i < kOpCount; ++i) js_name(i);
    return true;
  }();
  (void)named;
  return guarded(env, [&] {
    auto* environment = new Environment(env, environments.fetch_add(1));
    napi_set_instance_data(env, environment, destroy, nullptr);
    for (size_t i = 0; i < kFunctionCount; ++i) add_function(env, exports, kFunctions[i].name, kFunctions[i].callback);
    for (size_t i = 0; i < kOpCount; ++i) add_function(env, exports, js_name(i), kOps[i].callback);
    return exports;
  });
}

}  // namespace

}  // namespace luffy::addon

NAPI_MODULE_INIT() { return luffy::addon::initialise(env, exports); }
