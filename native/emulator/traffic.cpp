// Traffic of kernels: bytes and sectors of global memory, bank conflicts of ldmatrix, products of tensor cores.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bitset>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>

#include "machine.h"

namespace emulator {

bool tracing = std::getenv("EMULATOR_TRACE") != nullptr;

namespace {

// The nth execution of one line by the lanes of a warp is one warp instruction.
struct InstructionKey {
  const Warp* warp;
  const char* file;
  int line;
  unsigned bytes_and_kind;
  unsigned turn;
  bool operator==(const InstructionKey& o) const {
    return warp == o.warp && file == o.file && line == o.line && bytes_and_kind == o.bytes_and_kind && turn == o.turn;
  }
};
struct KeyHash {
  size_t operator()(const InstructionKey& k) const {
    size_t h = reinterpret_cast<size_t>(k.warp) / 64;
    h = h * 1000003u ^ static_cast<size_t>(k.line);
    h = h * 1000003u ^ k.bytes_and_kind;
    h = h * 1000003u ^ k.turn;
    return h * 0x9e3779b97f4a7c15ull;
  }
};
struct Instruction {
  std::vector<uint64_t> addresses;
};
std::unordered_map<InstructionKey, Instruction, KeyHash> instructions;
std::unordered_map<InstructionKey, unsigned, KeyHash> turns;  // how often each lane has executed each line
std::map<std::string, Traffic> totals;
Traffic launched{};  // of the launch that runs

// Which bytes a launch has touched.
class Touched {
 public:
  void add(uint64_t address, uint64_t bytes) {
    for (uint64_t at = address; at < address + bytes; ++at) pages_[at / kPage].set(at % kPage);
  }
  uint64_t count_and_clear() {
    uint64_t count = 0;
    for (const auto& page : pages_) count += page.second.count();
    pages_.clear();
    return count;
  }

 private:
  static constexpr uint64_t kPage = 4096;
  std::unordered_map<uint64_t, std::bitset<kPage>> pages_;
};
Touched touched[2];  // by loads, by stores

// EMULATOR_TRACE=FILE: the lines' file. "1" only counts.
const char* trace_file() {
  const char* text = std::getenv("EMULATOR_TRACE");
  return text == nullptr || std::strcmp(text, "1") == 0 ? nullptr : text;
}

// One write a line: other processes may append to the same file.
void append_line(const char* path, const std::string& line) {
  const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  const bool written = file >= 0 && write(file, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  if (!written) report("EMULATOR_TRACE: cannot append to %s", path);
  if (file >= 0) close(file);
}

std::string line_of(const Shape& shape, const char* kernel, const Traffic& t) {
  std::string line = "{\"kernel\":\"";
  line += kernel;
  line += '"';
  const auto add = [&](const char* name, uint64_t value) {
    line += ",\"" + std::string(name) + "\":" + std::to_string(value);
  };
  add("blocks", uint64_t{shape.grid.x} * shape.grid.y * shape.grid.z);
  add("threads", uint64_t{shape.block.x} * shape.block.y * shape.block.z);
  add("sharedBytes", shape.shared_bytes);
  add("loadBytes", t.load_bytes);
  add("loadDistinctBytes", t.load_distinct_bytes);
  add("loadSectors", t.load_sectors);
  add("loadIdealSectors", t.load_ideal_sectors);
  add("storeBytes", t.store_bytes);
  add("storeDistinctBytes", t.store_distinct_bytes);
  add("storeSectors", t.store_sectors);
  add("storeIdealSectors", t.store_ideal_sectors);
  add("matrixPhases", t.ldmatrix_phases);
  add("bankConflicts", t.ldmatrix_extra_phases);
  add("matrixProducts", t.mma);
  return line + "}\n";
}

void add_to(Traffic& sum, const Traffic& t) {
  sum.load_bytes += t.load_bytes;
  sum.load_distinct_bytes += t.load_distinct_bytes;
  sum.load_sectors += t.load_sectors;
  sum.load_ideal_sectors += t.load_ideal_sectors;
  sum.store_bytes += t.store_bytes;
  sum.store_distinct_bytes += t.store_distinct_bytes;
  sum.store_sectors += t.store_sectors;
  sum.store_ideal_sectors += t.store_ideal_sectors;
  sum.ldmatrix_phases += t.ldmatrix_phases;
  sum.ldmatrix_extra_phases += t.ldmatrix_extra_phases;
  sum.mma += t.mma;
}

}  // namespace

void count_access(const void* pointer, unsigned bytes, bool is_store, Site site) {
  RuntimeScope scope;
  if (is_shared(pointer)) return;
  const Fiber* me = self();
  const unsigned kind = bytes * 2 + is_store;
  const InstructionKey lane_key{me->warp, site.file, site.line, kind, 1000000000u + (me->rank & 31)};
  const InstructionKey key{me->warp, site.file, site.line, kind, turns[lane_key]++};
  instructions[key].addresses.push_back(reinterpret_cast<uintptr_t>(pointer));
}

void count_phases(unsigned all, unsigned extra) {
  launched.ldmatrix_phases += all;
  launched.ldmatrix_extra_phases += extra;
}

void count_mma() { ++launched.mma; }

// What the blocks that ran together have done; their warps are used again for the next ones.
void flush_traffic() {
  std::vector<uint64_t> sectors;
  for (auto& [key, instruction] : instructions) {
    // Lanes that ask for the same address are served once.
    auto& addresses = instruction.addresses;
    std::sort(addresses.begin(), addresses.end());
    addresses.erase(std::unique(addresses.begin(), addresses.end()), addresses.end());
    const uint64_t each = key.bytes_and_kind / 2, bytes = addresses.size() * each;
    const bool is_store = key.bytes_and_kind & 1;
    sectors.clear();
    for (uint64_t address : addresses) {
      for (uint64_t sector = address / 32; sector <= (address + each - 1) / 32; ++sector)
        if (sectors.empty() || sectors.back() != sector) sectors.push_back(sector);
      touched[is_store].add(address, each);
    }
    (is_store ? launched.store_bytes : launched.load_bytes) += bytes;
    (is_store ? launched.store_sectors : launched.load_sectors) += sectors.size();
    (is_store ? launched.store_ideal_sectors : launched.load_ideal_sectors) += (bytes + 31) / 32;
  }
  instructions.clear();
  turns.clear();
}

void end_traffic(const Shape& shape, const char* kernel) {
  launched.load_distinct_bytes = touched[0].count_and_clear();
  launched.store_distinct_bytes = touched[1].count_and_clear();
  if (const char* path = trace_file()) append_line(path, line_of(shape, kernel, launched));
  add_to(totals[kernel], launched);
  launched = {};
}

Traffic traffic(const char* part) {
  Traffic sum{};
  for (const auto& [name, t] : totals)
    if (name.find(part) != std::string::npos) add_to(sum, t);
  return sum;
}

void reset_traffic() { totals.clear(); }

}  // namespace emulator
