// HandleTable: what JavaScript holds is a number, never a pointer. A number names a slot, the generation of that slot,
// what it stands for (a device, a tensor) and the environment (main thread or worker) that made it, so that a disposed,
// foreign, mistaken or invented handle is told apart.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace luffy {

enum class HandleFault { none, not_a_handle, foreign, disposed };

template <class T>
class HandleTable {
 public:
  // `environment`: a small number, different for each environment of the process; `kind`: 0 or 1, different for each
  // table of an environment.
  HandleTable(uint32_t environment, uint32_t kind) : environment_(environment % kEnvironments), kind_(kind % kKinds) {}

  double insert(T value) {
    uint32_t slot = 0;
    if (!vacant_.empty()) {
      slot = vacant_.back();
      vacant_.pop_back();
    } else {
      slot = static_cast<uint32_t>(entries_.size());
      entries_.emplace_back();
    }
    entries_[slot].value = std::make_unique<T>(std::move(value));
    return number(slot, entries_[slot].generation);
  }

  // Null with the reason in `fault` when the number does not name a live entry of this table.
  T* find(double handle, HandleFault& fault) {
    Entry* entry = entry_of(handle, fault);
    return entry == nullptr ? nullptr : entry->value.get();
  }

  // True when something was removed; removing twice is no fault.
  bool remove(double handle, HandleFault& fault) {
    Entry* entry = entry_of(handle, fault);
    if (entry == nullptr) return false;
    entry->value.reset();
    entry->generation = (entry->generation + 1) % kGenerations;
    vacant_.push_back(static_cast<uint32_t>(entry - entries_.data()));
    return true;
  }

  template <class F>
  void for_each(F&& visit) {
    for (Entry& entry : entries_) {
      if (entry.value) visit(*entry.value);
    }
  }

  size_t live() const { return entries_.size() - vacant_.size(); }

 private:
  struct Entry {
    std::unique_ptr<T> value;
    uint64_t generation = 1;
  };
  // 24 bits of slot, 19 of generation, 1 of kind, 8 of environment: 52, exact in a double.
  static constexpr uint64_t kSlots = uint64_t{1} << 24;
  static constexpr uint64_t kGenerations = uint64_t{1} << 19;
  static constexpr uint64_t kKinds = 2;
  static constexpr uint64_t kEnvironments = uint64_t{1} << 8;

  double number(uint64_t slot, uint64_t generation) const {
    return static_cast<double>(((environment_ * kKinds + kind_) * kGenerations + generation) * kSlots + slot);
  }

  Entry* entry_of(double handle, HandleFault& fault) {
    fault = HandleFault::not_a_handle;
    if (!(handle >= 0) || handle >= 4503599627370496.0 || handle != std::floor(handle)) return nullptr;
    const auto bits = static_cast<uint64_t>(handle);
    const uint64_t slot = bits % kSlots;
    const uint64_t generation = bits / kSlots % kGenerations;
    const uint64_t origin = bits / kSlots / kGenerations;
    if (origin % kKinds != kind_) return nullptr;
    if (origin / kKinds != environment_) {
      fault = HandleFault::foreign;
      return nullptr;
    }
    if (slot >= entries_.size()) return nullptr;
    Entry& entry = entries_[slot];
    if (entry.generation != generation || !entry.value) {
      fault = HandleFault::disposed;
      return nullptr;
    }
    fault = HandleFault::none;
    return &entry;
  }

  uint64_t environment_;
  uint64_t kind_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> vacant_;
};

}  // namespace luffy
