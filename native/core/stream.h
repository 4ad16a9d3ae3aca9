// Stream: tasks in order, on one thread. JavaScript enqueues and goes on; nothing here ever waits for JavaScript.
//
// The first task that throws poisons the stream: its error is kept, later tasks are dropped, and every later
// completion receives the error. A poisoned stream stays poisoned.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace luffy {

struct StreamError {
  std::string op;       // the task that failed
  std::string message;  // what it threw, with the shapes of its arguments
  uint64_t sequence;    // its number on this stream, from 1
  bool out_of_memory;
};

// How often an op ran on a stream, and for how long.
struct OpTime {
  uint64_t count = 0;
  double seconds = 0;
};

class Stream {
 public:
  // A task does its work and returns; `describe` (optional) says what it was given, asked only after a failure.
  using Task = std::function<void()>;
  using Describe = std::function<std::string()>;
  // Runs on the stream's thread when all earlier tasks are done or dropped; null when none of them failed.
  using Completion = std::function<void(const StreamError* error)>;

  struct Hooks {
    // Around every task: its number is told, and scratch memory is reset.
    std::function<void(uint64_t sequence)> before_task;
    std::function<void()> after_task;
    // Tasks only launch: what they did may be found wrong by a later wait, in a FaultError that gives their number.
    bool launches = false;
  };
  explicit Stream(Hooks hooks);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();

  // Both return the number of the task on this stream.
  uint64_t enqueue(const char* op, Task task, Describe describe = nullptr);
  // A task that ends when all that was launched before is done; throws for what went wrong in that.
  uint64_t enqueue_wait(const char* op, Task task, Describe describe = nullptr);
  uint64_t on_complete(Completion completion);
  // Runs even on a poisoned stream: frees.
  uint64_t enqueue_always(Task task);

  // Waits, on the caller's thread, until the stream has run all that is queued now. No task may wait for the caller.
  void drain();

  // Drops what is queued (frees excepted), lets the running task end, joins the thread. Completions that were queued
  // are not called. Afterwards nothing is enqueued any more: frees run at once.
  void stop();

  // Times by op since the last reset, and forgets them when `reset`.
  std::map<std::string, OpTime> op_times(bool reset);

  uint64_t enqueued() const { return enqueued_.load(std::memory_order_relaxed); }
  uint64_t completed() const { return completed_.load(std::memory_order_relaxed); }

 private:
  struct Item {
    const char* op;
    Task task;
    Describe describe;
    Completion completion;
    bool always;
    bool waits;
    uint64_t sequence;
  };
  // What was launched and not waited for, so that a FaultError can name it.
  struct Launched {
    const char* op;
    Describe describe;
    uint64_t sequence;
  };
  uint64_t push(Item item);
  void loop();
  void run(Item& item);
  void keep_error(const Item& item, std::string message, bool out_of_memory);
  void keep_fault(const Item& item, const std::string& message, uint64_t sequence);

  Hooks hooks_;
  std::deque<Launched> launched_;  // touched by the stream's thread only
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queue_;
  bool stop_ = false;
  std::mutex times_mutex_;
  std::map<const char*, OpTime> times_;
  std::unique_ptr<StreamError> error_;  // touched by the stream's thread only
  std::atomic<uint64_t> enqueued_{0};
  std::atomic<uint64_t> completed_{0};
  std::thread thread_;
};

}  // namespace luffy
