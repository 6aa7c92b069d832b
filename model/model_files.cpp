#include "model/model_files.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "model/gguf_foreign.h"
#include "model/json_file.h"

namespace vl2 {

namespace {
constexpr uint64_t kMaxTokenizerBytes = uint64_t{64} << 20;  // the published files have 5 to 8 MB
}

Result<ModelFiles> ModelFiles::open(const std::string& path) {
  ModelFiles files;
  files.path_ = path;
  if (looks_like_gguf(path)) {
    VL2_ASSIGN(files.gguf_, read_gguf(path));
  }
  return files;
}

Result<ModelFiles> ModelFiles::open(int descriptor, const std::string& name) {
  ModelFiles files;
  files.path_ = name;
  files.file_ = OpenFile::duplicate(descriptor);
  if (!files.file_)
    return fail(errno == EBADF ? Code::BadArgument : Code::IoError, name, ": ", std::strerror(errno));
  VL2_ASSIGN(files.gguf_, read_gguf(files.file_.descriptor(), name));
  return files;
}

std::string ModelFiles::source_name(const char* key, const char* file) const {
  return !is_gguf() ? path_ + "/" + file : gguf_->find(key) != nullptr ? path_ + ": " + key : path_ + ": its keys as " + file;
}

bool ModelFiles::is_foreign() const {
  const auto sees = [](const GgufTensor& tensor) { return tensor.name.starts_with("v."); };
  return is_gguf() && gguf_->find(kGgufConfigKey) == nullptr && std::none_of(gguf_->tensors.begin(), gguf_->tensors.end(), sees);
}

Result<std::string> ModelFiles::config_text() const {
  if (is_foreign())
    return config_text_of_keys(*gguf_, path_);
  return is_gguf() ? gguf_->text(kGgufConfigKey, path_) : read_text_file(path_ + "/config.json", kMaxJsonBytes);
}

Result<std::string> ModelFiles::tokenizer_text() const {
  if (is_foreign() && gguf_->find(kGgufTokenizerKey) == nullptr)
    return tokenizer_text_of_keys(*gguf_, path_);
  return is_gguf() ? gguf_->text(kGgufTokenizerKey, path_) : read_text_file(path_ + "/tokenizer.json", kMaxTokenizerBytes);
}

Result<std::optional<std::string>> ModelFiles::processor_text() const {
  std::error_code error;
  const std::string file = path_ + "/processor_config.json";
  if (is_gguf() ? gguf_->find(kGgufProcessorKey) == nullptr : !std::filesystem::exists(file, error))
    return std::optional<std::string>();
  VL2_ASSIGN(std::string text, is_gguf() ? gguf_->text(kGgufProcessorKey, path_) : read_text_file(file, kMaxJsonBytes));
  return std::optional<std::string>(std::move(text));
}

Result<Config> ModelFiles::config() const {
  VL2_ASSIGN(const std::string text, config_text());
  VL2_ASSIGN(Config config, parse_config(text, source_name(kGgufConfigKey, "config.json")));
  if (is_gguf())
    config.has_vision = std::any_of(gguf_->tensors.begin(), gguf_->tensors.end(),
                                    [](const GgufTensor& tensor) { return tensor.name.starts_with("v."); });
  return config;
}

Result<Tokenizer> ModelFiles::tokenizer() const {
  VL2_ASSIGN(const std::string text, tokenizer_text());
  return Tokenizer::parse(text, source_name(kGgufTokenizerKey, "tokenizer.json"));
}

Result<std::unique_ptr<Checkpoint>> ModelFiles::checkpoint(const Config& config) const {
  if (!is_gguf())
    return Checkpoint::open(path_);
  if (!file_)
    return Checkpoint::open_gguf(path_, *gguf_, config);
  OpenFile file = OpenFile::duplicate(file_.descriptor());
  if (!file)
    return fail(Code::IoError, path_, ": ", std::strerror(errno));
  return Checkpoint::open_gguf(std::move(file), path_, *gguf_, config);
}

Result<Tokenizer> load_tokenizer(const std::string& path) {
  VL2_ASSIGN(const ModelFiles files, ModelFiles::open(path));
  return files.tokenizer();
}

}  // namespace vl2
