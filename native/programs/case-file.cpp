#include "case-file.h"

#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace luffy::programs {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& path) : path_(path), file_(path, std::ios::binary) {
    if (!file_) fail("cannot be read");
  }

  std::vector<Case> cases() {
    std::string line;
    while (std::getline(file_, line)) {
      ++line_;
      words_ = std::istringstream(line);
      step(word());
    }
    if (cases_.empty()) fail("holds no case");
    return std::move(cases_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) {
    throw std::runtime_error(path_ + ":" + std::to_string(line_) + ": " + what);
  }
  std::string word() {
    std::string text;
    if (!(words_ >> text)) fail("the line is cut");
    return text;
  }
  int64_t integer() {
    const std::string text = word();
    size_t used = 0;
    int64_t value = 0;
    try {
      value = std::stoll(text, &used);
    } catch (const std::exception&) {
    }
    if (used != text.size()) fail("expected an integer, got '" + text + "'");
    return value;
  }
  int64_t size() {
    const int64_t value = integer();
    if (value < 0 || value > int64_t{1} << 40) fail("expected a size, got " + std::to_string(value));
    return value;
  }
  double real() {
    const std::string text = word();
    size_t used = 0;
    double value = 0;
    try {
      value = std::stod(text, &used);
    } catch (const std::exception&) {
    }
    if (used != text.size()) fail("expected a number, got '" + text + "'");
    return value;
  }
  std::string rest() {
    std::string text;
    std::getline(words_ >> std::ws, text);
    return text;
  }
  void blob(void* to, size_t bytes) {
    file_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    if (file_.gcount() != static_cast<std::streamsize>(bytes) || file_.get() != '\n') fail("the file is cut");
  }
  DType dtype() {
    const std::string name = word();
    for (DType each : {DType::f32, DType::bf16, DType::f16, DType::i32, DType::u8, DType::f64}) {
      if (name == dtype_name(each)) return each;
    }
    fail("no number format '" + name + "'");
  }
  std::vector<int64_t> shape() {
    std::vector<int64_t> sizes;
    while (words_ >> std::ws, !words_.eof()) sizes.push_back(size());
    if (sizes.size() > 4) fail("a tensor has at most 4 dimensions");
    return sizes;
  }
  const TensorStep& tensor_of(const Case& one, int64_t id) {
    for (const TensorStep& tensor : one.tensors) {
      if (tensor.id == id) return tensor;
    }
    fail("there is no tensor " + std::to_string(id));
  }

  void step(const std::string& kind) {
    if (kind == "case") {
      Case one{};
      one.stem = word();
      one.flops = real();
      one.bytes = real();
      one.name = rest();
      cases_.push_back(std::move(one));
      return;
    }
    if (cases_.empty()) fail("expected 'case', got '" + kind + "'");
    Case& one = cases_.back();
    if (kind == "goal") {
      const std::string of = word();
      if (of == "copy")
        one.goal.of = Goal::Of::copy;
      else if (of == "cublas")
        one.goal.of = Goal::Of::cublas;
      else if (of == "peer")
        one.goal.of = Goal::Of::peer;
      else
        fail("no goal '" + of + "'");
      one.goal.share = real();
    } else if (kind == "tensor") {
      TensorStep tensor{};
      tensor.id = integer();
      tensor.dtype = dtype();
      tensor.shape = shape();
      one.tensors.push_back(tensor);
    } else if (kind == "view") {
      TensorStep view{};
      view.id = integer();
      view.base = integer();
      view.dtype = tensor_of(one, view.base).dtype;
      view.offset = size();
      view.row_stride = size();
      view.shape = shape();
      one.tensors.push_back(view);
    } else if (kind == "data") {
      ContentStep content{};
      content.id = integer();
      content.bytes.resize(static_cast<size_t>(size()));
      blob(content.bytes.data(), content.bytes.size());
      one.contents.push_back(std::move(content));
    } else if (kind == "random") {
      ContentStep content{};
      content.id = integer();
      content.mean = real();
      content.deviation = real();
      content.low = real();
      content.high = real();
      one.contents.push_back(std::move(content));
    } else if (kind == "prepare" || kind == "call") {
      CallStep call{};
      call.is_preparation = kind == "prepare";
      call.op = word();
      for (std::string argument; words_ >> argument;) call.arguments.push_back(argument);
      one.calls.push_back(std::move(call));
    } else if (kind == "keep") {
      KeepStep keep{};
      keep.id = integer();
      keep.guard = size();
      keep.rows = size();
      keep.columns = size();
      keep.stride = size();
      keep.changes = integer() != 0;
      one.kept.push_back(keep);
    } else if (kind == "expect") {
      ExpectStep expect{};
      expect.id = integer();
      const std::string measure = word();
      if (measure == "share")
        expect.kind = ExpectStep::Kind::share;
      else if (measure == "relative")
        expect.kind = ExpectStep::Kind::relative;
      else if (measure == "absolute")
        expect.kind = ExpectStep::Kind::absolute;
      else
        fail("no measure '" + measure + "'");
      expect.limit = real();
      expect.values.resize(static_cast<size_t>(size()));
      const int64_t width = integer();
      if (width != sizeof(float) && width != sizeof(double)) fail("expected a width of 4 or 8");
      expect.name = rest();
      if (width == sizeof(double)) {
        blob(expect.values.data(), expect.values.size() * sizeof(double));
      } else {
        std::vector<float> narrow(expect.values.size());
        blob(narrow.data(), narrow.size() * sizeof(float));
        for (size_t i = 0; i < narrow.size(); ++i) expect.values[i] = static_cast<double>(narrow[i]);
      }
      one.expected.push_back(std::move(expect));
    } else {
      fail("unknown step '" + kind + "'");
    }
  }

  std::string path_;
  std::ifstream file_;
  int line_ = 0;
  std::istringstream words_;
  std::vector<Case> cases_;
};

}  // namespace

std::vector<Case> read_cases(const std::string& path) { return Reader(path).cases(); }

}  // namespace luffy::programs
