#include "device.h"

#include <exception>
#include <utility>

namespace luffy {

Device::Device(Backend backend, Options options)
    : backend_(std::move(backend)),
      threads_(options.threads),
      arena_(*backend_.runtime),
      context_(threads_, arena_),
      stream_([this] { arena_.reset(); }),
      pool_({[this](size_t bytes) { return runtime().allocate(bytes); },
             [this](void* data, size_t) { stream_.enqueue_always([this, data] { runtime().release(data); }); }},
            options.caching) {
  context_.stream = runtime().stream();
}

Device::~Device() {
  stop();
  pool_.trim();
}

void Device::stop() {
  threads_.cancel();
  stream_.stop();
  try {
    runtime().finish();
  } catch (const std::exception&) {
    // Whoever waits for this work is gone.
  }
}

void Device::trim() {
  pool_.trim();
  stream_.enqueue_always([this] { arena_.trim(); });
}

Storage::Storage(std::shared_ptr<Device> device, size_t bytes)
    : device_(std::move(device)), bytes_(bytes), data_(device_->pool().allocate(bytes)) {}

Storage::~Storage() { device_->pool().release(data_, bytes_); }

}  // namespace luffy
