// The file that keeps compiled pipelines between runs: an envelope around the driver's blob, so that a torn file is noticed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

struct DeviceCaps;

/// FNV-1a, 64 bit, continued from `hash`.
uint64_t fnv1a64(const void* data, size_t bytes, uint64_t hash = 0xcbf29ce484222325u);

/// Names device, driver and all embedded shaders: pipelines of one key never serve another.
uint64_t pipeline_cache_key(const DeviceCaps& caps);

/// The blob in the file, or nothing when the file is missing, torn, or made for another key.
std::vector<std::byte> read_pipeline_file(const std::string& path, uint64_t key);

/// Writes beside and renames, so that a reader never sees half a file. Makes the directory when needed.
///
/// what  it is, for the message
Status replace_file(const std::string& path, std::initializer_list<std::span<const std::byte>> parts, const char* what);
Status write_pipeline_file(const std::string& path, uint64_t key, const std::vector<std::byte>& blob);

}  // namespace vl2
