#include "throw.h"

#include <exception>
#include <new>

namespace luffy::addon {

namespace {

napi_value text(napi_env env, const std::string& value) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, value.c_str(), value.size(), &result);
  return result;
}

napi_value error_with_code(napi_env env, const std::string& code, const std::string& message) {
  napi_value error = nullptr;
  napi_create_error(env, text(env, code), text(env, message), &error);
  return error;
}

void set_number(napi_env env, napi_value object, const char* name, double value) {
  napi_value number = nullptr;
  napi_create_double(env, value, &number);
  napi_set_named_property(env, object, name, number);
}

}  // namespace

napi_value stream_error_value(napi_env env, const StreamError& error) {
  const std::string message = error.op + ": " + error.message + "; op " + std::to_string(error.sequence) +
                              " of this device, every later one is dropped";
  napi_value value = error_with_code(env, error.out_of_memory ? "OUT_OF_MEMORY" : "STREAM_FAILED", message);
  napi_set_named_property(env, value, "op", text(env, error.op));
  return value;
}

napi_value disposed_value(napi_env env, const char* message) { return error_with_code(env, "DISPOSED", message); }

napi_value out_of_memory_value(napi_env env, const char* message, unsigned long long bytes) {
  napi_value value = error_with_code(env, "OUT_OF_MEMORY", message);
  set_number(env, value, "bytes", static_cast<double>(bytes));
  return value;
}

void throw_current(napi_env env) noexcept {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (pending) return;
  try {
    throw;
  } catch (const ArgumentError& error) {
    switch (error.kind) {
      case ArgumentError::Kind::type:
        napi_throw_type_error(env, "INVALID_ARGUMENT", error.what());
        return;
      case ArgumentError::Kind::range:
        napi_throw_range_error(env, "INVALID_ARGUMENT", error.what());
        return;
      case ArgumentError::Kind::disposed:
        napi_throw_error(env, "DISPOSED", error.what());
        return;
    }
  } catch (const OutOfMemory& error) {
    napi_throw(env, out_of_memory_value(env, error.what(), error.bytes));
  } catch (const OpError& error) {
    napi_throw_range_error(env, "INVALID_ARGUMENT", error.what());
  } catch (const std::bad_alloc&) {
    napi_throw_error(env, "OUT_OF_MEMORY", "out of memory");
  } catch (const std::exception& error) {
    napi_throw_error(env, "NATIVE_ERROR", error.what());
  } catch (...) {
    napi_throw_error(env, "NATIVE_ERROR", "unknown native exception");
  }
}

}  // namespace luffy::addon
