// ThreadPool: runs one parallel loop at a time for the thread that owns it (a device's stream thread).
//
// Workers spin for a short while after a loop, because the next op usually comes within microseconds, then sleep. A
// loop ends when its indices are done: a worker that wakes too late finds it closed and is not waited for.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace luffy {

class ThreadPool {
 public:
  using Body = void (*)(void* argument, int64_t index, int thread);

  explicit ThreadPool(int threads);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // See Context::run.
  void run(int64_t count, Body body, void* argument);

  // Makes a loop in progress, and every later one, end without running its remaining indices. Both then throw, so that
  // the op does not go on with what was not computed.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kClosed = uint64_t{1} << 31;
  static constexpr uint64_t kInside = kClosed - 1;
  static uint32_t generation_of(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

  void work(int thread);
  void take_indices(int thread);
  // Waits for a loop other than `seen` and updates it; false when the pool stops.
  bool wait_for_loop(uint32_t& seen);
  // Enters the loop `generation` unless it is closed already.
  bool enter(uint32_t generation);
  void check_not_cancelled() const;

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // The loop's generation (high half), a closed bit and the number of workers inside it (low half).
  std::atomic<uint64_t> state_{kClosed};
  std::atomic<bool> stop_{false};
  std::atomic<bool> cancelled_{false};

  // The loop in progress.
  Body body_ = nullptr;
  void* argument_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // of the first body that threw; guarded by mutex_
};

}  // namespace luffy
