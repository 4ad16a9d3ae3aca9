#include "device.h"

#include <utility>

#include "system-memory.h"

namespace luffy {

Device::Device(Backend backend, Options options)
    : backend_(std::move(backend)),
      threads_(options.threads),
      context_(threads_, arena_),
      stream_([this] { arena_.reset(); }),
      pool_({[](size_t bytes) { return allocate_aligned(bytes); },
             [this](void* data, size_t) { stream_.enqueue_always([data] { free_aligned(data); }); }},
            options.caching) {}

Device::~Device() {
  stop();
  pool_.trim();
}

void Device::stop() {
  threads_.cancel();
  stream_.stop();
}

void Device::trim() {
  pool_.trim();
  stream_.enqueue_always([this] { arena_.trim(); });
}

Storage::Storage(std::shared_ptr<Device> device, size_t bytes)
    : device_(std::move(device)), bytes_(bytes), data_(device_->pool().allocate(bytes)) {}

Storage::~Storage() { device_->pool().release(data_, bytes_); }

}  // namespace luffy
