// `vl2 inspect`: keys, tensors and sums, a line each; shapes are row-major, a row's length last.
#include <algorithm>
#include <cstdio>
#include <map>
#include <sstream>

#include "app/commands/commands.h"
#include "app/progress.h"
#include "model/json_document.h"
#include "model/model_files.h"

namespace vl2 {

namespace {

constexpr size_t kShownBytes = 60;    // of a text
constexpr size_t kShownElements = 6;  // of an array

struct Row {
  std::string name, type;
  std::vector<uint64_t> shape;
  uint64_t bytes = 0;
};

std::string shown(const std::string& text) {
  const bool cut = text.size() > kShownBytes;
  return json_quote(text.substr(0, kShownBytes)) + (cut ? "... (" + std::to_string(text.size()) + " bytes)" : "");
}

template <typename T>
std::string shown(T number) {
  std::ostringstream out;
  out << number;
  return out.str();
}

template <typename T>
std::string shown(const std::vector<T>& list) {
  std::string text = "[";
  for (size_t i = 0; i < std::min(list.size(), kShownElements); ++i)
    text += (i == 0 ? "" : ", ") + shown(list[i]);
  return text + (list.size() > kShownElements ? ", ... (" + std::to_string(list.size()) + ")]" : "]");
}

std::string shown(const GgufValue& value) {
  if (value.type == GgufType::Bool)
    return std::get<uint64_t>(value.data) != 0 ? "true" : "false";
  return std::visit([](const auto& held) { return shown(held); }, value.data);
}

// A name from a file, on one line whatever it holds.
std::string shown_name(const std::string& name) {
  const std::string quoted = json_quote(name);
  return quoted.substr(1, quoted.size() - 2);
}

void print_keys(const Gguf& gguf) {
  for (const auto& [key, value] : gguf.keys) {
    const std::string type =
        value.type == GgufType::Array ? std::string(gguf_type_name(value.element)) + "[]" : gguf_type_name(value.type);
    std::printf("%-44s %-8s %s\n", shown_name(key).c_str(), type.c_str(), shown(value).c_str());
  }
}

void print_tensors(const std::vector<Row>& rows) {
  size_t widest = 0;
  for (const Row& row : rows)
    widest = std::max(widest, row.name.size());
  struct Sum {
    uint64_t tensors = 0, elements = 0, bytes = 0;
  };
  std::map<std::string, Sum> sums;
  Sum all;
  for (const Row& row : rows) {
    uint64_t elements = 1;
    for (const uint64_t dim : row.shape)
      elements *= dim;
    std::printf("%-*s  %-7s %-22s %14llu\n", static_cast<int>(std::min<size_t>(widest, 80)), row.name.c_str(), row.type.c_str(),
                shown(row.shape).c_str(), static_cast<unsigned long long>(row.bytes));
    for (Sum* sum : {&sums[row.type], &all}) {
      ++sum->tensors;
      sum->elements += elements;
      sum->bytes += row.bytes;
    }
  }
  std::printf("\n");
  sums["all"] = all;
  for (const auto& [type, sum] : sums)
    std::printf("%-7s %6llu tensors %14llu elements %14llu bytes  %s\n", type.c_str(),
                static_cast<unsigned long long>(sum.tensors), static_cast<unsigned long long>(sum.elements),
                static_cast<unsigned long long>(sum.bytes), human_bytes(sum.bytes).c_str());
}

}  // namespace

Status inspect_command(const InspectOptions& options) {
  VL2_ASSIGN(const ModelFiles files, ModelFiles::open(options.path));
  std::vector<Row> rows;
  if (files.is_gguf()) {
    const Gguf& gguf = files.gguf();
    for (const GgufTensor& tensor : gguf.tensors)
      rows.push_back({shown_name(tensor.name), find_ggml_type(tensor.type)->name, tensor.shape, tensor.byte_count});
    std::printf("%s: GGUF version %u, %zu keys, %zu tensors, alignment %llu\n\n", options.path.c_str(), gguf.version,
                gguf.keys.size(), gguf.tensors.size(), static_cast<unsigned long long>(gguf.alignment));
    print_keys(gguf);
  } else {
    VL2_ASSIGN(const auto checkpoint, Checkpoint::open(options.path));
    for (const auto& [name, tensor] : checkpoint->tensors())
      rows.push_back({shown_name(name), tensor.dtype_text, tensor.shape, tensor.byte_count});
    std::printf("%s: safetensors, %zu tensors\n", options.path.c_str(), rows.size());
  }
  std::printf("\n");
  print_tensors(rows);
  return {};
}

}  // namespace vl2
