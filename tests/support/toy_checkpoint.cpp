#include "tests/support/toy_checkpoint.h"

#include <atomic>
#include <cstring>
#include <doctest/doctest.h>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <unistd.h>

#include "runtime/half.h"

namespace vl2 {

namespace {

uint64_t hash_of(const std::string& name) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

uint64_t element_count(const ToyTensor& tensor) {
  uint64_t count = 1;
  for (const uint64_t dim : tensor.shape)
    count *= dim;
  return count;
}

}  // namespace

uint64_t named_random(const std::string& name, uint64_t index) {
  uint64_t z = hash_of(name) + index * 0x9e3779b97f4a7c15u;  // then splitmix64's finaliser
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::vector<ToyTensor> read_toy_tensors(const std::string& path) {
  std::ifstream file(path);
  REQUIRE_MESSAGE(file.good(), path);
  std::vector<ToyTensor> tensors;
  for (const auto& entry : nlohmann::json::parse(file))
    tensors.push_back({entry["name"], entry["shape"].get<std::vector<uint64_t>>(), entry["scale"], entry["offset"]});
  return tensors;
}

std::vector<uint16_t> toy_values(const ToyTensor& tensor) {
  std::vector<uint16_t> values(element_count(tensor));
  const auto scale = static_cast<float>(tensor.scale), offset = static_cast<float>(tensor.offset);
  for (size_t i = 0; i < values.size(); ++i) {
    const float uniform = static_cast<float>(named_random(tensor.name, i) >> 40) * 0x1p-23f - 1.0f;
    values[i] = float_to_bfloat16(offset + scale * uniform);
  }
  return values;
}

void write_safetensors(const std::string& path, const std::string& header, const std::string& data) {
  std::ofstream file(path, std::ios::binary);
  const uint64_t bytes = header.size();
  file.write(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
  file << header << data;
  REQUIRE(file.flush().good());
}

std::string write_toy_model(const std::string& folder, const std::string& golden) {
  std::filesystem::create_directories(folder);
  nlohmann::json header;
  std::string data;
  for (const ToyTensor& tensor : read_toy_tensors(golden + "/tensors.json")) {
    const std::vector<uint16_t> values = toy_values(tensor);
    const size_t begin = data.size();
    data.append(reinterpret_cast<const char*>(values.data()), values.size() * 2);
    header[tensor.name] = {{"dtype", "BF16"}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  write_safetensors(folder + "/model.safetensors", header.dump(), data);
  std::filesystem::copy_file(golden + "/config.json", folder + "/config.json", std::filesystem::copy_options::overwrite_existing);
  return folder;
}

std::vector<uint8_t> toy_picture(const std::string& name, uint32_t width, uint32_t height) {
  std::vector<uint8_t> pixels(size_t{width} * height * 3);
  for (size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<uint8_t>(named_random(name, i) >> 56);
  return pixels;
}

TemporaryFolder::TemporaryFolder() {
  static std::atomic<int> counter = 0;
  std::ostringstream name;
  name << "vl2-test-" << ::getpid() << '-' << counter++;
  path_ = std::filesystem::temp_directory_path() / name.str();
  std::filesystem::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

}  // namespace vl2
