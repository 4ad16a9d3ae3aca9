// luffy_kernel_bench [--rounds N] [--json FILE] [--commit TEXT] [--peers FILE] FILE...: times every case of the case files on
// the first CUDA device, the cache flushed before each call, beside the bandwidth of a copy and the rate of cuBLAS (where
// it is found) that the same run measures, and the peers' times that card_peers.py wrote. Needs a driver and nothing else.
// Exit code 0 when every case ran, whether or not goals are met; 1 when one failed, 2 for wrong arguments, 7 without a
// device.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "../core/plugin.h"
#include "bench-device.h"
#include "bench-report.h"
#include "case-file.h"
#include "cublas.h"
#include "replay.h"

extern "C" const luffy::Plugin* luffy_plugin();

namespace luffy::programs {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

struct Options {
  int rounds = 20;
  int product = 8192;  // the edge of the products that the roof is measured with
  std::string json;
  std::string commit;
  std::string peers;
  std::vector<std::string> files;
};

Options read_options(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name.rfind("--", 0) != 0) {
      options.files.push_back(name);
      continue;
    }
    if (i + 1 >= count) throw std::runtime_error(name + ": expected a value");
    const std::string value = arguments[++i];
    if (name == "--rounds")
      options.rounds = std::max(1, std::atoi(value.c_str()));
    else if (name == "--product")
      options.product = std::max(16, std::atoi(value.c_str()));
    else if (name == "--json")
      options.json = value;
    else if (name == "--commit")
      options.commit = value;
    else if (name == "--peers")
      options.peers = value;
    else
      throw std::runtime_error("unknown option " + name + ": known are --rounds, --product, --json, --commit, --peers");
  }
  if (options.files.empty()) throw std::runtime_error("no case file");
  return options;
}

Roofs measure_roofs(Device& device, DeviceClock& clock, const Options& options) {
  Roofs roofs;
  const size_t bytes = std::min<size_t>(512 * kMiB, device.runtime().free_memory() / 8);
  roofs.copy = clock.copy_bandwidth(bytes, options.rounds);
  const std::unique_ptr<Cublas> cublas = Cublas::open(device.runtime().stream(), roofs.cublas);
  if (cublas == nullptr) return roofs;
  roofs.cublas = cublas->file();
  const auto n = static_cast<size_t>(options.product);
  const std::vector<float> host(n * n, 0.5f);
  void* matrices[3] = {};
  for (void*& matrix : matrices) {
    matrix = device.runtime().allocate(n * n * sizeof(float));
    if (matrix == nullptr) fail("no memory for the products of cuBLAS");
    device.runtime().write(matrix, host.data(), n * n * sizeof(float));
  }
  for (const Product product : {Product::float32, Product::bfloat16}) {
    const auto call = [&] { cublas->multiply(product, options.product, matrices[0], matrices[1], matrices[2]); };
    call();
    const std::vector<double> seconds = clock.time(call, options.rounds);
    (product == Product::float32 ? roofs.float32 : roofs.bfloat16) =
        2.0 * std::pow(static_cast<double>(n), 3) / *std::min_element(seconds.begin(), seconds.end());
  }
  for (void* matrix : matrices) device.runtime().release(matrix);
  return roofs;
}

// Not the products of a library, which is a peer here.
Device::Options own_kernels() {
  Device::Options options;
  options.deterministic = true;
  return options;
}

// The device and its clock.
struct Place {
  std::shared_ptr<Device> device;
  std::unique_ptr<DeviceClock> clock;

  Place() : device(std::make_shared<Device>(plugin_backend(*luffy_plugin(), 0), own_kernels())) {
    run_on_stream(*device, "clock", [this] {
      clock = std::make_unique<DeviceClock>(device->runtime().stream(),
                                            std::min<size_t>(256 * kMiB, device->runtime().free_memory() / 8));
    });
  }
};

// Seconds of each round. Throws what went wrong.
std::vector<double> time_case(const Place& place, const Case& one, int rounds) {
  const std::shared_ptr<Device>& device = place.device;
  Replay replay(device, one);
  const auto preparation = replay.calls(true);
  const auto calls = replay.calls(false);
  if (calls.empty()) throw std::runtime_error("the case calls nothing");
  std::vector<double> seconds;
  run_on_stream(*device, "time", [&] {
    for (const auto& call : preparation) call(device->context());
    const auto once = [&] {
      const Context::ScratchMark mark = device->context().scratch_mark();
      for (const auto& call : calls) call(device->context());
      device->context().scratch_release(mark);
    };
    for (int i = 0; i < 3; ++i) once();
    device->runtime().finish();
    seconds = place.clock->time(once, rounds);
    device->runtime().finish();
  });
  return seconds;
}

std::vector<Case> cases_of(const std::vector<std::string>& files) {
  std::vector<Case> all;
  for (const std::string& file : files) {
    for (Case& one : read_cases(file)) all.push_back(std::move(one));
  }
  return all;
}

int run(const Options& options) {
  const Peers peers = options.peers.empty() ? Peers{} : read_peers(options.peers);
  const std::vector<Case> cases = cases_of(options.files);
  std::unique_ptr<Place> place;
  try {
    place = std::make_unique<Place>();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "no device: %s\n", error.what());
    return 7;
  }
  const std::string card = place->device->runtime().describe();
  Roofs roofs;
  run_on_stream(*place->device, "roofs", [&] { roofs = measure_roofs(*place->device, *place->clock, options); });
  print_heading(card, roofs);

  std::vector<Timing> timings;
  int failed = 0;
  for (const Case& one : cases) {
    try {
      // A poisoned stream runs nothing any more.
      if (place == nullptr) place = std::make_unique<Place>();
      timings.push_back(timing_of(one, time_case(*place, one, options.rounds), roofs, peers));
      print_timing(timings.back());
    } catch (const std::exception& error) {
      std::printf("FAILED %s, %s: %s\n", one.stem.c_str(), one.name.c_str(), error.what());
      ++failed;
      place.reset();
    }
    std::fflush(stdout);
  }
  if (!options.json.empty()) write_record(options.json, card, options.commit, roofs, timings);
  const std::string goals = print_goals(timings, roofs);
  std::printf("%zu timed, %d failed; %s\n", timings.size(), failed, goals.c_str());
  return failed > 0 || timings.empty() ? 1 : 0;
}

}  // namespace
}  // namespace luffy::programs

int main(int count, char** arguments) {
  try {
    return luffy::programs::run(luffy::programs::read_options(count, arguments));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "luffy_kernel_bench: %s\n", error.what());
    return 2;
  }
}
