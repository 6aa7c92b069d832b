// A block of rows added again and again, in double.
#pragma once

#include <vector>

namespace vl2::reference {

/// x [rows, width]; rows_to_add [period, width].
inline std::vector<double> add_rows(const std::vector<float>& x, const std::vector<float>& rows_to_add) {
  std::vector<double> y;
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back(double{x[i]} + rows_to_add[i % rows_to_add.size()]);
  return y;
}

}  // namespace vl2::reference
