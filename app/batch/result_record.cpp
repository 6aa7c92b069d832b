#include "app/batch/result_record.h"

#include <charconv>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

namespace vl2::batch {

namespace {

using Json = nlohmann::ordered_json;

// Each returns whether a key has a value of the right kind; one that is left out is its default.
bool get(const Json& object, const char* key, std::string& value) {
  const auto found = object.find(key);
  if (found == object.end())
    return true;
  if (!found->is_string())
    return false;
  value = found->get<std::string>();
  return true;
}

template <typename Number>
bool get(const Json& object, const char* key, Number& value) {
  const auto found = object.find(key);
  if (found == object.end())
    return true;
  if (!found->is_number_unsigned() || found->get<uint64_t>() > std::numeric_limits<Number>::max())
    return false;
  value = found->get<Number>();
  return true;
}

bool get(const Json& object, const char* key, std::array<uint32_t, 4>& values) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array() || found->size() != values.size())
    return false;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!(*found)[i].is_number_unsigned())
      return false;
    values[i] = (*found)[i].get<uint32_t>();
  }
  return true;
}

bool get_boxes(const Json& object, std::vector<ResultBox>& boxes) {
  const auto found = object.find("boxes");
  if (found == object.end())
    return true;
  if (!found->is_array())
    return false;
  for (const Json& entry : *found) {
    ResultBox box;
    if (!entry.is_object() || !get(entry, "label", box.label) || !get(entry, "box", box.thousandths) ||
        !get(entry, "pixels", box.pixels))
      return false;
    boxes.push_back(std::move(box));
  }
  return true;
}

bool get_notes(const Json& object, std::vector<std::string>& notes) {
  const auto found = object.find("notes");
  if (found == object.end())
    return true;
  if (!found->is_array())
    return false;
  for (const Json& entry : *found) {
    if (!entry.is_string())
      return false;
    notes.push_back(entry.get<std::string>());
  }
  return true;
}

bool get(const Json& object, const char* key, std::optional<uint64_t>& value) {
  return object.find(key) == object.end() || get(object, key, value.emplace());
}

bool get_job(const Json& object, JobKey& job) {
  std::string text;
  if (!get(object, "job", text) || text.size() != 35)
    return false;
  uint32_t* const parts[] = {&job.model, &job.prompt, &job.options, &job.inputs};
  for (size_t i = 0; i < 4; ++i)
    if (std::from_chars(text.data() + 9 * i, text.data() + 9 * i + 8, *parts[i], 16).ec != std::errc())
      return false;
  return job.text() == text;
}

bool read(const Json& object, Record& record) {
  PageResult& result = record.result;
  std::string shard;
  if (!object.is_object() || !object.contains("index") || !object.contains("of") || !object.contains("file") ||
      !get_job(object, record.job) || !get(object, "shard", shard))
    return false;
  if (auto parsed = Shard::parse(shard); parsed.ok())
    record.shard = *parsed;
  else
    return false;
  return get(object, "index", result.index) && get(object, "of", record.job.page_count) && get(object, "file", result.path) &&
         get(object, "page", result.number) && get(object, "error", result.error) &&
         get(object, "file_bytes", result.file_bytes) && get(object, "text", result.text) &&
         get(object, "tagged_text", result.tagged_text) && get_boxes(object, result.boxes) && get(object, "stop", result.stop) &&
         get(object, "prompt_tokens", result.prompt_tokens) && get(object, "answer_tokens", result.answer_tokens) &&
         get_notes(object, result.notes) && result.index < record.job.page_count;
}

}  // namespace

std::string title_of(const PageResult& result) {
  return result.number == 0 ? result.path : result.path + ", page " + std::to_string(result.number);
}

Result<Shard> Shard::parse(const std::string& text) {
  if (text.empty())
    return Shard{};
  Shard shard;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data(), end, shard.number);
  const bool has_count = number.ec == std::errc() && number.ptr != end && *number.ptr == '/';
  if (!has_count || std::from_chars(number.ptr + 1, end, shard.count).ptr != end || number.ptr + 1 == end || shard.number < 1 ||
      shard.number > shard.count)
    return fail(Code::BadArgument, "--shard ", text, ": wanted I/N with I from 1 to N, as 2/8");
  return shard;
}

std::string JobKey::text() const {
  char line[40];
  std::snprintf(line, sizeof(line), "%08x-%08x-%08x-%08x", model, prompt, options, inputs);
  return line;
}

std::string difference(const JobKey& a, const JobKey& b) {
  std::string words;
  const auto add = [&](bool differs, const char* what) {
    if (differs)
      words += (words.empty() ? "" : ", ") + std::string(what);
  };
  add(a.model != b.model, "another model");
  add(a.prompt != b.prompt, "another prompt");
  add(a.options != b.options, "other options");
  add(a.inputs != b.inputs || a.page_count != b.page_count, "other inputs");
  return words;
}

std::string to_line(const Record& record) {
  const PageResult& result = record.result;
  Json line = {{"job", record.job.text()}, {"index", result.index}, {"of", record.job.page_count}};
  if (record.shard.count > 1)
    line["shard"] = std::to_string(record.shard.number) + "/" + std::to_string(record.shard.count);
  line["file"] = result.path;
  if (result.number > 0)
    line["page"] = result.number;
  if (!result.error.empty()) {
    line["error"] = result.error;
    if (result.file_bytes)
      line["file_bytes"] = *result.file_bytes;
  } else {
    line["text"] = result.text;
    if (result.tagged_text != result.text)
      line["tagged_text"] = result.tagged_text;
    Json boxes = Json::array();
    for (const ResultBox& box : result.boxes)
      boxes.push_back({{"label", box.label}, {"box", box.thousandths}, {"pixels", box.pixels}});
    line["boxes"] = boxes;
    line["stop"] = result.stop;
    line["prompt_tokens"] = result.prompt_tokens;
    line["answer_tokens"] = result.answer_tokens;
  }
  if (!result.notes.empty())
    line["notes"] = result.notes;
  return line.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Record> parse_line(const std::string& line) {
  Record record;
  if (!line.starts_with(kLineStart) || !read(Json::parse(line, nullptr, false), record))
    return fail(Code::BadFile, "is no result of vl2 batch");
  if (record.result.tagged_text.empty())
    record.result.tagged_text = record.result.text;
  return record;
}

}  // namespace vl2::batch
