// luffy_kernel_bench [--rounds N] [--json FILE] [--commit TEXT] FILE...: times every case of the case files on the first
// CUDA device, the cache flushed before each call, beside the bandwidth of a copy and the rate of cuBLAS (where it is
// found) that the same run measures. Needs a driver and nothing else.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../core/plugin.h"
#include "bench-device.h"
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
    else
      throw std::runtime_error("unknown option " + name + ": known are --rounds, --product, --json, --commit");
  }
  if (options.files.empty()) throw std::runtime_error("no case file");
  return options;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Roofs {
  double copy = 0;     // bytes read and written per second
  double float32 = 0;  // FLOPs per second of cuBLAS, 0 without
  double bfloat16 = 0;
  std::string cublas;  // its file, or why there is none
};

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

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return out;
}

bool uses_bfloat16(const Case& one) {
  return std::any_of(one.tensors.begin(), one.tensors.end(),
                     [](const TensorStep& tensor) { return tensor.dtype == DType::bf16; });
}

int run(const Options& options) {
  auto device = std::make_shared<Device>(plugin_backend(*luffy_plugin(), 0), Device::Options{});
  const std::string card = device->runtime().describe();
  Roofs roofs;
  std::unique_ptr<DeviceClock> clock;
  run_on_stream(*device, "roofs", [&] {
    clock = std::make_unique<DeviceClock>(device->runtime().stream(),
                                          std::min<size_t>(256 * kMiB, device->runtime().free_memory() / 8));
    roofs = measure_roofs(*device, *clock, options);
  });
  std::printf("%s\ncopy %.0f GB/s; cuBLAS %s\n", card.c_str(), roofs.copy / 1e9,
              roofs.float32 > 0 ? (std::to_string(static_cast<int>(roofs.float32 / 1e9)) + " GFLOP/s float32, " +
                                   std::to_string(static_cast<int>(roofs.bfloat16 / 1e9)) + " bfloat16")
                                      .c_str()
                                : roofs.cublas.c_str());
  std::printf("%-20s %-44s %10s %8s %6s %9s %6s\n", "op", "case", "us", "GB/s", "copy", "GFLOP/s", "cuBLAS");

  std::ostringstream rows;
  int timed = 0;
  int failed = 0;
  for (const std::string& file : options.files) {
    for (const Case& one : read_cases(file)) {
      std::vector<double> seconds;
      try {
        Replay replay(device, one);
        const auto preparation = replay.calls(true);
        const auto calls = replay.calls(false);
        if (calls.empty()) throw std::runtime_error("the case calls nothing");
        run_on_stream(*device, "time", [&] {
          for (const auto& call : preparation) call(device->context());
          const auto once = [&] {
            const Context::ScratchMark mark = device->context().scratch_mark();
            for (const auto& call : calls) call(device->context());
            device->context().scratch_release(mark);
          };
          for (int i = 0; i < 3; ++i) once();
          device->runtime().finish();
          seconds = clock->time(once, options.rounds);
        });
      } catch (const std::exception& error) {
        std::printf("FAILED %s, %s: %s\n", one.stem.c_str(), one.name.c_str(), error.what());
        ++failed;
        break;  // the stream runs nothing any more
      }
      const double time = median(seconds);
      const double bandwidth = one.bytes / time;
      const double rate = one.flops / time;
      const double roof = uses_bfloat16(one) ? roofs.bfloat16 : roofs.float32;
      std::printf("%-20s %-44.44s %10.1f %8.0f %5.0f%% %9.0f %5.0f%%\n", one.stem.c_str(), one.name.c_str(), time * 1e6,
                  bandwidth / 1e9, 100 * bandwidth / roofs.copy, rate / 1e9, roof > 0 ? 100 * rate / roof : 0.0);
      rows << (timed == 0 ? "" : ",") << "\n    {\"op\": \"" << escaped(one.stem) << "\", \"case\": \""
           << escaped(one.name) << "\", \"seconds\": " << time
           << ", \"fastest\": " << *std::min_element(seconds.begin(), seconds.end()) << ", \"bytes\": " << one.bytes
           << ", \"flops\": " << one.flops << ", \"shareOfCopy\": " << bandwidth / roofs.copy
           << ", \"shareOfCublas\": ";
      if (roof > 0)
        rows << rate / roof;
      else
        rows << "null";
      rows << "}";
      ++timed;
    }
  }
  if (!options.json.empty()) {
    std::ofstream out(options.json);
    out << "{\n  \"card\": \"" << escaped(card) << "\",\n  \"commit\": \"" << escaped(options.commit)
        << "\",\n  \"copyBytesPerSecond\": " << roofs.copy << ",\n  \"cublas\": \"" << escaped(roofs.cublas)
        << "\",\n  \"cublasFloat32\": " << roofs.float32 << ",\n  \"cublasBfloat16\": " << roofs.bfloat16
        << ",\n  \"rows\": [" << rows.str() << "\n  ]\n}\n";
    if (!out.flush()) throw std::runtime_error(options.json + " could not be written");
  }
  run_on_stream(*device, "end", [&] { clock.reset(); });
  std::printf("%d timed, %d failed\n", timed, failed);
  return failed > 0 || timed == 0 ? 1 : 0;
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
