// Small model folders whose weights are a fixed function of their names, so that no weights are stored (tests/golden/README.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace vl2 {

/// Element `index` of the stream called `name`: 64 random bits.
uint64_t named_random(const std::string& name, uint64_t index);

/// A tensor as tests/golden/*/tensors.json lists it: value = offset + scale * uniform[-1, 1), rounded to bf16.
struct ToyTensor {
  std::string name;
  std::vector<uint64_t> shape;
  double scale = 1, offset = 0;
};

/// Errors  fails the test: the file is part of the repository
std::vector<ToyTensor> read_toy_tensors(const std::string& path);

/// The bf16 bits of a toy tensor.
std::vector<uint16_t> toy_values(const ToyTensor& tensor);

/// Writes `folder`/model.safetensors with the tensors, and copies config.json from `golden`. Returns `folder`.
std::string write_toy_model(const std::string& folder, const std::string& golden);

/// A safetensors file of any header and data, for tests of bad files.
void write_safetensors(const std::string& path, const std::string& header, const std::string& data);

/// Pixels of the picture called `name`: height * width * 3 bytes.
std::vector<uint8_t> toy_picture(const std::string& name, uint32_t width, uint32_t height);

/// A folder for this test run that is removed when this goes.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace vl2
