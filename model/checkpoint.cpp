#include "model/checkpoint.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <sys/stat.h>
#include <unistd.h>

#include "model/json_file.h"
#include "model/tensor_table.h"

namespace vl2 {

namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = uint64_t{100} << 20;  // the format's own limit
constexpr size_t kMaxRank = 8;

// Bytes of an element, or 0 for a dtype that this program does not know.
uint64_t bytes_of(const std::string& dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64")
    return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32")
    return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16")
    return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL" || dtype == "F8_E4M3" || dtype == "F8_E5M2")
    return 1;
  return 0;
}

bool read_uint(const json& value, uint64_t& number) {
  if (!value.is_number_unsigned())
    return false;
  number = value.get<uint64_t>();
  return true;
}

// Fills `tensor` from its header entry; `data_bytes` is what follows the header.
Status parse_tensor(const std::string& where, const json& entry, uint64_t data_start, uint64_t data_bytes,
                    CheckpointTensor& tensor) {
  if (!entry.is_object() || !entry.contains("dtype") || !entry["dtype"].is_string() || !entry.contains("shape") ||
      !entry["shape"].is_array() || !entry.contains("data_offsets") || !entry["data_offsets"].is_array() ||
      entry["data_offsets"].size() != 2)
    return fail(Code::BadFile, where, ": wanted an object with dtype, shape and two data_offsets");
  tensor.dtype_text = entry["dtype"].get<std::string>();
  const uint64_t element = bytes_of(tensor.dtype_text);
  if (element == 0)
    return fail(Code::BadFile, where, ": unknown dtype \"", tensor.dtype_text.substr(0, 32), "\"");
  if (entry["shape"].size() > kMaxRank)
    return fail(Code::BadFile, where, ": ", entry["shape"].size(), " dimensions, wanted at most ", kMaxRank);
  uint64_t bytes = element;
  for (const json& dim : entry["shape"]) {
    uint64_t size = 0;
    if (!read_uint(dim, size))
      return fail(Code::BadFile, where, ": a dimension is no count");
    if (size != 0 && bytes > data_bytes / size)
      return fail(Code::BadFile, where, ": its shape needs more than the ", data_bytes, " bytes of data in the file");
    bytes *= size;
    tensor.shape.push_back(size);
  }
  uint64_t begin = 0, end = 0;
  if (!read_uint(entry["data_offsets"][0], begin) || !read_uint(entry["data_offsets"][1], end) || begin > end || end > data_bytes)
    return fail(Code::BadFile, where, ": data_offsets outside the ", data_bytes, " bytes of data in the file (truncated?)");
  if (end - begin != bytes)
    return fail(Code::BadFile, where, ": data_offsets hold ", end - begin, " bytes, shape and dtype need ", bytes);
  tensor.first_byte = data_start + begin;
  tensor.byte_count = bytes;
  return {};
}

int64_t changed_ns(const struct stat& info) {
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

std::unique_ptr<Checkpoint> Checkpoint::imagined(const Config& config) {
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint);
  Weights unused;
  for (const TensorSlot& slot : tensor_table(config, unused))
    for (const TensorPart& part : slot.parts) {
      CheckpointTensor& tensor = checkpoint->tensors_[part.name];
      tensor.dtype_text = "BF16";
      tensor.shape = part.shape;
      tensor.byte_count = 2;
      for (const uint64_t dim : part.shape)
        tensor.byte_count *= dim;
    }
  return checkpoint;
}

Checkpoint::~Checkpoint() {
  for (const File& file : files_)
    if (file.descriptor >= 0)
      ::close(file.descriptor);
}

Status Checkpoint::read(const CheckpointTensor& tensor, uint64_t first, std::span<std::byte> target) const {
  if (first > tensor.byte_count || target.size() > tensor.byte_count - first)
    return fail(Code::BadArgument, "checkpoint: read of ", target.size(), " bytes at ", first, " of a tensor of ",
                tensor.byte_count);
  if (files_.empty())
    return fail(Code::BadArgument, "checkpoint: these tensors are imagined");
  if (cancelled_ && cancelled_())
    return fail(Code::Cancelled, "checkpoint: cancelled while its tensors were read");
  if (tensor.split != nullptr)
    return read_split(tensor, first, target);
  if (tensor.pair_heads != 0)
    return read_pairs(tensor, first, target);
  const File& file = files_[tensor.file];
  return read_file_at(file.descriptor, file.name, tensor.first_byte + first, target);
}

Result<uint32_t> Checkpoint::open_file(const std::string& path, const std::string& name) {
  OpenFile opened(path);
  if (!opened)
    return fail(errno == ENOENT ? Code::NotFound : Code::IoError, path, ": ", std::strerror(errno));
  return take_file(std::move(opened), path, name);
}

Result<uint32_t> Checkpoint::take_file(OpenFile opened, const std::string& path, const std::string& name) {
  const File file{name, opened.release()};
  const auto index = static_cast<uint32_t>(files_.size());
  files_.push_back(file);  // from here on the destructor closes it
  struct stat info {};
  if (::fstat(file.descriptor, &info) != 0 || !S_ISREG(info.st_mode))
    return fail(Code::BadFile, path, ": not a regular file");
  files_[index].bytes = static_cast<uint64_t>(info.st_size);
  files_[index].changed_ns = changed_ns(info);
  return index;
}

Status Checkpoint::check_unchanged() const {
  for (const File& file : files_) {
    struct stat info {};
    if (::fstat(file.descriptor, &info) != 0)
      return fail(Code::IoError, file.name, ": ", std::strerror(errno));
    if (static_cast<uint64_t>(info.st_size) != file.bytes || changed_ns(info) != file.changed_ns)
      return fail(Code::IoError, file.name, ": was changed while the model is read from it; load it again");
  }
  return {};
}

Status Checkpoint::add_file(const std::string& path, const std::string& name) {
  VL2_ASSIGN(const uint32_t index, open_file(path, name));
  const File file = files_[index];
  if (files_[index].bytes < 8)
    return fail(Code::BadFile, path, ": ", files_[index].bytes, " bytes are too few for a safetensors file");

  uint64_t header_bytes = 0;
  VL2_TRY(read_file_at(file.descriptor, path, 0, std::as_writable_bytes(std::span(&header_bytes, 1))));
  if (header_bytes > files_[index].bytes - 8 || header_bytes > kMaxHeaderBytes)
    return fail(Code::BadFile, path, ": its header claims ", header_bytes, " bytes, the file has ", files_[index].bytes);
  std::string text(header_bytes, '\0');
  VL2_TRY(read_file_at(file.descriptor, path, 8, std::as_writable_bytes(std::span(text))));
  VL2_ASSIGN(const json header, parse_json(text, path + ": its header"));
  if (!header.is_object())
    return fail(Code::BadFile, path, ": its header is not a JSON object");

  const uint64_t data_start = 8 + header_bytes, data_bytes = files_[index].bytes - data_start;
  for (const auto& [tensor_name, entry] : header.items()) {
    if (tensor_name == "__metadata__")
      continue;
    CheckpointTensor tensor;
    tensor.file = index;
    VL2_TRY(parse_tensor(path + ": tensor " + tensor_name, entry, data_start, data_bytes, tensor));
    const auto [place, inserted] = tensors_.emplace(tensor_name, std::move(tensor));
    if (!inserted)
      return fail(Code::BadFile, path, ": tensor ", tensor_name, " is in ", files_[place->second.file].name, " too");
  }
  return check_overlap(index);
}

Status Checkpoint::check_overlap(uint32_t file) const {
  std::vector<std::pair<const CheckpointTensor*, const std::string*>> sorted;
  for (const auto& [name, tensor] : tensors_)
    if (tensor.file == file && tensor.byte_count > 0)
      sorted.emplace_back(&tensor, &name);
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first->first_byte < b.first->first_byte; });
  for (size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i - 1].first->first_byte + sorted[i - 1].first->byte_count > sorted[i].first->first_byte)
      return fail(Code::BadFile, files_[file].name, ": tensors ", *sorted[i - 1].second, " and ", *sorted[i].second, " overlap");
  return {};
}

namespace {

// The files that an index names, and which tensor it says each holds.
Result<std::map<std::string, std::string>> read_index(const std::string& path) {
  VL2_ASSIGN(const json index, read_json_file(path));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object())
    return fail(Code::BadFile, path, ": wanted a JSON object with a weight_map");
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string())
      return fail(Code::BadFile, path, ": weight_map.", tensor, ": wanted a file name");
    const auto name = file.get<std::string>();
    if (name.empty() || name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      return fail(Code::BadFile, path, ": weight_map.", tensor, ": wanted the name of a file in the same folder");
    files[tensor] = name;
  }
  return files;
}

}  // namespace

Result<std::unique_ptr<Checkpoint>> Checkpoint::open(const std::string& folder) {
  namespace fs = std::filesystem;
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint);
  std::error_code error;
  if (!fs::is_directory(folder, error))
    return fail(Code::NotFound, folder, ": not a folder; wanted one with config.json, tokenizer.json and *.safetensors");
  const std::string index_path = folder + "/model.safetensors.index.json";
  std::map<std::string, std::string> index;
  std::set<std::string> names;
  if (fs::exists(index_path, error)) {
    VL2_ASSIGN(index, read_index(index_path));
    for (const auto& [tensor, file] : index)
      names.insert(file);
  } else {
    for (const auto& entry : fs::directory_iterator(folder, error))
      if (entry.path().extension() == ".safetensors")
        names.insert(entry.path().filename().string());
  }
  if (names.empty())
    return fail(Code::NotFound, folder, ": holds no *.safetensors");
  for (const std::string& name : names)
    VL2_TRY(checkpoint->add_file(folder + "/" + name, name));
  for (const auto& [tensor, file] : index) {
    const auto found = checkpoint->tensors_.find(tensor);
    if (found == checkpoint->tensors_.end() || checkpoint->files_[found->second.file].name != file)
      return fail(Code::BadFile, folder, ": the index says that ", file, " holds ", tensor, ", and it does not");
  }
  return checkpoint;
}

}  // namespace vl2
