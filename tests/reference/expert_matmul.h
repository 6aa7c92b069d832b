// Every (token, choice) pair times its expert's weight, in double precision.
#pragma once

#include <cstdint>
#include <vector>

namespace vl2::reference {

/// x [pairs, k]: the row that each pair multiplies; ids [pairs]; weight [experts, columns, k] -> [pairs, columns].
/// Source: facts of the model, the experts' linear layers; from the ids alone, with no schedule.
inline std::vector<double> expert_matmul(const std::vector<float>& x, const std::vector<uint32_t>& ids,
                                         const std::vector<float>& weight, size_t columns, size_t k) {
  std::vector<double> y(ids.size() * columns);
  for (size_t pair = 0; pair < ids.size(); ++pair)
    for (size_t column = 0; column < columns; ++column) {
      double sum = 0;
      for (size_t i = 0; i < k; ++i)
        sum += double{weight[(ids[pair] * columns + column) * k + i]} * x[pair * k + i];
      y[pair * columns + column] = sum;
    }
  return y;
}

}  // namespace vl2::reference
