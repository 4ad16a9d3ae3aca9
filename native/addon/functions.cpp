#include "functions.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "../core/plugin.h"
#include "../core/system-memory.h"
#include "../ops/cpu-backend.h"
#include "bind.h"

namespace luffy::addon {

std::string describe(const Tensor& tensor) {
  if (!tensor) return "none";
  std::string text = "[";
  for (int i = 0; i < tensor.rank; ++i) text += (i > 0 ? ", " : "") + std::to_string(tensor.shape[i]);
  return text + "] " + dtype_name(tensor.dtype);
}

namespace {

constexpr int kMostThreads = 256;
constexpr int kMostDevices = 1024;

DType dtype_of(const Place& place, napi_value value) {
  const std::string name = Argument<std::string>::from(place, value);
  for (DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i32, DType::u8, DType::f64}) {
    if (name == dtype_name(dtype)) return dtype;
  }
  throw ArgumentError(ArgumentError::Kind::type, place.text() + ": unknown dtype \"" + name + "\"");
}

// An array of 0 to 4 sizes; throws when their product with the element size is beyond 2^52 bytes.
void read_shape(const Place& place, napi_value value, Tensor& tensor) {
  bool is_array = false;
  uint32_t rank = 0;
  napi_is_array(place.env, value, &is_array);
  if (is_array) napi_get_array_length(place.env, value, &rank);
  if (!is_array || rank > 4) {
    throw ArgumentError(ArgumentError::Kind::type, place.text() + " must be an array of at most 4 sizes");
  }
  tensor.rank = static_cast<int32_t>(rank);
  double elements = 1;  // with a size of 0 counted as 1, so that the other sizes cannot overflow either
  for (uint32_t i = 0; i < rank; ++i) {
    napi_value item = nullptr;
    napi_get_element(place.env, value, i, &item);
    const int64_t size = integer_of(place, item);
    if (size < 0) throw ArgumentError(ArgumentError::Kind::range, place.text() + ": negative size");
    tensor.shape[i] = size;
    elements *= size > 0 ? static_cast<double>(size) : 1.0;
  }
  if (elements * static_cast<double>(dtype_bytes(tensor.dtype)) > 4503599627370496.0) {
    throw ArgumentError(ArgumentError::Kind::range, place.text() + ": the tensor is too large");
  }
  tensor.row_stride = tensor.row_size();
}

napi_value number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

void set(napi_env env, napi_value object, const char* name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

void set(napi_env env, napi_value object, const char* name, double value) {
  set(env, object, name, number(env, value));
}

void set(napi_env env, napi_value object, const char* name, const std::string& value) {
  napi_value text = nullptr;
  napi_create_string_utf8(env, value.c_str(), value.size(), &text);
  set(env, object, name, text);
}

// The library of products as an object, null where a backend knows none.
napi_value library_value(napi_env env, const ProductLibrary& library) {
  napi_value object = nullptr;
  if (library.file.empty() && library.reason.empty()) {
    napi_get_null(env, &object);
    return object;
  }
  napi_create_object(env, &object);
  set(env, object, "file", library.file);
  set(env, object, "version", library.version);
  set(env, object, "reason", library.reason);
  return object;
}

// A device of this backend, registered.
napi_value open_backend(napi_env env, Backend backend, Device::Options options) {
  const char* pool = std::getenv("LUFFY_POOL");
  options.caching = pool == nullptr || std::strcmp(pool, "off") != 0;
  OpenDevice open;
  open.device = std::make_shared<Device>(std::move(backend), options);
  open.completions = std::make_shared<Completions>(env, *open.device);
  return number(env, Environment::of(env).devices.insert(std::move(open)));
}

// openDevice(isa, threads) -> device, on the CPU
napi_value open_device(napi_env env, napi_callback_info info) {
  Call<2> call(env, info);
  Environment& environment = Environment::of(env);
  const std::string isa = Argument<std::string>::from(Place{env, environment, call.name, 0}, call.values[0]);
  const int64_t threads = integer_of(Place{env, environment, call.name, 1}, call.values[1]);
  if (threads < 1 || threads > kMostThreads) {
    throw ArgumentError(ArgumentError::Kind::range,
                        "openDevice: threads must be from 1 to 256, got " + std::to_string(threads));
  }
  Device::Options options;
  options.threads = static_cast<int>(threads);
  return open_backend(env, cpu_backend(isa.c_str()), options);
}

// pluginDevices(path) -> { count, reason }: the devices of a plugin; loads it
napi_value plugin_devices(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  const std::string path = Argument<std::string>::from(Place{env, environment, call.name, 0}, call.values[0]);
  std::string reason;
  const int count = load_plugin(path).device_count(reason);
  napi_value object = nullptr;
  napi_create_object(env, &object);
  set(env, object, "count", static_cast<double>(count));
  set(env, object, "reason", reason);
  return object;
}

// pluginProducts(path) -> the library of products that a plugin's devices would try; loads both
napi_value plugin_products(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  const std::string path = Argument<std::string>::from(Place{env, environment, call.name, 0}, call.values[0]);
  return library_value(env, load_plugin(path).find_products());
}

// openPluginDevice(path, ordinal, deterministic) -> device
napi_value open_plugin_device(napi_env env, napi_callback_info info) {
  Call<3> call(env, info);
  Environment& environment = Environment::of(env);
  const std::string path = Argument<std::string>::from(Place{env, environment, call.name, 0}, call.values[0]);
  const int64_t ordinal = integer_of(Place{env, environment, call.name, 1}, call.values[1]);
  if (ordinal < 0 || ordinal > kMostDevices) {
    throw ArgumentError(ArgumentError::Kind::range,
                        "openPluginDevice: expected a device's number, got " + std::to_string(ordinal));
  }
  Device::Options options;
  options.deterministic = Argument<bool>::from(Place{env, environment, call.name, 2}, call.values[2]);
  return open_backend(env, plugin_backend(load_plugin(path), static_cast<int>(ordinal)), options);
}

// closeDevice(device): drops what is queued. Its tensors stay valid handles until released, but ops refuse the device.
napi_value close_device(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  const Place place{env, environment, call.name, 0};
  OpenDevice open = entry_of(place, environment.devices, call.values[0], "device");
  open.device->stop();
  open.completions->close();
  HandleFault fault = HandleFault::none;
  environment.devices.remove(number_of(place, call.values[0]), fault);
  return undefined(env);
}

// deviceInfo(device) -> numbers and names
napi_value device_info(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  Device& device =
      *entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device").device;
  size_t tensors = 0;
  environment.tensors.for_each(
      [&](TensorEntry& entry) { tensors += entry.storage->device().get() == &device ? 1 : 0; });
  napi_value object = nullptr;
  napi_create_object(env, &object);
  set(env, object, "backend", device.backend().name);
  set(env, object, "isa", device.backend().isa);
  set(env, object, "description", device.runtime().describe());
  set(env, object, "products", library_value(env, device.runtime().products()));
  set(env, object, "freeMemory", static_cast<double>(device.runtime().free_memory()));
  set(env, object, "threads", static_cast<double>(device.threads()));
  set(env, object, "liveBytes", static_cast<double>(device.pool().live_bytes()));
  set(env, object, "peakBytes", static_cast<double>(device.pool().peak_bytes()));
  set(env, object, "cachedBytes", static_cast<double>(device.pool().cached_bytes()));
  set(env, object, "scratchBytes", static_cast<double>(device.scratch_bytes()));
  set(env, object, "liveTensors", static_cast<double>(tensors));
  set(env, object, "enqueuedOps", static_cast<double>(device.stream().enqueued()));
  set(env, object, "completedOps", static_cast<double>(device.stream().completed()));
  return object;
}

// deviceProducts(device) -> what deviceInfo says of the library of products, alone
napi_value device_products(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  Device& device =
      *entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device").device;
  return library_value(env, device.runtime().products());
}

// opTimes(device, reset) -> [{ op, count, seconds }]: time of each op on the stream's thread since the last reset
napi_value op_times(napi_env env, napi_callback_info info) {
  Call<2> call(env, info);
  Environment& environment = Environment::of(env);
  Device& device =
      *entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device").device;
  const bool reset = Argument<bool>::from(Place{env, environment, call.name, 1}, call.values[1]);
  napi_value list = nullptr;
  napi_create_array(env, &list);
  uint32_t index = 0;
  for (const auto& [op, time] : device.stream().op_times(reset)) {
    napi_value entry = nullptr;
    napi_create_object(env, &entry);
    set(env, entry, "op", op);
    set(env, entry, "count", static_cast<double>(time.count));
    set(env, entry, "seconds", time.seconds);
    napi_set_element(env, list, index++, entry);
  }
  return list;
}

// resetPeak(device): peakBytes counts from now on.
napi_value reset_peak(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device")
      .device->pool()
      .reset_peak();
  return undefined(env);
}

// trimMemory(device): cached and scratch memory goes back to the system.
napi_value trim_memory(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device").device->trim();
  return undefined(env);
}

// allocate(device, dtype, shape) -> tensor, uninitialised
napi_value allocate(napi_env env, napi_callback_info info) {
  Call<3> call(env, info);
  Environment& environment = Environment::of(env);
  OpenDevice& open = entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device");
  TensorEntry entry;
  entry.view.dtype = dtype_of(Place{env, environment, call.name, 1}, call.values[1]);
  read_shape(Place{env, environment, call.name, 2}, call.values[2], entry.view);
  const auto bytes = static_cast<size_t>(entry.view.size() * dtype_bytes(entry.view.dtype));
  entry.storage = std::make_shared<Storage>(open.device, bytes);
  entry.view.data = entry.storage->data();
  const double handle = environment.tensors.insert(std::move(entry));
  return number(env, handle);
}

// view(tensor, offset in elements, shape, rowStride) -> tensor that shares the storage
napi_value view(napi_env env, napi_callback_info info) {
  Call<4> call(env, info);
  Environment& environment = Environment::of(env);
  const TensorEntry& base =
      entry_of(Place{env, environment, call.name, 0}, environment.tensors, call.values[0], "tensor");
  const int64_t offset = integer_of(Place{env, environment, call.name, 1}, call.values[1]);
  TensorEntry entry;
  entry.storage = base.storage;
  entry.view.dtype = base.view.dtype;
  read_shape(Place{env, environment, call.name, 2}, call.values[2], entry.view);
  entry.view.row_stride = integer_of(Place{env, environment, call.name, 3}, call.values[3]);
  const int64_t width = dtype_bytes(base.view.dtype);
  const auto begin = static_cast<const char*>(base.view.data) - static_cast<const char*>(base.storage->data());
  const auto room =
      static_cast<double>(static_cast<int64_t>(base.storage->bytes()) - begin) / static_cast<double>(width);
  const double rows = static_cast<double>(entry.view.shape[0]);
  const double reach = entry.view.size() == 0 ? 0
                                              : (rows - 1) * static_cast<double>(entry.view.row_stride) +
                                                    static_cast<double>(entry.view.row_size());
  if (offset < 0 || entry.view.row_stride < entry.view.row_size() || static_cast<double>(offset) + reach > room) {
    throw ArgumentError(ArgumentError::Kind::range, "view: " + describe(entry.view) + " at " + std::to_string(offset) +
                                                        " does not fit into " + describe(base.view));
  }
  entry.view.data = static_cast<char*>(base.view.data) + offset * width;
  return number(env, environment.tensors.insert(std::move(entry)));
}

// release(tensor): the handle ends; its memory is free in stream order when no view holds it. Twice is no fault.
napi_value release(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  HandleFault fault = HandleFault::none;
  environment.tensors.remove(number_of(Place{env, environment, call.name, 0}, call.values[0]), fault);
  if (fault == HandleFault::foreign || fault == HandleFault::not_a_handle) {
    throw ArgumentError(ArgumentError::Kind::type, "release: argument 0 is not a tensor of this thread");
  }
  return undefined(env);
}

// The bytes of a typed array, checked against the dtype of the tensor they go into.
std::pair<const void*, size_t> typed_array_of(const Place& place, napi_value value, DType dtype) {
  bool is_typed_array = false;
  napi_is_typedarray(place.env, value, &is_typed_array);
  if (!is_typed_array) throw ArgumentError(ArgumentError::Kind::type, place.text() + " must be a typed array");
  napi_typedarray_type type = napi_uint8_array;
  size_t length = 0;
  void* data = nullptr;
  napi_get_typedarray_info(place.env, value, &type, &length, &data, nullptr, nullptr);
  napi_typedarray_type expected = napi_uint8_array;
  switch (dtype) {
    case DType::f32:
      expected = napi_float32_array;
      break;
    case DType::f64:
      expected = napi_float64_array;
      break;
    case DType::i32:
      expected = napi_int32_array;
      break;
    case DType::bf16:
    case DType::f16:
      expected = napi_uint16_array;
      break;
    case DType::u8:
      expected = napi_uint8_array;
      break;
  }
  if (type != expected) {
    throw ArgumentError(ArgumentError::Kind::type,
                        place.text() + ": the array's type does not match " + dtype_name(dtype));
  }
  return {data, length * static_cast<size_t>(dtype_bytes(dtype))};
}

// write(device, tensor, typedArray): the array is copied before the call returns.
napi_value write(napi_env env, napi_callback_info info) {
  Call<3> call(env, info);
  Environment& environment = Environment::of(env);
  OpenDevice& open = entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device");
  const Tensor target =
      Argument<Tensor>::from(Place{env, environment, call.name, 1, open.device.get()}, call.values[1]);
  LUFFY_CHECK(target, "write: the tensor is missing");
  const auto [data, bytes] = typed_array_of(Place{env, environment, call.name, 2}, call.values[2], target.dtype);
  if (!target.contiguous() || bytes != static_cast<size_t>(target.size() * dtype_bytes(target.dtype))) {
    throw ArgumentError(ArgumentError::Kind::range,
                        "write: expected the " + std::to_string(target.size()) +
                            " elements of a contiguous tensor, got " +
                            std::to_string(bytes / static_cast<size_t>(dtype_bytes(target.dtype))));
  }
  if (bytes == 0) return undefined(env);
  auto copy =
      std::make_shared<std::vector<char>>(static_cast<const char*>(data), static_cast<const char*>(data) + bytes);
  Device* device = open.device.get();
  device->stream().enqueue(
      "write", [copy, target, device] { device->runtime().write(target.data, copy->data(), copy->size()); });
  return undefined(env);
}

// read(device, tensor) -> promise of an ArrayBuffer with the tensor's elements, rows packed
napi_value read(napi_env env, napi_callback_info info) {
  Call<2> call(env, info);
  Environment& environment = Environment::of(env);
  OpenDevice& open = entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device");
  const Tensor source =
      Argument<Tensor>::from(Place{env, environment, call.name, 1, open.device.get()}, call.values[1]);
  LUFFY_CHECK(source, "read: the tensor is missing");
  const auto width = static_cast<size_t>(dtype_bytes(source.dtype));
  auto bytes = std::make_shared<std::vector<char>>(static_cast<size_t>(source.size()) * width);
  Device* device = open.device.get();
  device->stream().enqueue_wait("read", [bytes, source, width, device] {
    if (bytes->empty()) return device->runtime().finish();
    if (source.contiguous()) return device->runtime().read(bytes->data(), source.data, bytes->size());
    const size_t row = static_cast<size_t>(source.row_size()) * width;
    for (int64_t i = 0; i < source.shape[0]; ++i) {
      device->runtime().read(bytes->data() + static_cast<size_t>(i) * row,
                             static_cast<const char*>(source.data) + static_cast<size_t>(i * source.row_stride) * width,
                             row);
    }
  });
  return open.completions->promise(bytes);
}

// synchronize(device) -> promise
napi_value synchronize(napi_env env, napi_callback_info info) {
  Call<1> call(env, info);
  Environment& environment = Environment::of(env);
  OpenDevice& open = entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device");
  Device* device = open.device.get();
  device->stream().enqueue_wait("synchronize", [device] { device->runtime().finish(); });
  return open.completions->promise(nullptr);
}

// systemInfo() -> { isas, cores, availableMemory }
napi_value system_info(napi_env env, napi_callback_info info) {
  Call<0> call(env, info);
  napi_value object = nullptr;
  napi_create_object(env, &object);
  set(env, object, "isas", std::string(cpu_isas()));
  set(env, object, "cores", static_cast<double>(std::thread::hardware_concurrency()));
  set(env, object, "availableMemory", static_cast<double>(available_memory()));
  return object;
}

template <napi_value (*Function)(napi_env, napi_callback_info)>
napi_value safe(napi_env env, napi_callback_info info) {
  return guarded(env, [&] { return Function(env, info); });
}

}  // namespace

const Row kFunctions[] = {
    {"allocate", safe<allocate>},
    {"closeDevice", safe<close_device>},
    {"deviceInfo", safe<device_info>},
    {"deviceProducts", safe<device_products>},
    {"opTimes", safe<op_times>},
    {"openDevice", safe<open_device>},
    {"openPluginDevice", safe<open_plugin_device>},
    {"pluginDevices", safe<plugin_devices>},
    {"pluginProducts", safe<plugin_products>},
    {"read", safe<read>},
    {"release", safe<release>},
    {"resetPeak", safe<reset_peak>},
    {"synchronize", safe<synchronize>},
    {"systemInfo", safe<system_info>},
    {"trimMemory", safe<trim_memory>},
    {"view", safe<view>},
    {"write", safe<write>},
};

const size_t kFunctionCount = sizeof kFunctions / sizeof kFunctions[0];

}  // namespace luffy::addon
