// The functions that are not ops: devices, tensors, transfers. A row each in functions.cpp.
#pragma once

#include <node_api.h>

#include <cstddef>

namespace luffy::addon {

struct Row {
  const char* name;
  napi_callback callback;
};

extern const Row kFunctions[];
extern const size_t kFunctionCount;

}  // namespace luffy::addon
