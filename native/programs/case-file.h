// A case file: calls of ops with their inputs and, for tests, what must come out. Written by the tests
// (LUFFY_EXPORT_CASES, test/_helpers/case-export.ts), read by luffy_kernel_tests and luffy_kernel_bench where there is no
// Node. Lines of text, each element a word; bytes follow a line that announces them.
//
//   case STEM FLOPS BYTES NAME...          begins a case
//   goal copy|cublas|peer SHARE            what a benchmark should reach
//   tensor ID DTYPE SIZE...                memory of its own
//   view ID BASE OFFSET ROW_STRIDE SIZE... a part of another tensor, offset in elements
//   data ID BYTES                          contents, the bytes follow
//   random ID MEAN DEVIATION LOW HIGH      contents of a benchmark's tensor of floats
//   prepare | call OP ARGUMENT...          calls; those after `prepare` belong to no measurement
//   keep ID GUARD ROWS COLUMNS STRIDE CHANGES   all of tensor ID but (if CHANGES is 1) these rows is as before
//   expect ID share|relative|absolute LIMIT COUNT WIDTH NAME   values of 4 or 8 bytes follow; ID's elements, rows packed
//
// Arguments: t<ID>, a number, true, false, - (none), or {name=number,...}.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../core/tensor.h"

namespace luffy::programs {

struct TensorStep {
  int64_t id;
  DType dtype;
  std::vector<int64_t> shape;
  // Views only: the tensor they are part of, else -1.
  int64_t base = -1;
  int64_t offset = 0;
  int64_t row_stride = 0;
};

struct ContentStep {
  int64_t id;
  std::vector<char> bytes;
  // When there are no bytes.
  double mean = 0;
  double deviation = 0;
  double low = 0;
  double high = 0;
};

struct CallStep {
  std::string op;
  std::vector<std::string> arguments;
  bool is_preparation;
};

struct KeepStep {
  int64_t id;
  int64_t guard;
  int64_t rows;
  int64_t columns;
  int64_t stride;
  bool changes;
};

struct ExpectStep {
  int64_t id;
  enum class Kind { share, relative, absolute } kind;
  double limit;
  std::string name;
  std::vector<double> values;
};

// A share of the bandwidth of a copy, of the rate of cuBLAS, or of the fastest peer's speed.
struct Goal {
  enum class Of { none, copy, cublas, peer } of = Of::none;
  double share = 0;
};

struct Case {
  std::string stem;
  std::string name;
  double flops;
  double bytes;
  Goal goal;
  std::vector<TensorStep> tensors;
  std::vector<ContentStep> contents;
  std::vector<CallStep> calls;
  std::vector<KeepStep> kept;
  std::vector<ExpectStep> expected;
};

// Throws std::runtime_error, naming file and line, for what is not as above.
std::vector<Case> read_cases(const std::string& path);

}  // namespace luffy::programs
