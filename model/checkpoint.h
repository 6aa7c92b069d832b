// A model's weights by their published names: safetensors files of a folder, or a GGUF file; checked whole before anything is
// read from them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/file_bytes.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

namespace vl2 {

struct Config;
struct Gguf;
struct GgufTensor;

/// kv_b of a GGUF file that has it as attn_k_b [heads, rank, nope] and attn_v_b [heads, value, rank].
struct SplitKvB {
  struct Part {
    DType dtype;
    uint64_t first_byte;
  } key, value;
  uint64_t heads, nope, value_dim, rank;
};

/// Where one tensor lies.
struct CheckpointTensor {
  std::string dtype_text;  ///< as the file says it: "BF16", "Q4_K"
  std::vector<uint64_t> shape;
  uint32_t file = 0;        ///< index of the file
  uint64_t first_byte = 0;  ///< from the start of the file
  uint64_t byte_count = 0;
  uint32_t pair_heads = 0;  ///< not 0: the file has the rows of each of so many heads in pairs (RowOrder::RopePairs)
  std::shared_ptr<const SplitKvB> split;  ///< set: it is put together from two tensors, which are of other types perhaps
};

/// The open files of a model folder and the list of their tensors. Reading is safe from many threads.
class Checkpoint {
 public:
  /// Opens `folder`/model.safetensors.index.json and the files that it names, or else every *.safetensors of the folder.
  ///
  /// Every header is checked against its file's size before memory is taken for what it announces: header length, offsets inside
  /// the file, no overlap, byte counts that match shape and dtype, no tensor in two files, none missing that the index names.
  /// Errors  NotFound, IoError, BadFile: the message names file and tensor
  /// Source  huggingface/safetensors, the format section of its README
  static Result<std::unique_ptr<Checkpoint>> open(const std::string& folder);

  /// Opens a GGUF file, whose front has been read, as a checkpoint of `config`: expert by expert, rows in published order. Tensors
  /// of the file that `config` does not ask for keep the file's names.
  ///
  /// Errors  NotFound, IoError; BadFile: a tensor is missing or has another shape
  static Result<std::unique_ptr<Checkpoint>> open_gguf(const std::string& path, const Gguf& gguf, const Config& config);
  /// The same for a file that is open, which messages call `name`.
  static Result<std::unique_ptr<Checkpoint>> open_gguf(OpenFile file, const std::string& name, const Gguf& gguf,
                                                       const Config& config);

  /// The published tensors of a model of `config`, of which nobody has the files: for plans. Reading from it is an error.
  static std::unique_ptr<Checkpoint> imagined(const Config& config);
  ~Checkpoint();
  Checkpoint(const Checkpoint&) = delete;
  Checkpoint& operator=(const Checkpoint&) = delete;

  const std::map<std::string, CheckpointTensor>& tensors() const { return tensors_; }
  const std::string& file_name(uint32_t file) const { return files_[file].name; }

  /// Errors  IoError: a file has another size or time of change than when it was opened, which is the one to name
  Status check_unchanged() const;

  /// From now on every read asks `cancelled` first, from any thread, and gives Code::Cancelled when it says so.
  void cancel_when(std::function<bool()> cancelled) { cancelled_ = std::move(cancelled); }

  /// Reads bytes first..first+target.size()-1 of a tensor: whole rows where it is stored otherwise than published. Threads: any.
  Status read(const CheckpointTensor& tensor, uint64_t first, std::span<std::byte> target) const;

 private:
  struct File {
    std::string name;
    int descriptor = -1;
    uint64_t bytes = 0;
    int64_t changed_ns = 0;  // when it was, by its own word
  };
  Checkpoint() = default;
  Status add_file(const std::string& path, const std::string& name);
  Result<uint32_t> open_file(const std::string& path, const std::string& name);
  Result<uint32_t> take_file(OpenFile opened, const std::string& path, const std::string& name);
  Status read_pairs(const CheckpointTensor& tensor, uint64_t first, std::span<std::byte> target) const;
  Status read_split(const CheckpointTensor& tensor, uint64_t first, std::span<std::byte> target) const;
  Status check_overlap(uint32_t file) const;

  std::vector<File> files_;
  std::map<std::string, CheckpointTensor> tensors_;
  std::function<bool()> cancelled_;
};

/// "[64, 1408, 2048]", for messages.
std::string shape_text(const std::vector<uint64_t>& shape);

}  // namespace vl2
