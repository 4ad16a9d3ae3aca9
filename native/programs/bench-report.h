// What luffy_kernel_bench says of the cases that it timed: a line each, whether the goals of their case files are met, and
// the JSON record.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "case-file.h"

namespace luffy::programs {

// What this run measured the card by.
struct Roofs {
  double copy = 0;     // bytes read and written per second
  double float32 = 0;  // FLOPs per second of cuBLAS, 0 without
  double bfloat16 = 0;
  std::string cublas;  // its file, or why there is none
};

struct PeerTime {
  std::string peer;
  double seconds = 0;
};

// The fastest peer by op and case: lines "op TAB case TAB peer TAB seconds" (benchmarks/pytorch/card_peers.py --table).
// Throws std::runtime_error, naming file and line.
using Peers = std::map<std::pair<std::string, std::string>, PeerTime>;
Peers read_peers(const std::string& path);

struct Timing {
  std::string op;
  std::string name;
  double seconds = 0;  // median
  double fastest = 0;
  double bytes = 0;
  double flops = 0;
  // Of the bandwidth of a copy, of the rate of cuBLAS, of the speed of the fastest peer; 0 where there is none.
  double of_copy = 0;
  double of_cublas = 0;
  double of_peer = 0;
  PeerTime peer;
  Goal goal;
};

Timing timing_of(const Case& one, const std::vector<double>& seconds, const Roofs& roofs, const Peers& peers);

void print_heading(const std::string& card, const Roofs& roofs);
void print_timing(const Timing& timing);
// A line for each goal: what is wanted, what came, and whether it is met. Returns "goals: ..." in one line.
std::string print_goals(const std::vector<Timing>& timings, const Roofs& roofs);

// Throws std::runtime_error.
void write_record(const std::string& path, const std::string& card, const std::string& commit, const Roofs& roofs,
                  const std::vector<Timing>& timings);

}  // namespace luffy::programs
