// `vl2 selftest`: whether this device and its driver compute what they should.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "model/engine.h"
#include "model/tokenizer.h"
#include "runtime/device.h"
#include "runtime/status.h"

namespace vl2 {

struct CheckRow {
  std::string name;
  double error = 0, limit = 0;  ///< Check::limit says of what
  std::string problem;          ///< why it could not be computed; empty: it was
  std::string note;             ///< beside the numbers, where there is something to say
  double seconds = 0;

  /// NaN is no number that a limit allows.
  bool ok() const { return problem.empty() && error <= limit; }
};

/// Told of each row when it is there.
using OnCheck = std::function<void(const CheckRow&)>;

/// For tests: may change what the device gave before it is compared.
using SpoilResult = std::function<void(const std::string& name, std::vector<float>& got)>;

/// Runs every check, the later ones also when one fails. After a lost device the rest is marked as not run.
///
/// Errors  Unsupported: a driver that executes nothing
Result<std::vector<CheckRow>> check_operators(Device& device, const OnCheck& on_check = {}, const SpoilResult& spoil = {});

/// Asks a model one question, of a picture where it sees, by the plain plan and by the fused one, and compares the tokens.
///
/// spoil  gets the ids of the fused plan
CheckRow check_plans(Engine& engine, const Tokenizer& tokenizer, const SpoilResult& spoil = {});

}  // namespace vl2
