// ThreadPool: runs one parallel loop at a time for the thread that owns it (a device's stream thread).
//
// Workers spin for a short while after a loop, because the next op usually comes within microseconds, then sleep.
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

  // Makes a loop in progress, and every later one, end without running its remaining indices.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  void work(int thread);
  void take_indices(int thread);

  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<uint64_t> generation_{0};  // counts loops; a change tells the workers to start
  std::atomic<bool> stop_{false};
  std::atomic<bool> cancelled_{false};

  // The loop in progress.
  Body body_ = nullptr;
  void* argument_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> failed_{false};
  std::exception_ptr error_;  // of the first body that threw; guarded by mutex_
};

}  // namespace luffy
