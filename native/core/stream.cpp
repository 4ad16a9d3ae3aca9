#include "stream.h"

#include <chrono>
#include <exception>
#include <new>
#include <utility>

#include "errors.h"

namespace luffy {

Stream::Stream(std::function<void()> after_task) : after_task_(std::move(after_task)), thread_([this] { loop(); }) {}

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
  return push({op, std::move(task), std::move(describe), nullptr, false, 0});
}

uint64_t Stream::enqueue_always(Task task) { return push({"free", std::move(task), nullptr, nullptr, true, 0}); }

uint64_t Stream::on_complete(Completion completion) {
  return push({"wait", nullptr, nullptr, std::move(completion), true, 0});
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

void Stream::run(Item& item) {
  if (item.completion) {
    item.completion(error_.get());
    return;
  }
  if (error_ && !item.always) return;
  const auto started = std::chrono::steady_clock::now();
  std::string message;
  bool out_of_memory = false;
  try {
    item.task();
    after_task_();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
    std::lock_guard<std::mutex> lock(times_mutex_);
    OpTime& time = times_[item.op];
    time.count += 1;
    time.seconds += taken.count();
    return;
  } catch (const OutOfMemory& error) {
    message = error.what();
    out_of_memory = true;
  } catch (const std::bad_alloc&) {
    message = "out of memory";
    out_of_memory = true;
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
    message = "unknown native exception";
  }
  if (item.describe) message += " (arguments: " + item.describe() + ")";
  if (!error_) error_ = std::make_unique<StreamError>(StreamError{item.op, message, item.sequence, out_of_memory});
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
