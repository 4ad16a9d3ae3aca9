// Launching a kernel under the emulator: arguments are copied, pointers among them checked, and the kernel is run by
// name or, in leg B, through its translated PTX.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emulator.h"

namespace emulator {

struct Shape {
  dim3 grid, block;
  size_t shared_bytes;
  cudaStream_t stream;
  unsigned cluster;
  bool cooperative;
};

// One launch: `body` runs the kernel once for the current thread; `arguments` point at the copies it takes.
struct Call {
  const char* name;
  const void* kernel;
  std::function<void()> body;
  std::function<void(void**)> arguments;
  int argument_count;
};

cudaError_t enqueue_kernel(const Shape& shape, Call call);
// Fails the launch when `pointer` is neither null nor inside a live device or pinned allocation.
bool check_pointer(const char* kernel, int argument, const void* pointer);
bool check_struct_word(const char* kernel, int argument, uint64_t word);

template <class T>
bool check_argument(const char* kernel, int index, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>, "kernel arguments are scalars, pointers or plain structs of them");
  if constexpr (std::is_pointer_v<T>) {
    return check_pointer(kernel, index, reinterpret_cast<const void*>(value));
  } else if constexpr (std::is_class_v<T>) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    T copy = value;
#if defined(__GNUC__) && !defined(__clang__)
    __builtin_clear_padding(&copy);
#endif
    for (size_t at = 0; at + 8 <= sizeof(T); at += 8) {
      uint64_t word;
      std::memcpy(&word, reinterpret_cast<const char*>(&copy) + at, 8);
      if (!check_struct_word(kernel, index, word)) return false;
    }
#endif
  }
  return true;
}

template <class... P, size_t... I>
cudaError_t launch_checked(const char* name, void (*kernel)(P...), const Shape& shape, std::tuple<P...> values,
                           std::index_sequence<I...>) {
  const bool good = (check_argument(name, static_cast<int>(I) + 1, std::get<I>(values)) && ...);
  if (!good) return cudaErrorLaunchFailure;
  auto shared = std::make_shared<std::tuple<P...>>(std::move(values));
  Call call;
  call.name = name;
  call.kernel = reinterpret_cast<const void*>(kernel);
  call.body = [kernel, shared] { std::apply(kernel, *shared); };
  call.arguments = [shared](void** out) { ((out[I] = &std::get<I>(*shared)), ...); };
  call.argument_count = sizeof...(P);
  return enqueue_kernel(shape, std::move(call));
}

template <class... P, class... A>
cudaError_t launch(const char* name, void (*kernel)(P...), const Shape& shape, A&&... arguments) {
  static_assert(sizeof...(P) == sizeof...(A), "number of kernel arguments");
  return launch_checked(name, kernel, shape, std::tuple<P...>(std::forward<A>(arguments)...),
                        std::index_sequence_for<P...>{});
}

}  // namespace emulator
