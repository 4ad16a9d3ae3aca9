// Replay: a case on a device. Its tensors, their contents, its calls, and what is wrong afterwards.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "../core/device.h"
#include "case-file.h"

namespace luffy::programs {

class Replay {
 public:
  // Allocates and fills; throws OpError or OutOfMemory.
  Replay(std::shared_ptr<Device> device, const Case& one);

  // The calls of one kind, in order. They keep the tensors of this replay.
  std::vector<std::function<void(Context&)>> calls(bool preparation) const;

  // Runs everything once and returns what is wrong, empty when nothing is.
  std::vector<std::string> check();

 private:
  struct Place {
    std::shared_ptr<Storage> storage;
    Tensor view;
  };

  Tensor tensor_of(const std::string& word) const;
  std::vector<char> read(const Place& place) const;
  void check_kept(const KeepStep& keep, std::vector<std::string>& faults) const;
  void check_expected(const ExpectStep& expect, std::vector<std::string>& faults) const;

  std::shared_ptr<Device> device_;
  const Case& case_;
  std::map<int64_t, Place> places_;
  std::map<int64_t, const ContentStep*> contents_;
};

// Runs `task` on the device's stream and waits for its end; throws std::runtime_error with the stream's first error.
void run_on_stream(Device& device, const char* name, std::function<void()> task);

}  // namespace luffy::programs
