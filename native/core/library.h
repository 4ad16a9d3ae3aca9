// A shared library of NVIDIA's, opened at run time where it is found: nothing links it, and a machine without it lacks
// no more than what it does.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace luffy {

struct LibrarySearch {
  const char* title;               // "cuBLASLt"
  const char* variable;            // of the environment: names the file, and no other is tried
  std::vector<std::string> names;  // "libcublasLt.so.13", best first
  bool only_named = false;         // by the variable: what runs on emulated memory must not meet NVIDIA's
};

// Opens files of these names until `accept` takes one, by returning nothing; what it returns is why it does not. They
// are looked for where the dynamic linker looks, in the toolkit, and in Python's wheels beneath the usual prefixes.
// Returns why none was taken, or nothing. What was opened is never closed.
std::string open_library(const LibrarySearch& search,
                         const std::function<std::string(void* library, const std::string& file)>& accept);

}  // namespace luffy
