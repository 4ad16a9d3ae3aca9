#include "stream.h"

#include <chrono>
#include <exception>
#include <new>
#include <utility>

#include "errors.h"

namespace luffy {

namespace {
// No more than this is remembered of what nothing has waited for.
constexpr size_t kMostLaunched = 4096;
}  // namespace

Stream::Stream(Hooks hooks) : hooks_(std::move(hooks)), thread_([this] { loop(); }) {}

Stream::~Stream() { stop(); }

uint64_t Stream::push(Item item) {
  uint64_t sequence = 0;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    if (stop_) {
      lock.unlock();
      if (item.always && item.task) item.task();
      return completed();
    }
    sequence = enqueued_.fetch_add(1, std::memory_order_relaxed) + 1;
    item.sequence = sequence;
    queue_.push_back(std::move(item));
  }
  wake_.notify_one();
  return sequence;
}

uint64_t Stream::enqueue(const char* op, Task task, Describe describe) {
  return push({op, std::move(task), std::move(describe), nullptr, false, false, 0});
}

uint64_t Stream::enqueue_wait(const char* op, Task task, Describe describe) {
  return push({op, std::move(task), std::move(describe), nullptr, false, true, 0});
}

uint64_t Stream::enqueue_always(Task task) { return push({"free", std::move(task), nullptr, nullptr, true, false, 0}); }

uint64_t Stream::on_complete(Completion completion) {
  return push({"wait", nullptr, nullptr, std::move(completion), true, false, 0});
}

void Stream::stop() {
  std::deque<Item> dropped;  // destroyed outside the lock
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
    dropped.swap(queue_);
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (Item& item : dropped) {
    if (item.always && item.task) item.task();
  }
}

void Stream::drain() {
  std::mutex mutex;
  std::condition_variable done;
  bool is_done = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stop_) return;
  }
  enqueue_always([&] {
    // Under the lock, so that the caller is not gone when it is told.
    std::lock_guard<std::mutex> lock(mutex);
    is_done = true;
    done.notify_one();
  });
  std::unique_lock<std::mutex> lock(mutex);
  done.wait(lock, [&] { return is_done; });
}

void Stream::keep_error(const Item& item, std::string message, bool out_of_memory) {
  if (item.describe) message += " (arguments: " + item.describe() + ")";
  if (!error_) error_ = std::make_unique<StreamError>(StreamError{item.op, message, item.sequence, out_of_memory});
}

void Stream::keep_fault(const Item& item, const std::string& message, uint64_t sequence) {
  for (Launched& launched : launched_) {
    if (launched.sequence != sequence) continue;
    return keep_error({launched.op, nullptr, std::move(launched.describe), nullptr, false, false, sequence}, message,
                      false);
  }
  keep_error({item.op, nullptr, nullptr, nullptr, false, false, sequence}, message, false);
}

void Stream::run(Item& item) {
  if (item.completion) {
    item.completion(error_.get());
    return;
  }
  if (error_ && !item.always) return;
  const auto started = std::chrono::steady_clock::now();
  try {
    hooks_.before_task(item.sequence);
    item.task();
    hooks_.after_task();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
    if (hooks_.launches && item.waits) {
      launched_.clear();
    } else if (hooks_.launches && item.describe) {
      if (launched_.size() == kMostLaunched) launched_.pop_front();
      launched_.push_back({item.op, std::move(item.describe), item.sequence});
    }
    std::lock_guard<std::mutex> lock(times_mutex_);
    OpTime& time = times_[item.op];
    time.count += 1;
    time.seconds += taken.count();
  } catch (const OutOfMemory& error) {
    keep_error(item, error.what(), true);
  } catch (const FaultError& error) {
    keep_fault(item, error.what(), error.sequence);
  } catch (const std::bad_alloc&) {
    keep_error(item, "out of memory", true);
  } catch (const std::exception& error) {
    keep_error(item, error.what(), false);
  } catch (...) {
    keep_error(item, "unknown native exception", false);
  }
}

std::map<std::string, OpTime> Stream::op_times(bool reset) {
  std::lock_guard<std::mutex> lock(times_mutex_);
  std::map<std::string, OpTime> result;
  for (const auto& [op, time] : times_) {
    OpTime& sum = result[op];
    sum.count += time.count;
    sum.seconds += time.seconds;
  }
  if (reset) times_.clear();
  return result;
}

void Stream::loop() {
  for (;;) {
    Item item;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
      if (stop_) return;
      item = std::move(queue_.front());
      queue_.pop_front();
    }
    run(item);
    completed_.store(item.sequence, std::memory_order_relaxed);
  }
}

}  // namespace luffy
