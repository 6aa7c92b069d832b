#include "model/model_identity.h"

#include <algorithm>
#include <string>
#include <vector>

#include "model/checkpoint.h"
#include "model/quantize_mix.h"
#include "model/tokenizer.h"
#include "runtime/pipeline_file.h"

namespace vl2 {

namespace {

// A row from the middle; of a vector, its beginning.
Status read_sample(const Checkpoint& checkpoint, const CheckpointTensor& tensor, std::vector<std::byte>& sample) {
  constexpr uint64_t kMostOfVector = 4096;
  sample.clear();
  if (tensor.shape.empty() || tensor.shape[0] == 0 || tensor.byte_count % tensor.shape[0] != 0)
    return {};
  const bool is_vector = tensor.shape.size() == 1;
  const uint64_t row_bytes = tensor.byte_count / tensor.shape[0];
  sample.resize(is_vector ? std::min(tensor.byte_count, kMostOfVector) : row_bytes);
  return checkpoint.read(tensor, is_vector ? 0 : tensor.shape[0] / 2 * row_bytes, sample);
}

}  // namespace

Result<uint64_t> identity_of_weights(const Checkpoint& checkpoint, const QuantizeMix* mix) {
  const std::string mix_name = mix == nullptr ? "" : mix->name;
  uint64_t identity = fnv1a64(mix_name.data(), mix_name.size() + 1);  // here and below, the NUL parts what follows
  std::vector<std::byte> sample;
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    identity = fnv1a64(name.c_str(), name.size() + 1, identity);
    identity = fnv1a64(tensor.dtype_text.c_str(), tensor.dtype_text.size() + 1, identity);
    identity = fnv1a64(tensor.shape.data(), tensor.shape.size() * sizeof(uint64_t), identity);
    if (name.find(".experts.") != std::string::npos)
      continue;
    VL2_TRY(read_sample(checkpoint, tensor, sample));
    identity = fnv1a64(sample.data(), sample.size(), identity);
  }
  return identity;
}

uint64_t identity_of_words(const Tokenizer& tokenizer) {
  uint64_t identity = fnv1a64("", 0);
  for (TokenId id = 0; id < tokenizer.id_count(); ++id) {
    const std::string_view bytes = tokenizer.token_bytes(id);
    const uint64_t size = bytes.size();
    identity = fnv1a64(&size, sizeof(size), identity);
    identity = fnv1a64(bytes.data(), bytes.size(), identity);
  }
  return identity;
}

}  // namespace vl2
