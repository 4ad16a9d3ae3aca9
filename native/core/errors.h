// Exceptions of the native side. They never cross the border: the addon and the stream catch them.
#pragma once

#include <stdexcept>
#include <string>

namespace luffy {

// A wrong argument, or a kernel that cannot go on.
struct OpError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What kernels found wrong in their arguments, thrown by the first wait afterwards; `sequence` is the op's number on its
// stream.
struct FaultError : OpError {
  FaultError(const std::string& what, unsigned long long op) : OpError(what), sequence(op) {}
  unsigned long long sequence;
};

// A device that failed: nothing that came is wrong.
struct DeviceFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Memory that could not be had; `bytes` is what was asked for.
struct OutOfMemory : std::runtime_error {
  OutOfMemory(const std::string& what, unsigned long long wanted) : std::runtime_error(what), bytes(wanted) {}
  unsigned long long bytes;
};

}  // namespace luffy
