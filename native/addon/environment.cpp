#include "environment.h"

#include <cstring>
#include <utility>

#include "throw.h"

namespace luffy::addon {

struct Completions::Pending {
  Completions* owner;
  napi_deferred deferred;
  std::shared_ptr<std::vector<char>> bytes;
  std::unique_ptr<StreamError> error;
};

Completions::Completions(napi_env env, Device& device) : env_(env), device_(device) {
  napi_value name = nullptr;
  napi_create_string_utf8(env, "luffy", NAPI_AUTO_LENGTH, &name);
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, &Completions::settle,
                                  &function_);
  napi_unref_threadsafe_function(env, function_);
  // Hooks run last in, first out: this one stops the stream before node takes the function away from it.
  napi_add_env_cleanup_hook(env, &Completions::tear_down, this);
}

// The environment ends, and its promises with it.
void Completions::tear_down(void* data) {
  auto* completions = static_cast<Completions*>(data);
  completions->device_.stop();
  completions->end_delivery();
}

napi_value Completions::promise(std::shared_ptr<std::vector<char>> bytes) {
  napi_value promise = nullptr;
  napi_deferred deferred = nullptr;
  napi_create_promise(env_, &deferred, &promise);
  auto pending = std::make_shared<Pending>(Pending{this, deferred, std::move(bytes), nullptr});
  if (waiting_.empty()) napi_ref_threadsafe_function(env_, function_);
  waiting_.insert(pending);
  napi_threadsafe_function function = function_;
  device_.stream().on_complete([pending, function](const StreamError* error) {
    if (error != nullptr) pending->error = std::make_unique<StreamError>(*error);
    auto* delivery = new std::shared_ptr<Pending>(pending);
    if (napi_call_threadsafe_function(function, delivery, napi_tsfn_nonblocking) != napi_ok) delete delivery;
  });
  return promise;
}

void Completions::settle(napi_env env, napi_value, void*, void* data) {
  const std::unique_ptr<std::shared_ptr<Pending>> delivery(static_cast<std::shared_ptr<Pending>*>(data));
  const std::shared_ptr<Pending>& pending = *delivery;
  // Without an environment the promises are gone, without an owner this one was rejected by close().
  if (env == nullptr || pending->owner == nullptr) return;
  Completions* owner = pending->owner;
  owner->waiting_.erase(pending);
  if (owner->waiting_.empty()) napi_unref_threadsafe_function(env, owner->function_);
  if (pending->error) {
    napi_reject_deferred(env, pending->deferred, stream_error_value(env, *pending->error));
    return;
  }
  napi_value value = nullptr;
  if (pending->bytes) {
    void* target = nullptr;
    const size_t size = pending->bytes->size();
    if (napi_create_arraybuffer(env, size, &target, &value) != napi_ok) {
      napi_reject_deferred(env, pending->deferred, out_of_memory_value(env, "out of memory: reading a tensor", size));
      return;
    }
    if (size > 0) std::memcpy(target, pending->bytes->data(), size);
  } else {
    napi_get_undefined(env, &value);
  }
  napi_resolve_deferred(env, pending->deferred, value);
}

void Completions::close() {
  for (const std::shared_ptr<Pending>& pending : waiting_) {
    pending->owner = nullptr;
    napi_reject_deferred(env_, pending->deferred, disposed_value(env_, "this device was closed before it was done"));
  }
  waiting_.clear();
  end_delivery();
}

void Completions::end_delivery() {
  if (function_ == nullptr) return;
  napi_remove_env_cleanup_hook(env_, &Completions::tear_down, this);
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
  function_ = nullptr;
}

Environment::Environment(napi_env e, uint32_t number) : env(e), devices(number, 0), tensors(number, 1) {}

Environment& Environment::of(napi_env env) {
  void* data = nullptr;
  napi_get_instance_data(env, &data);
  return *static_cast<Environment*>(data);
}

}  // namespace luffy::addon
