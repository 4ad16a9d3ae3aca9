// luffy_kernel_tests [--bytes N] FILE...: every case of the case files (that moves at most N bytes) on the first CUDA
// device, against the values that stand in them. Needs a driver and nothing else. Exit code 0 when every case is right,
// 1 when one is not, 2 when nothing was tested, 7 without a device.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <string>

#include "../core/plugin.h"
#include "case-file.h"
#include "replay.h"

extern "C" const luffy::Plugin* luffy_plugin();

namespace {

struct Count {
  int passed = 0;
  int failed = 0;
};

std::shared_ptr<luffy::Device> open_device() {
  luffy::Device::Options options;
  options.deterministic = true;  // the kernels themselves
  return std::make_shared<luffy::Device>(luffy::plugin_backend(*luffy_plugin(), 0), options);
}

}  // namespace

int main(int count, char** arguments) {
  double most_bytes = HUGE_VAL;
  int first = 1;
  if (count > 2 && std::strcmp(arguments[1], "--bytes") == 0) {
    char* end = nullptr;
    most_bytes = std::strtod(arguments[2], &end);
    first = *arguments[2] != 0 && *end == 0 ? 3 : count;
  }
  if (first >= count) {
    std::fprintf(stderr, "usage: luffy_kernel_tests [--bytes N] FILE...\n");
    return 2;
  }
  std::shared_ptr<luffy::Device> device;
  try {
    device = open_device();
    std::printf("%s\n", device->runtime().describe().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "no device: %s\n", error.what());
    return 7;
  }
  std::map<std::string, Count> stems;
  Count total;
  for (int i = first; i < count; ++i) {
    try {
      for (const luffy::programs::Case& one : luffy::programs::read_cases(arguments[i])) {
        if (one.bytes > most_bytes) continue;
        std::vector<std::string> faults;
        try {
          faults = luffy::programs::Replay(device, one).check();
          if (one.expected.empty()) faults.push_back("the case expects nothing");
        } catch (const std::exception& error) {
          faults.push_back(error.what());
          // A poisoned stream runs nothing any more.
          device = open_device();
        }
        (faults.empty() ? stems[one.stem].passed : stems[one.stem].failed) += 1;
        (faults.empty() ? total.passed : total.failed) += 1;
        for (const std::string& fault : faults) {
          std::printf("FAILED %s, %s: %s\n", one.stem.c_str(), one.name.c_str(), fault.c_str());
        }
      }
    } catch (const std::exception& error) {
      std::printf("FAILED %s\n", error.what());
      total.failed += 1;
    }
  }
  for (const auto& [stem, each] : stems)
    std::printf("%-20s %4d passed, %d failed\n", stem.c_str(), each.passed, each.failed);
  std::printf("%d passed, %d failed\n", total.passed, total.failed);
  if (total.passed + total.failed == 0) return 2;
  return total.failed > 0 ? 1 : 0;
}
