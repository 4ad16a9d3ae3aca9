// Plugin: a backend in a shared library of its own (luffy_cuda.so, luffy_emulated.so), opened at run time. The addon
// links nothing of it, so that a machine without a driver loads the addon all the same.
#pragma once

#include <memory>
#include <string>

#include "device.h"
#include "runtime.h"

namespace luffy {

struct OpTable;

// What `luffy_plugin()`, the library's only export, returns. Library and addon come from one build: `version` and the
// sizes tell when they do not.
struct Plugin {
  static constexpr int kVersion = 3;
  int version;
  size_t table_bytes;
  size_t context_bytes;
  const char* name;  // "cuda", "emulated"
  const OpTable* ops;
  // How many devices there are; none: `reason` says why.
  int (*device_count)(std::string& reason);
  // Opens device `ordinal`; throws DeviceFailure.
  std::unique_ptr<Runtime> (*open)(int ordinal);
  // The library of products that its devices would try, looked for without a device.
  ProductLibrary (*find_products)();
};

using PluginEntry = const Plugin* (*)();

// The plugin in this file. Throws OpError when it does not load or belongs to another build. Never closed.
const Plugin& load_plugin(const std::string& path);

// A backend on device `ordinal` of a plugin. Throws DeviceFailure when there is no such device.
Backend plugin_backend(const Plugin& plugin, int ordinal);

}  // namespace luffy
