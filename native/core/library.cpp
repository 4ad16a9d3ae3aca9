#include "library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace luffy {

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Python's folders in `lib`: "python3.12" and, of Debian's packages, "python3"; the newest first.
std::vector<std::string> python_folders(const std::string& lib) {
  std::vector<std::string> found;
  DIR* folder = opendir(lib.c_str());
  if (folder == nullptr) return found;
  while (const dirent* entry = readdir(folder)) {
    const std::string name = entry->d_name;
    if (name.rfind("python3", 0) == 0) found.push_back(lib + "/" + name);
  }
  closedir(folder);
  std::sort(found.begin(), found.end(), [](const std::string& a, const std::string& b) {
    return a.size() != b.size() ? a.size() > b.size() : a > b;
  });
  return found;
}

// Folders that the dynamic linker does not look into by itself.
std::vector<std::string> folders() {
  std::vector<std::string> found{"/usr/local/cuda/lib64"};
  const std::string home = variable("HOME");
  for (const std::string& prefix :
       {variable("VIRTUAL_ENV"), variable("CONDA_PREFIX"), home.empty() ? home : home + "/.local",
        std::string("/usr/local"), std::string("/usr")}) {
    if (prefix.empty()) continue;
    found.push_back(prefix + "/lib");
    for (const std::string& python : python_folders(prefix + "/lib"))
      for (const char* packages : {"/site-packages", "/dist-packages"})
        for (const char* wheel : {"/nvidia/cu13/lib", "/nvidia/cublas/lib"}) found.push_back(python + packages + wheel);
  }
  return found;
}

std::string file_of(void* library, const std::string& name) {
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr || map->l_name == nullptr) return name;
  return *map->l_name == 0 ? name : map->l_name;
}

}  // namespace

std::string open_library(const LibrarySearch& search,
                         const std::function<std::string(void* library, const std::string& file)>& accept) {
  // Of several that are there and fail, the reason of the first is told.
  std::string reason;
  const auto takes = [&](const std::string& name, bool is_there) {
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const std::string why = library == nullptr ? (is_there ? dlerror() : "") : accept(library, file_of(library, name));
    if (reason.empty()) reason = why;
    return library != nullptr && why.empty();
  };
  const std::string chosen = variable(search.variable);
  if (!chosen.empty()) {
    // Opening a pipe would wait for whoever writes to it.
    struct stat about {};
    if (stat(chosen.c_str(), &about) == 0 && !S_ISREG(about.st_mode)) return chosen + ": not a regular file";
    return takes(chosen, true) ? "" : reason;
  }
  if (!search.only_named) {
    const std::vector<std::string> others = folders();
    for (const std::string& name : search.names) {
      if (takes(name, false)) return "";
      for (const std::string& folder : others) {
        const std::string path = folder + "/" + name;
        if (access(path.c_str(), R_OK) == 0 && takes(path, true)) return "";
      }
    }
  }
  return reason.empty() ? std::string(search.title) + " was not found (" + search.variable + " names its file)"
                        : reason;
}

}  // namespace luffy
