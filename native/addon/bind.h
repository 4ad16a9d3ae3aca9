// One N-API callback per function pointer: arguments are converted by the C++ signature, the call is enqueued on the
// device's stream (ops) or made at once (queries).
#pragma once

#include <node_api.h>

#include <string>
#include <tuple>
#include <utility>

#include "../ops/op-list.h"
#include "arguments.h"

namespace luffy::addon {

// The callback's data is the function's JavaScript name.
template <size_t N>
struct Call {
  napi_value values[N == 0 ? 1 : N];
  const char* name;

  Call(napi_env env, napi_callback_info info) {
    size_t count = N;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, values, nullptr, &data);
    name = static_cast<const char*>(data);
    if (count != N) {
      throw ArgumentError(ArgumentError::Kind::type, std::string(name) + ": expected " + std::to_string(N) +
                                                         " arguments, got " + std::to_string(count));
    }
  }
};

inline napi_value undefined(napi_env env) {
  napi_value value = nullptr;
  napi_get_undefined(env, &value);
  return value;
}

// "[16, 32] float32" for the message of a failed op.
std::string describe(const Tensor& tensor);
inline std::string describe(double value) { return std::to_string(value); }
inline std::string describe(int64_t value) { return std::to_string(value); }
inline std::string describe(bool value) { return value ? "true" : "false"; }
template <class T>
std::string describe(const T&) {
  return "{...}";
}

template <class... A>
std::string describe_all(const std::tuple<A...>& arguments) {
  return std::apply(
      [](const auto&... each) {
        std::string text;
        ((text += (text.empty() ? "" : ", ") + describe(each)), ...);
        return text;
      },
      arguments);
}

// Ops: name(device, ...arguments of the C++ function after the context).
template <class... A, size_t... I>
napi_value enqueue_op(napi_env env, napi_callback_info info, void (*OpTable::*member)(Context&, A...),
                      std::index_sequence<I...>) {
  Call<sizeof...(A) + 1> call(env, info);
  Environment& environment = Environment::of(env);
  OpenDevice& open = entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device");
  Device* device = open.device.get();
  std::tuple<A...> arguments{
      Argument<A>::from(Place{env, environment, call.name, static_cast<int>(I) + 1, device}, call.values[I + 1])...};
  auto function = device->backend().ops->*member;
  LUFFY_CHECK(function != nullptr, "%s: device %s has no kernel for it yet", call.name, device->backend().name.c_str());
  device->stream().enqueue(
      call.name,
      [device, function, arguments] {
        std::apply([&](const A&... each) { function(device->context(), each...); }, arguments);
      },
      [arguments] { return describe_all(arguments); });
  return undefined(env);
}

template <class... A>
napi_value call_member(napi_env env, napi_callback_info info, void (*OpTable::*member)(Context&, A...)) {
  return enqueue_op(env, info, member, std::index_sequence_for<A...>{});
}

// Queries: name(device, ...arguments), answered at once.
template <class... A, size_t... I>
napi_value answer_query(napi_env env, napi_callback_info info, int64_t (*OpTable::*member)(A...),
                        std::index_sequence<I...>) {
  Call<sizeof...(A) + 1> call(env, info);
  Environment& environment = Environment::of(env);
  OpenDevice& open = entry_of(Place{env, environment, call.name, 0}, environment.devices, call.values[0], "device");
  auto function = open.device->backend().ops->*member;
  const int64_t answer =
      function(Argument<A>::from(Place{env, environment, call.name, static_cast<int>(I) + 1}, call.values[I + 1])...);
  napi_value value = nullptr;
  napi_create_double(env, static_cast<double>(answer), &value);
  return value;
}

template <class... A>
napi_value call_member(napi_env env, napi_callback_info info, int64_t (*OpTable::*member)(A...)) {
  return answer_query(env, info, member, std::index_sequence_for<A...>{});
}

// The wrapper around every entry: no exception crosses the border.
template <class F>
napi_value guarded(napi_env env, F&& body) noexcept {
  try {
    return body();
  } catch (...) {
    throw_current(env);
    return nullptr;
  }
}

template <auto Member>
napi_value op_callback(napi_env env, napi_callback_info info) {
  return guarded(env, [&] { return call_member(env, info, Member); });
}

}  // namespace luffy::addon
