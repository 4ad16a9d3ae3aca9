#include "plugin.h"

#include <dlfcn.h>

#include "../ops/op-list.h"

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
  LUFFY_CHECK(count > 0, "%s", reason.c_str());
  LUFFY_CHECK(ordinal >= 0 && ordinal < count, "there is no device %s:%d, only 0 to %d", plugin.name, ordinal,
              count - 1);
  Backend backend;
  backend.ops = plugin.ops;
  backend.name = plugin.name;
  backend.runtime = plugin.open(ordinal);
  return backend;
}

}  // namespace luffy
