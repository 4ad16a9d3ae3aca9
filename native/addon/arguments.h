// JavaScript values as C++ arguments, by type. Numbers are read as doubles and checked, never truncated.
#pragma once

#include <node_api.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "environment.h"
#include "throw.h"

namespace luffy::addon {

// What a conversion needs to know about where it stands.
struct Place {
  napi_env env;
  Environment& environment;
  const char* function;
  int index;                       // of the argument, from 0
  const Device* device = nullptr;  // tensors must live there, when it is given

  std::string text() const { return std::string(function) + ": argument " + std::to_string(index); }
};

inline double number_of(const Place& place, napi_value value) {
  double result = 0;
  if (napi_get_value_double(place.env, value, &result) != napi_ok) {
    throw ArgumentError(ArgumentError::Kind::type, place.text() + " must be a number");
  }
  return result;
}

inline int64_t integer_of(const Place& place, napi_value value) {
  const double number = number_of(place, value);
  if (!(std::fabs(number) <= 9007199254740991.0) || number != std::floor(number)) {
    throw ArgumentError(ArgumentError::Kind::range,
                        place.text() + " must be a safe integer, got " + std::to_string(number));
  }
  return static_cast<int64_t>(number);
}

template <class T>
T& entry_of(const Place& place, HandleTable<T>& table, napi_value value, const char* noun) {
  HandleFault fault = HandleFault::none;
  T* entry = table.find(number_of(place, value), fault);
  if (entry != nullptr) return *entry;
  const std::string what = place.text();
  switch (fault) {
    case HandleFault::disposed:
      throw ArgumentError(ArgumentError::Kind::disposed, what + ": this " + noun + " was disposed");
    case HandleFault::foreign:
      throw ArgumentError(ArgumentError::Kind::type, what + ": this " + noun + " belongs to another thread");
    default:
      throw ArgumentError(ArgumentError::Kind::type, what + " is not a " + noun);
  }
}

inline bool is_nullish(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type == napi_undefined || type == napi_null;
}

template <class T, class = void>
struct Argument;

template <>
struct Argument<double> {
  static double from(const Place& place, napi_value value) { return number_of(place, value); }
};

template <>
struct Argument<int64_t> {
  static int64_t from(const Place& place, napi_value value) { return integer_of(place, value); }
};

template <>
struct Argument<bool> {
  static bool from(const Place& place, napi_value value) {
    bool result = false;
    if (napi_get_value_bool(place.env, value, &result) != napi_ok) {
      throw ArgumentError(ArgumentError::Kind::type, place.text() + " must be a boolean");
    }
    return result;
  }
};

template <>
struct Argument<std::string> {
  static std::string from(const Place& place, napi_value value) {
    size_t length = 0;
    if (napi_get_value_string_utf8(place.env, value, nullptr, 0, &length) != napi_ok) {
      throw ArgumentError(ArgumentError::Kind::type, place.text() + " must be a string");
    }
    std::string result(length, '\0');
    napi_get_value_string_utf8(place.env, value, result.data(), length + 1, &length);
    return result;
  }
};

// null and undefined stand for an optional tensor that is not given; the op checks those it needs.
template <>
struct Argument<Tensor> {
  static Tensor from(const Place& place, napi_value value) {
    if (is_nullish(place.env, value)) return Tensor{};
    const TensorEntry& entry = entry_of(place, place.environment.tensors, value, "tensor");
    if (place.device != nullptr && entry.storage->device().get() != place.device) {
      throw ArgumentError(ArgumentError::Kind::type, place.text() + ": this tensor lives on another device");
    }
    return entry.view;
  }
};

struct AnyVisitor {
  template <class Member>
  void operator()(const char*, Member) const {}
};

// Structs of options that list their fields: an object with these camel-cased names, all of them numbers.
template <class T>
struct Argument<T, std::void_t<decltype(T::fields(std::declval<AnyVisitor>()))>> {
  static T from(const Place& place, napi_value value) {
    T result{};
    napi_valuetype given = napi_undefined;
    napi_typeof(place.env, value, &given);
    if (given != napi_object) throw ArgumentError(ArgumentError::Kind::type, place.text() + " must be an object");
    T::fields([&](const char* name, auto member) {
      napi_value field = nullptr;
      if (napi_get_named_property(place.env, value, name, &field) != napi_ok) {
        throw ArgumentError(ArgumentError::Kind::type, place.text() + " must be an object with " + name);
      }
      napi_valuetype type = napi_undefined;
      napi_typeof(place.env, field, &type);
      if (type != napi_number) {
        throw ArgumentError(ArgumentError::Kind::type, place.text() + "." + name + " must be a number");
      }
      using Field = std::remove_reference_t<decltype(result.*member)>;
      result.*member = Argument<Field>::from(place, field);
    });
    return result;
  }
};

}  // namespace luffy::addon
