#include "replay.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <future>
#include <stdexcept>

#include "../ops/op-list.h"
#include "call-op.h"

namespace luffy::programs {
namespace {

// Values of this deviation around the mean, the sum of four uniform numbers: a benchmark needs no better. A period that
// divides no row is repeated, since a large tensor would take seconds otherwise.
std::vector<float> random_values(int64_t count, const ContentStep& content) {
  constexpr int64_t kPeriod = 1048573;
  std::vector<float> values(static_cast<size_t>(count));
  uint32_t state = 12345;
  for (int64_t i = 0; i < std::min(count, kPeriod); ++i) {
    double sum = 0;
    for (int k = 0; k < 4; ++k) {
      state = state * 1664525u + 1013904223u;
      sum += static_cast<double>(state >> 8) / 16777216.0 - 0.5;
    }
    const double value = content.mean + content.deviation * sum * std::sqrt(3.0);
    values[static_cast<size_t>(i)] = static_cast<float>(std::fmin(std::fmax(value, content.low), content.high));
  }
  for (int64_t done = kPeriod; done < count; done += kPeriod) {
    std::memcpy(&values[static_cast<size_t>(done)], values.data(),
                static_cast<size_t>(std::min(kPeriod, count - done)) * sizeof(float));
  }
  return values;
}

std::vector<uint16_t> upper_halves(const std::vector<float>& values) {
  std::vector<uint16_t> halves(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, &values[i], sizeof bits);
    halves[i] = static_cast<uint16_t>(bits >> 16);
  }
  return halves;
}

float half_value(uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const double mantissa = bits & 1023;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 31) return static_cast<float>(mantissa != 0 ? NAN : sign * INFINITY);
  return static_cast<float>(exponent == 0 ? sign * std::ldexp(mantissa, -24)
                                          : sign * std::ldexp(1024 + mantissa, exponent - 25));
}

double element(const char* bytes, DType dtype) {
  uint16_t half = 0;
  switch (dtype) {
    case DType::f32: {
      float value = 0;
      std::memcpy(&value, bytes, sizeof value);
      return static_cast<double>(value);
    }
    case DType::f64: {
      double value = 0;
      std::memcpy(&value, bytes, sizeof value);
      return value;
    }
    case DType::i32: {
      int32_t value = 0;
      std::memcpy(&value, bytes, sizeof value);
      return value;
    }
    case DType::u8:
      return static_cast<unsigned char>(*bytes);
    case DType::bf16:
    case DType::f16:
      std::memcpy(&half, bytes, sizeof half);
      if (dtype == DType::f16) return half_value(half);
      const uint32_t wide = static_cast<uint32_t>(half) << 16;
      float value = 0;
      std::memcpy(&value, &wide, sizeof value);
      return value;
  }
  return NAN;
}

std::string text(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.9g", value);
  return buffer;
}

}  // namespace

void run_on_stream(Device& device, const char* name, std::function<void()> task) {
  std::promise<std::string> done;
  device.stream().enqueue(name, std::move(task));
  device.stream().on_complete(
      [&](const StreamError* error) { done.set_value(error == nullptr ? "" : error->op + ": " + error->message); });
  const std::string error = done.get_future().get();
  if (!error.empty()) throw std::runtime_error(error);
}

Replay::Replay(std::shared_ptr<Device> device, const Case& one) : device_(std::move(device)), case_(one) {
  for (const TensorStep& step : one.tensors) {
    Place place;
    Tensor& view = place.view;
    view.dtype = step.dtype;
    view.rank = static_cast<int32_t>(step.shape.size());
    for (size_t i = 0; i < step.shape.size(); ++i) view.shape[i] = step.shape[i];
    view.row_stride = step.base < 0 ? view.row_size() : step.row_stride;
    const auto width = static_cast<size_t>(dtype_bytes(step.dtype));
    if (step.base < 0) {
      place.storage = std::make_shared<Storage>(device_, static_cast<size_t>(view.size()) * width);
      view.data = place.storage->data();
    } else {
      const Place& base = places_.at(step.base);
      place.storage = base.storage;
      view.data = static_cast<char*>(base.view.data) + static_cast<size_t>(step.offset) * width;
    }
    places_[step.id] = place;
  }
  run_on_stream(*device_, "write", [this] {
    for (const ContentStep& content : case_.contents) {
      const Tensor& view = places_.at(content.id).view;
      if (content.bytes.empty() && view.size() > 0) {
        const std::vector<float> values = random_values(view.size(), content);
        if (view.dtype == DType::f32) {
          device_->runtime().write(view.data, values.data(), values.size() * sizeof(float));
        } else if (view.dtype == DType::bf16) {
          const std::vector<uint16_t> bits = upper_halves(values);
          device_->runtime().write(view.data, bits.data(), bits.size() * sizeof(uint16_t));
        } else {
          fail("random contents of a tensor that is neither float32 nor bfloat16");
        }
      } else {
        device_->runtime().write(view.data, content.bytes.data(), content.bytes.size());
      }
    }
    device_->runtime().finish();
  });
  for (const ContentStep& content : one.contents) contents_[content.id] = &content;
}

Tensor Replay::tensor_of(const std::string& word) const {
  if (word == "-") return Tensor{};
  if (word.empty() || word[0] != 't') throw std::runtime_error("expected a tensor, got '" + word + "'");
  return places_.at(std::stoll(word.substr(1))).view;
}

std::vector<std::function<void(Context&)>> Replay::calls(bool preparation) const {
  std::vector<std::function<void(Context&)>> bound;
  for (const CallStep& call : case_.calls) {
    if (call.is_preparation != preparation) continue;
    bound.push_back(bind_op(*device_->backend().ops, call.op, call.arguments,
                            [this](const std::string& word) { return tensor_of(word); }));
  }
  return bound;
}

std::vector<char> Replay::read(const Place& place) const {
  const Tensor& view = place.view;
  if (view.size() == 0) return {};
  const auto width = static_cast<size_t>(dtype_bytes(view.dtype));
  const auto row = static_cast<size_t>(view.row_size()) * width;
  const auto stride = static_cast<size_t>(view.row_stride) * width;
  const auto rows = static_cast<size_t>(view.shape[0]);
  std::vector<char> all((rows - 1) * stride + row);
  run_on_stream(*device_, "read", [&] {
    device_->runtime().read(all.data(), view.data, all.size());
    device_->runtime().finish();
  });
  std::vector<char> packed;
  packed.reserve(rows * row);
  for (size_t r = 0; r < rows; ++r) packed.insert(packed.end(), &all[r * stride], &all[r * stride] + row);
  return packed;
}

void Replay::check_kept(const KeepStep& keep, std::vector<std::string>& faults) const {
  const Place& place = places_.at(keep.id);
  const auto found = contents_.find(keep.id);
  if (found == contents_.end()) throw std::runtime_error("keep: the tensor was given no contents");
  const std::vector<char> after = read(place);
  const std::vector<char>& before = found->second->bytes;
  const int64_t width = dtype_bytes(place.view.dtype);
  for (size_t i = 0; i < before.size() && i < after.size(); ++i) {
    if (before[i] == after[i]) continue;
    const int64_t at = static_cast<int64_t>(i) / width - keep.guard;
    const int64_t row = keep.stride > 0 && at >= 0 ? at / keep.stride : -1;
    const bool inside = at >= 0 && row < keep.rows && at - row * keep.stride < keep.columns;
    if (inside && keep.changes) continue;
    faults.push_back("changed what it must not, at element " + std::to_string(at));
    return;
  }
}

void Replay::check_expected(const ExpectStep& expect, std::vector<std::string>& faults) const {
  const Place& place = places_.at(expect.id);
  const std::vector<char> bytes = read(place);
  const auto width = static_cast<size_t>(dtype_bytes(place.view.dtype));
  const size_t count = bytes.size() / width;
  if (count != expect.values.size()) {
    faults.push_back(expect.name + ": " + std::to_string(count) + " elements, expected " +
                     std::to_string(expect.values.size()));
    return;
  }
  double largest = 0;
  for (double value : expect.values) {
    if (std::isfinite(value)) largest = std::fmax(largest, std::fabs(value));
  }
  double worst = 0;
  size_t at = 0;
  double got_there = 0;
  for (size_t i = 0; i < count; ++i) {
    const double got = element(&bytes[i * width], place.view.dtype);
    const double wanted = expect.values[i];
    if (got == wanted || (std::isnan(got) && std::isnan(wanted))) continue;
    const double scale = expect.kind == ExpectStep::Kind::relative   ? std::fabs(wanted)
                         : expect.kind == ExpectStep::Kind::absolute ? 1
                                                                     : largest;
    double error = std::fabs(got - wanted) / scale;
    if (std::isnan(error)) error = INFINITY;
    if (error <= worst) continue;
    worst = error;
    at = i;
    got_there = got;
  }
  if (worst > expect.limit) {
    faults.push_back(expect.name + "[" + std::to_string(at) + "]: got " + text(got_there) + ", expected " +
                     text(expect.values[at]) + "; error " + text(worst) + ", allowed " + text(expect.limit));
  }
}

std::vector<std::string> Replay::check() {
  std::vector<std::string> faults;
  for (const bool preparation : {true, false}) {
    for (const auto& call : calls(preparation)) {
      run_on_stream(*device_, "op", [&] {
        call(device_->context());
        device_->runtime().finish();
      });
    }
  }
  for (const KeepStep& keep : case_.kept) check_kept(keep, faults);
  for (const ExpectStep& expect : case_.expected) check_expected(expect, faults);
  return faults;
}

}  // namespace luffy::programs
