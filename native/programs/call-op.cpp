#include "call-op.h"

#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>

#include "../ops/op-list.h"

namespace luffy::programs {
namespace {

struct Words {
  const std::string& op;
  const TensorOf& tensor_of;
};

double number_of(const Words& in, const std::string& text) {
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
  }
  if (used != text.size() || text.empty()) throw std::runtime_error(in.op + ": expected a number, got '" + text + "'");
  return value;
}

struct AnyVisitor {
  template <class Member>
  void operator()(const char*, Member) const {}
};

template <class T, class = void>
struct Argument;
template <>
struct Argument<double> {
  static double from(const Words& in, const std::string& word) { return number_of(in, word); }
};
template <>
struct Argument<int64_t> {
  static int64_t from(const Words& in, const std::string& word) { return static_cast<int64_t>(number_of(in, word)); }
};
template <>
struct Argument<bool> {
  static bool from(const Words& in, const std::string& word) {
    if (word == "true" || word == "false") return word == "true";
    throw std::runtime_error(in.op + ": expected true or false, got '" + word + "'");
  }
};
template <>
struct Argument<Tensor> {
  static Tensor from(const Words& in, const std::string& word) { return in.tensor_of(word); }
};
// {name=number,...}: every field of the struct must be there.
template <class T>
struct Argument<T, std::void_t<decltype(T::fields(std::declval<AnyVisitor>()))>> {
  static T from(const Words& in, const std::string& word) {
    T result{};
    T::fields([&](const char* name, auto member) {
      const std::string key = std::string(name) + "=";
      size_t at = word.find("{" + key);
      if (at == std::string::npos) at = word.find("," + key);
      if (at == std::string::npos) throw std::runtime_error(in.op + ": no " + key + " in '" + word + "'");
      const size_t begin = at + 1 + key.size();
      const std::string text = word.substr(begin, word.find_first_of(",}", begin) - begin);
      using Field = std::remove_reference_t<decltype(result.*member)>;
      result.*member = Argument<Field>::from(in, text);
    });
    return result;
  }
};

// "linear_forward" is linearForward in JavaScript.
bool is_named(const char* op, const std::string& name) {
  size_t at = 0;
  for (; *op != '\0'; ++op, ++at) {
    const bool upper = *op == '_';
    if (upper) ++op;
    const char expected = upper ? static_cast<char>(*op - 'a' + 'A') : *op;
    if (at >= name.size() || name[at] != expected) return false;
  }
  return at == name.size();
}

template <class... A, size_t... I>
std::function<void(Context&)> bind(const Words& in, void (*function)(Context&, A...),
                                   const std::vector<std::string>& words, std::index_sequence<I...>) {
  if (function == nullptr) throw std::runtime_error(in.op + ": the backend has no kernel for it");
  if (words.size() != sizeof...(A)) {
    throw std::runtime_error(in.op + ": expected " + std::to_string(sizeof...(A)) + " arguments, got " +
                             std::to_string(words.size()));
  }
  return [function, arguments = std::tuple<A...>{Argument<A>::from(in, words[I])...}](Context& context) {
    std::apply([&](const A&... each) { function(context, each...); }, arguments);
  };
}

template <class... A>
std::function<void(Context&)> bind_one(const Words& in, void (*function)(Context&, A...),
                                       const std::vector<std::string>& words) {
  return bind(in, function, words, std::index_sequence_for<A...>{});
}

}  // namespace

std::function<void(Context&)> bind_op(const OpTable& ops, const std::string& name,
                                      const std::vector<std::string>& words, const TensorOf& tensor_of) {
  const Words in{name, tensor_of};
#define LUFFY_BIND(op) \
  if (is_named(#op, name)) return bind_one(in, ops.op, words);
  LUFFY_OPS(LUFFY_BIND)
#undef LUFFY_BIND
  throw std::runtime_error("there is no op '" + name + "'");
}

}  // namespace luffy::programs
