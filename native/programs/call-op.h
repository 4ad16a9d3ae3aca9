// Calls an op of a backend's table by its JavaScript name, with the words of a case file as arguments: converted by the
// C++ signature, as native/addon/bind.h does for JavaScript values.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../core/context.h"
#include "../core/tensor.h"

namespace luffy {
struct OpTable;
}

namespace luffy::programs {

// Resolves "t12" and "-" of a case.
using TensorOf = std::function<Tensor(const std::string& word)>;

// The call, ready to be made as often as wanted. Throws std::runtime_error for an unknown op or a wrong word.
std::function<void(Context&)> bind_op(const OpTable& ops, const std::string& name,
                                      const std::vector<std::string>& words, const TensorOf& tensor_of);

}  // namespace luffy::programs
