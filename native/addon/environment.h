// Environment: all that the addon keeps for one JavaScript environment (the main thread, or a worker).
#pragma once

#include <node_api.h>

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "../core/device.h"
#include "../core/handles.h"
#include "../core/stream.h"

namespace luffy::addon {

// Promises that wait for a device's stream. Completions arrive on the stream's thread and are settled on JavaScript's.
class Completions {
 public:
  Completions(napi_env env, Device& device);
  Completions(const Completions&) = delete;
  Completions& operator=(const Completions&) = delete;

  // A promise that resolves when everything enqueued so far is done: to undefined, or, with `bytes`, to an ArrayBuffer
  // that holds a copy of them. Rejects with the error that poisoned the stream.
  napi_value promise(std::shared_ptr<std::vector<char>> bytes);

  // Rejects what still waits and ends delivery; the stream must have been stopped before.
  void close();

 private:
  struct Pending;
  void end_delivery();
  static void tear_down(void* data);
  static void settle(napi_env env, napi_value callback, void* context, void* data);

  napi_env env_;
  Device& device_;
  napi_threadsafe_function function_ = nullptr;
  // Promises not settled; the process stays alive while there are any.
  std::unordered_set<std::shared_ptr<Pending>> waiting_;
};

struct OpenDevice {
  std::shared_ptr<Device> device;
  std::shared_ptr<Completions> completions;
};

class Environment {
 public:
  explicit Environment(napi_env env, uint32_t number);
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  static Environment& of(napi_env env);

  napi_env env;
  HandleTable<OpenDevice> devices;
  // V8 is not told of this memory: handles are numbers, which no collection frees, and reports would only provoke
  // collections, milliseconds each, in the middle of every step.
  HandleTable<TensorEntry> tensors;
};

}  // namespace luffy::addon
