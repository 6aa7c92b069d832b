// Another program, run to its end, with bounds on what it prints and how long it takes.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace vl2::batch {

struct ChildLimits {
  size_t out_bytes = size_t{1} << 20;  ///< of standard output; one byte more ends it
  int seconds = 60;
};

struct ChildOutput {
  int exit_status = 0;  ///< minus the signal when one ended it
  std::string out;
  std::string err;  ///< the first 4 KiB
};

/// Whether a program of that name stands in one of PATH's folders.
bool find_program(const std::string& name);

/// Runs words[0], found by PATH, with LC_ALL=C, an empty standard input and a process group of its own, so that a Ctrl-C at the
/// terminal reaches this program alone. It is killed when `stop` says so.
///
/// Errors   NotFound: no such program; Cancelled: stopped; IoError: it took too long, printed too much, or cannot be started
/// Threads  any number at once
Result<ChildOutput> run_child(const std::vector<std::string>& words, const ChildLimits& limits,
                              const std::function<bool()>& stop);

}  // namespace vl2::batch
