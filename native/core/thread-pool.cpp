#include "thread-pool.h"

#include "errors.h"

namespace luffy {

namespace {

// About 50 microseconds: longer than the gap between two ops of a step, shorter than a reader would notice.
constexpr int kSpins = 2000;

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  workers_.reserve(static_cast<size_t>(threads > 1 ? threads - 1 : 0));
  for (int thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread] { work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::take_indices(int thread) {
  for (;;) {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_ || failed_.load(std::memory_order_relaxed)) return;
    if (cancelled_.load(std::memory_order_relaxed)) return;
    try {
      body_(argument_, index, thread);
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!failed_.exchange(true)) error_ = std::current_exception();
    }
  }
}

bool ThreadPool::wait_for_loop(uint32_t& seen) {
  const auto waiting = [&] { return generation_of(state_.load(std::memory_order_acquire)) == seen; };
  for (int spin = 0; spin < kSpins && waiting(); ++spin) pause_briefly();
  if (waiting()) {
    std::unique_lock<std::mutex> lock(mutex_);
    wake_.wait(lock, [&] { return stop_ || !waiting(); });
  }
  seen = generation_of(state_.load(std::memory_order_acquire));
  return !stop_;
}

bool ThreadPool::enter(uint32_t generation) {
  uint64_t state = state_.load(std::memory_order_acquire);
  while (generation_of(state) == generation && (state & kClosed) == 0) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void ThreadPool::work(int thread) {
  uint32_t seen = 0;
  while (wait_for_loop(seen)) {
    if (!enter(seen)) continue;
    take_indices(thread);
    state_.fetch_sub(1, std::memory_order_acq_rel);
  }
}

void ThreadPool::run(int64_t count, Body body, void* argument) {
  if (count <= 0) return;
  if (count == 1 || workers_.empty()) {
    for (int64_t index = 0; index < count && !cancelled_.load(std::memory_order_relaxed); ++index) {
      body(argument, index, 0);
    }
    check_not_cancelled();
    return;
  }
  // Nobody is inside a loop now, so its description may change.
  body_ = body;
  argument_ = argument;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  failed_.store(false, std::memory_order_relaxed);
  const uint64_t generation = generation_of(state_.load(std::memory_order_relaxed)) + uint64_t{1};
  {
    std::lock_guard<std::mutex> lock(mutex_);
    state_.store(generation << 32, std::memory_order_release);
  }
  wake_.notify_all();
  take_indices(0);
  int spins = 0;
  for (uint64_t state = state_.fetch_or(kClosed, std::memory_order_acq_rel); (state & kInside) != 0;
       state = state_.load(std::memory_order_acquire)) {
    if (++spins < kSpins) {
      pause_briefly();
    } else {
      std::this_thread::yield();
    }
  }
  if (failed_.load(std::memory_order_relaxed)) {
    std::exception_ptr error;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      error = error_;
      error_ = nullptr;
    }
    std::rethrow_exception(error);
  }
  check_not_cancelled();
}

void ThreadPool::check_not_cancelled() const {
  if (cancelled_.load(std::memory_order_relaxed)) throw OpError("the device was closed");
}

}  // namespace luffy
