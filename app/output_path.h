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

/// Writes a file beside `path`, then renames it over: who reads sees the old file or the whole new one.
///
/// Errors  IoError, with the path; nothing is left behind, and what was there stays
Status replace_text_file(const std::string& path, const std::string& text);

}  // namespace vl2
