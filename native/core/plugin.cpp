#include "plugin.h"

#include <dlfcn.h>

#include "../ops/op-list.h"
#include "errors.h"

namespace luffy {

const Plugin& load_plugin(const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) fail("%s does not load: %s", path.c_str(), dlerror());
  auto* entry = reinterpret_cast<PluginEntry>(dlsym(library, "luffy_plugin"));
  LUFFY_CHECK(entry != nullptr, "%s is not a plugin of luffy: it exports no luffy_plugin", path.c_str());
  const Plugin& plugin = *entry();
  LUFFY_CHECK(plugin.version == Plugin::kVersion && plugin.table_bytes == sizeof(OpTable) &&
                  plugin.context_bytes == sizeof(Context),
              "%s comes from another build of luffy: build both again (npx luffy build --clean)", path.c_str());
  return plugin;
}

Backend plugin_backend(const Plugin& plugin, int ordinal) {
  std::string reason;
  const int count = plugin.device_count(reason);
  if (count == 0) throw DeviceFailure(reason);
  if (ordinal < 0 || ordinal >= count) {
    throw DeviceFailure("there is no device " + std::string(plugin.name) + ":" + std::to_string(ordinal) +
                        ", only 0 to " + std::to_string(count - 1));
  }
  Backend backend;
  backend.ops = plugin.ops;
  backend.name = plugin.name;
  backend.runtime = plugin.open(ordinal);
  return backend;
}

}  // namespace luffy
