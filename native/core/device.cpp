#include "device.h"

#include <exception>
#include <utility>

namespace luffy {

Device::Device(Backend backend, Options options)
    : backend_(std::move(backend)),
      threads_(options.threads),
      arena_(*backend_.runtime),
      context_(threads_, arena_),
      stream_({[this](uint64_t sequence) { context_.sequence = sequence; }, [this] { arena_.reset(); },
               runtime().stream() != nullptr}),
      pool_({[this](size_t bytes) { return runtime().allocate(bytes); },
             [this](void* data, size_t) { stream_.enqueue_always([this, data] { runtime().release(data); }); },
             [this] {
               stream_.enqueue_always([this] { arena_.trim(); });
               stream_.drain();
             },
             [this] { return runtime().free_memory(); }},
            options.caching) {
  context_.stream = runtime().stream();
  context_.faults = runtime().faults();
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
