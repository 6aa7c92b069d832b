#include "runtime/pipeline_file.h"

#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/device_caps.h"
#include "runtime/shader.h"

namespace vl2 {

namespace {

constexpr uint64_t kMagic = 0x31306970326c7600u;  // "\0vl2pi01"
constexpr uint64_t kMaxBlobBytes = uint64_t{1} << 30;

struct Header {
  uint64_t magic, key, blob_bytes, blob_hash;
};

}  // namespace

uint64_t fnv1a64(const void* data, size_t bytes, uint64_t hash) {
  const auto* byte = static_cast<const unsigned char*>(data);
  for (size_t i = 0; i < bytes; ++i)
    hash = (hash ^ byte[i]) * 0x100000001b3u;
  return hash;
}

uint64_t pipeline_cache_key(const DeviceCaps& caps) {
  uint64_t key = fnv1a64(caps.name.data(), caps.name.size());
  const uint32_t numbers[] = {caps.vendor_id, caps.device_id, caps.driver_version, caps.api_version};
  key = fnv1a64(numbers, sizeof(numbers), key);
  key = fnv1a64(caps.pipeline_cache_uuid.data(), caps.pipeline_cache_uuid.size(), key);
  for (uint32_t id = 0; id < kShaderCount; ++id) {
    const ShaderCode& code = shader_code(static_cast<ShaderId>(id));
    key = fnv1a64(code.words.data(), code.words.size_bytes(), key);
  }
  return key;
}

std::vector<std::byte> read_pipeline_file(const std::string& path, uint64_t key) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file)
    return {};
  const auto file_bytes = static_cast<uint64_t>(file.tellg());
  Header header{};
  file.seekg(0);
  file.read(reinterpret_cast<char*>(&header), sizeof(header));
  if (!file || header.magic != kMagic || header.key != key || header.blob_bytes > kMaxBlobBytes ||
      header.blob_bytes + sizeof(header) != file_bytes)
    return {};
  std::vector<std::byte> blob(header.blob_bytes);
  file.read(reinterpret_cast<char*>(blob.data()), static_cast<std::streamsize>(blob.size()));
  if (!file || fnv1a64(blob.data(), blob.size()) != header.blob_hash)
    return {};
  return blob;
}

Status replace_file(const std::string& path, std::initializer_list<std::span<const std::byte>> parts, const char* what) {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  const std::string beside = path + ".new";
  {
    std::ofstream file(beside, std::ios::binary | std::ios::trunc);
    for (const std::span<const std::byte> part : parts)
      file.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(part.size()));
    if (!file.flush())
      return fail(Code::IoError, beside, ": cannot write ", what);
  }
  std::filesystem::rename(beside, path, error);
  if (error)
    return fail(Code::IoError, path, ": cannot replace ", what, ": ", error.message());
  return {};
}

Status write_pipeline_file(const std::string& path, uint64_t key, const std::vector<std::byte>& blob) {
  const Header header{kMagic, key, blob.size(), fnv1a64(blob.data(), blob.size())};
  return replace_file(path, {std::as_bytes(std::span(&header, 1)), blob}, "the pipeline cache");
}

}  // namespace vl2
