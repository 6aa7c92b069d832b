// Rows of a table by id.
#pragma once

#include <cstdint>
#include <vector>

namespace vl2::reference {

/// table [vocabulary, width]; ids past it give zeros.
inline std::vector<double> embed_tokens(const std::vector<float>& table, size_t width, const std::vector<uint32_t>& ids) {
  std::vector<double> y;
  for (const uint32_t id : ids)
    for (size_t i = 0; i < width; ++i)
      y.push_back(id < table.size() / width ? table[id * width + i] : 0.0);
  return y;
}

}  // namespace vl2::reference
