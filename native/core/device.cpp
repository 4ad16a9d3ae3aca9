#include "device.h"

#include <exception>
#include <utility>

#include "errors.h"

namespace luffy {

Device::Device(Backend backend, Options options)
    : backend_(std::move(backend)),
      threads_(options.threads),
      arena_(*backend_.runtime),
      context_(threads_, arena_),
      stream_({[this](uint64_t sequence) {
                 context_.sequence = sequence;
                 runtime().select();
               },
               [this] { arena_.reset(); }, runtime().stream() != nullptr}),
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
  if (options.deterministic) return;
  runtime().open_products(context_, [this](size_t bytes) -> void* {
    try {
      product_memory_ = pool_.allocate(bytes);
      product_bytes_ = bytes;
    } catch (const OutOfMemory&) {
      return nullptr;
    }
    return product_memory_;
  });
  if (context_.cublaslt == nullptr && product_memory_ != nullptr) {
    pool_.release(product_memory_, product_bytes_);
    product_memory_ = nullptr;
  }
}

Device::~Device() {
  stop();
  if (product_memory_ != nullptr) pool_.release(product_memory_, product_bytes_);
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
