// JSON from a file: read whole within a limit, parsed without exceptions, refused with one line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/status.h"

namespace vl2 {

inline constexpr uint64_t kMaxJsonBytes = uint64_t{256}
                                          << 20;  // the largest published file, Base's tokenizer.json, has about 8 MB

/// The bytes of a regular file.
///
/// Errors  NotFound; IoError: no regular file, or the system refused; BadFile: more than `max_bytes`
Result<std::string> read_text_file(const std::string& path, uint64_t max_bytes);

/// Parses JSON text; of a key written twice the last one counts, as in Python.
///
/// where   how messages name the text: a path
/// Errors  BadFile, with the position of the first byte that could not follow, counted from 1
Result<nlohmann::json> parse_json(const std::string& text, const std::string& where);

/// Both in turn, with kMaxJsonBytes.
Result<nlohmann::json> read_json_file(const std::string& path);

/// A value as messages name it: "null", "true", "-3", "0.5", "a string", "a list", "an object".
std::string describe_json(const nlohmann::json& value);

}  // namespace vl2
