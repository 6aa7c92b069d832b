// Where a command will write, looked at before it works for it.
#pragma once

#include <string>

#include "runtime/status.h"

namespace vl2 {

/// Whether a file can be made there, as far as one can know without making it: its folder exists and can be written to, and it is
/// no folder itself. An empty path is fine: nothing will be written.
///
/// Errors  IoError, with the path
Status check_output_file(const std::string& path);

/// Makes a folder, and those it lies in, unless it is there.
///
/// Errors  IoError, with the path
Status make_output_folder(const std::string& path);

}  // namespace vl2
