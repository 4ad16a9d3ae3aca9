#include "bench-report.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace luffy::programs {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

bool uses_bfloat16(const Case& one) {
  return std::any_of(one.tensors.begin(), one.tensors.end(),
                     [](const TensorStep& tensor) { return tensor.dtype == DType::bf16; });
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 32 ? ' ' : c;
  }
  return out;
}

const char* goal_name(Goal::Of of) {
  return of == Goal::Of::copy ? "copy" : of == Goal::Of::cublas ? "cuBLAS" : of == Goal::Of::peer ? "peer" : "nothing";
}

double measured(const Timing& timing) {
  return timing.goal.of == Goal::Of::copy     ? timing.of_copy
         : timing.goal.of == Goal::Of::cublas ? timing.of_cublas
                                              : timing.of_peer;
}

// As JSON: 0 is nothing measured.
void add_share(std::ostringstream& out, const char* key, double share) {
  out << ", \"" << key << "\": ";
  if (share > 0)
    out << share;
  else
    out << "null";
}

}  // namespace

Peers read_peers(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + " cannot be read");
  Peers peers;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    std::vector<std::string> words(1);
    for (const char c : line) {
      if (c == '\t')
        words.emplace_back();
      else
        words.back() += c;
    }
    double seconds = 0;
    try {
      seconds = words.size() == 4 ? std::stod(words[3]) : 0;
    } catch (const std::exception&) {
    }
    if (!(seconds > 0)) {
      throw std::runtime_error(path + ":" + std::to_string(number) +
                               ": expected op, case, peer and seconds with tabs between them, got '" + line + "'");
    }
    PeerTime& fastest = peers[{words[0], words[1]}];
    if (fastest.peer.empty() || seconds < fastest.seconds) fastest = PeerTime{words[2], seconds};
  }
  return peers;
}

Timing timing_of(const Case& one, const std::vector<double>& seconds, const Roofs& roofs, const Peers& peers) {
  Timing timing;
  timing.op = one.stem;
  timing.name = one.name;
  timing.seconds = median(seconds);
  timing.fastest = *std::min_element(seconds.begin(), seconds.end());
  timing.bytes = one.bytes;
  timing.flops = one.flops;
  timing.goal = one.goal;
  timing.of_copy = one.bytes / timing.seconds / roofs.copy;
  const double rate = uses_bfloat16(one) ? roofs.bfloat16 : roofs.float32;
  if (rate > 0) timing.of_cublas = one.flops / timing.seconds / rate;
  const auto found = peers.find({one.stem, one.name});
  if (found != peers.end()) {
    timing.peer = found->second;
    timing.of_peer = timing.peer.seconds / timing.seconds;
  }
  return timing;
}

void print_heading(const std::string& card, const Roofs& roofs) {
  std::printf("%s\ncopy %.0f GB/s; ", card.c_str(), roofs.copy / 1e9);
  if (roofs.float32 > 0)
    std::printf("cuBLAS %.0f GFLOP/s float32, %.0f bfloat16\n", roofs.float32 / 1e9, roofs.bfloat16 / 1e9);
  else
    std::printf("%s\n", roofs.cublas.c_str());
  std::printf("%-20s %-52s %10s %8s %6s %9s %6s %6s\n", "op", "case", "us", "GB/s", "copy", "GFLOP/s", "cuBLAS",
              "peer");
}

void print_timing(const Timing& timing) {
  std::printf("%-20s %-52.52s %10.1f %8.0f %5.0f%% %9.0f %5.0f%%", timing.op.c_str(), timing.name.c_str(),
              timing.seconds * 1e6, timing.bytes / timing.seconds / 1e9, 100 * timing.of_copy,
              timing.flops / timing.seconds / 1e9, 100 * timing.of_cublas);
  if (timing.of_peer > 0) std::printf(" %5.0f%% of %s", 100 * timing.of_peer, timing.peer.peer.c_str());
  std::printf("\n");
}

std::string print_goals(const std::vector<Timing>& timings, const Roofs& roofs) {
  int met = 0;
  int missed = 0;
  int unknown = 0;
  for (const Timing& timing : timings) {
    if (timing.goal.of == Goal::Of::none) continue;
    const double share = measured(timing);
    std::printf("goal %-20s %-52.52s %.2f of %s: ", timing.op.c_str(), timing.name.c_str(), timing.goal.share,
                goal_name(timing.goal.of));
    if (share > 0) {
      const bool reached = share >= timing.goal.share;
      ++(reached ? met : missed);
      std::printf("%.2f, %s\n", share, reached ? "pass" : "FAIL");
    } else {
      ++unknown;
      std::printf("not measured, %s\n",
                  timing.goal.of == Goal::Of::peer ? "no peer's time (--peers)" : roofs.cublas.c_str());
    }
  }
  return "goals: " + std::to_string(met) + " met, " + std::to_string(missed) + " missed, " + std::to_string(unknown) +
         " not measured";
}

void write_record(const std::string& path, const std::string& card, const std::string& commit, const Roofs& roofs,
                  const std::vector<Timing>& timings) {
  std::ostringstream rows;
  for (const Timing& timing : timings) {
    rows << (&timing == timings.data() ? "" : ",") << "\n    {\"op\": \"" << escaped(timing.op) << "\", \"case\": \""
         << escaped(timing.name) << "\", \"seconds\": " << timing.seconds << ", \"fastest\": " << timing.fastest
         << ", \"bytes\": " << timing.bytes << ", \"flops\": " << timing.flops;
    add_share(rows, "shareOfCopy", timing.of_copy);
    add_share(rows, "shareOfCublas", timing.of_cublas);
    add_share(rows, "shareOfPeer", timing.of_peer);
    if (timing.of_peer > 0) {
      rows << ", \"peer\": \"" << escaped(timing.peer.peer) << "\", \"peerSeconds\": " << timing.peer.seconds;
    }
    if (timing.goal.of != Goal::Of::none) {
      rows << ", \"goal\": {\"of\": \"" << goal_name(timing.goal.of) << "\", \"share\": " << timing.goal.share
           << ", \"met\": "
           << (measured(timing) > 0 ? (measured(timing) >= timing.goal.share ? "true" : "false") : "null") << "}";
    }
    rows << "}";
  }
  std::ofstream out(path);
  out << "{\n  \"card\": \"" << escaped(card) << "\",\n  \"commit\": \"" << escaped(commit)
      << "\",\n  \"copyBytesPerSecond\": " << roofs.copy << ",\n  \"cublas\": \"" << escaped(roofs.cublas)
      << "\",\n  \"cublasFloat32\": " << roofs.float32 << ",\n  \"cublasBfloat16\": " << roofs.bfloat16
      << ",\n  \"rows\": [" << rows.str() << "\n  ]\n}\n";
  if (!out.flush()) throw std::runtime_error(path + " could not be written");
}

}  // namespace luffy::programs
