// What `vl2 selftest` runs on a device: each kind of operator on numbers of its own, beside plain loops in double on the host.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "app/selftest/bed.h"

namespace vl2 {

/// What a device gave, and what it should have.
struct CheckedNumbers {
  std::vector<float> got;
  std::vector<double> wanted;
};

struct Check {
  std::string name;
  /// Of the error: the largest difference, in root mean squares of what was wanted. 0: every number is exact.
  double limit = 0;
  std::function<Result<CheckedNumbers>(TestBed&)> run;
};

/// In the order in which they run. They differ with the device's tier, which decides on kernels and number formats.
void add_product_checks(const Device& device, std::vector<Check>& checks);
void add_attention_checks(const Device& device, std::vector<Check>& checks);
void add_other_checks(const Device& device, std::vector<Check>& checks);

}  // namespace vl2
