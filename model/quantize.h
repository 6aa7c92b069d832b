// A model into one GGUF file: read, converted and written a piece at a time, by several threads.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "model/model_files.h"
#include "model/quantize_mix.h"
#include "runtime/status.h"

namespace vl2 {

struct QuantizeOptions {
  const QuantizeMix* mix = nullptr;
  bool text_only = false;  ///< the language model alone, as llama.cpp loads it: no v.*, no mm.*, kv_b in two
  uint32_t threads = 0;    ///< 0: one a core, at most 16
  /// Told the bytes read so far and in all; false stops. On the calling thread.
  std::function<bool(uint64_t done_bytes, uint64_t total_bytes)> progress;
};

struct QuantizeReport {
  uint64_t tensor_count = 0;
  uint64_t source_bytes = 0, file_bytes = 0;
  double bits_per_weight = 0;          ///< of the tensors, all together
  std::optional<std::string> widened;  ///< a tensor that was quantised before and takes more bits now, and from what to what
};

/// Writes `path` from `files`. The file appears under its name when it is whole; on an error what was there stays.
///
/// Errors  those of ModelFiles, GgufWriter and quantize_row, naming the tensor; Cancelled
/// Cost    memory: about 8 MiB a thread and the tokenizer's tables, whatever the model's size
Result<QuantizeReport> quantize_model(const ModelFiles& files, const std::string& path, const QuantizeOptions& options);

}  // namespace vl2
