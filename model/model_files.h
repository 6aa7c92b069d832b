// What a model is loaded from: a published folder, or one GGUF file that holds the same.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "model/checkpoint.h"
#include "model/config.h"
#include "model/gguf.h"
#include "model/tokenizer.h"
#include "runtime/status.h"

namespace vl2 {

// Keys under which our GGUF files keep the texts of the folder's files; of files that have them not, made by llama.cpp's
// converter, the texts are made of its keys (model/gguf_foreign.h).
inline constexpr const char* kGgufConfigKey = "vl2.config";
inline constexpr const char* kGgufProcessorKey = "vl2.processor_config";
inline constexpr const char* kGgufTokenizerKey = "vl2.tokenizer";

/// The small files of a model are read when they are asked for.
class ModelFiles {
 public:
  /// path  a folder with config.json, tokenizer.json and *.safetensors, or a GGUF file
  /// Errors  those of read_gguf
  static Result<ModelFiles> open(const std::string& path);
  /// The same for a GGUF file that is open, which messages call `name`. The descriptor is duplicated.
  static Result<ModelFiles> open(int descriptor, const std::string& name);

  const std::string& path() const { return path_; }
  bool is_gguf() const { return gguf_.has_value(); }
  const Gguf& gguf() const { return *gguf_; }

  /// The texts of config.json, tokenizer.json and processor_config.json.
  ///
  /// Errors  NotFound, IoError; BadFile, Unsupported: those of gguf_foreign.h
  Result<std::string> config_text() const;
  Result<std::string> tokenizer_text() const;
  /// None where the model has no such file.
  Result<std::optional<std::string>> processor_text() const;

  /// Errors  those of parse_config, Tokenizer::parse and Checkpoint
  Result<Config> config() const;
  Result<Tokenizer> tokenizer() const;
  Result<std::unique_ptr<Checkpoint>> checkpoint(const Config& config) const;

 private:
  /// Whether it is a text model of llama.cpp's converter. A file of ours has more than its keys can say.
  bool is_foreign() const;
  /// How messages name a text.
  std::string source_name(const char* key, const char* file) const;

  std::string path_;
  std::optional<Gguf> gguf_;
  OpenFile file_;  // where it was given open
};

/// The tokenizer of the folder or the GGUF file `path`.
Result<Tokenizer> load_tokenizer(const std::string& path);

}  // namespace vl2
