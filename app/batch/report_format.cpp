#include "app/batch/report_format.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <queue>

#include "app/batch/journal.h"

namespace vl2::batch {

namespace {

// A heading is one line, whatever the file's name.
std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  return text;
}

std::string without_end(const std::string& text) {
  const size_t last = text.find_last_not_of(" \t\r\n");
  return last == std::string::npos ? std::string() : text.substr(0, last + 1);
}

// The journal's line without what only a journal needs.
std::string plain_json(const Record& record) {
  auto object = nlohmann::ordered_json::parse(to_line(record), nullptr, false);
  for (const char* key : {"job", "of", "shard", "file_bytes"})
    object.erase(key);
  return object.dump();
}

// The next whole record of a journal; a piece of one at the end is none.
Result<std::optional<Record>> next_record(LineReader& reader, const std::string& path) {
  VL2_ASSIGN(const std::optional<std::string> line, reader.next());
  if (!line || !reader.had_end())
    return std::optional<Record>();
  auto record = parse_line(*line);
  if (!record.ok())
    return fail(Code::BadFile, path, ": a line ", record.message());
  return std::optional<Record>(record.take());
}

struct ShardFile {
  std::string path;
  LineReader reader;
  Record record;  // the next one
};

Result<std::vector<ShardFile>> open_shards(const std::vector<std::string>& paths, const std::string& out) {
  std::vector<ShardFile> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (std::filesystem::equivalent(path, out, error))
      return fail(Code::BadArgument, path, ": is the output of --merge and one of the shards");
    VL2_ASSIGN(LineReader reader, LineReader::open(path));
    VL2_ASSIGN(std::optional<Record> record, next_record(reader, path));
    if (!record)
      continue;  // a shard without pages: there are more shards than pages
    if (!files.empty())
      if (const std::string other = difference(record->job, files[0].record.job); !other.empty())
        return fail(Code::BadFile, path, " and ", files[0].path, " are of different batches (", other, ")");
    files.push_back({path, std::move(reader), std::move(*record)});
  }
  if (files.empty())
    return fail(Code::BadArgument, "batch: no results in the shards of --merge");
  return files;
}

}  // namespace

Result<Format> format_of(const std::string& name, const std::string& out_path) {
  const std::string ending = std::filesystem::path(out_path).extension().string();
  const std::string word = !name.empty() ? name : ending.empty() ? "text" : ending.substr(1);
  if (word == "json")
    return Format::Json;
  if (word == "jsonl")
    return Format::JsonLines;
  if (word == "md")
    return Format::Markdown;
  if (word == "text" || name.empty())
    return Format::Text;
  return fail(Code::BadArgument, "--format ", name, ": wanted text, md, json or jsonl");
}

std::string Report::head() const {
  return format_ == Format::Json ? "[" : "";
}

std::string Report::page(const Record& record) {
  const PageResult& result = record.result;
  const std::string title = one_line(title_of(result)), text = without_end(result.text);
  const bool first = std::exchange(first_, false);
  switch (format_) {
    case Format::Text:
      return (first ? "== " : "\n== ") + title + " ==\n" + (result.error.empty() ? text : "error: " + one_line(result.error)) +
             "\n";
    case Format::Markdown:
      return (first ? "## " : "\n## ") + title + "\n\n" + (result.error.empty() ? text : "> error: " + one_line(result.error)) +
             "\n";
    case Format::Json: return (first ? "\n" : ",\n") + plain_json(record);
    case Format::JsonLines: return to_line(record) + "\n";
  }
  return "";
}

std::string Report::tail() const {
  return format_ == Format::Json ? "\n]\n" : "";
}

Result<ReportCounts> write_report(const std::string& journal, Format format, const std::string& path) {
  VL2_ASSIGN(LineReader reader, LineReader::open(journal));
  VL2_ASSIGN(FileBeside out, FileBeside::make(path));
  Report report(format);
  ReportCounts counts;
  VL2_TRY(out.write(report.head()));
  for (;;) {
    VL2_ASSIGN(const std::optional<Record> record, next_record(reader, journal));
    if (!record)
      break;
    VL2_TRY(out.write(report.page(*record)));
    ++counts.pages;
    counts.failed += record->result.error.empty() ? 0 : 1;
  }
  VL2_TRY(out.write(report.tail()));
  VL2_TRY(out.commit());
  return counts;
}

Result<ReportCounts> merge_shards(const std::vector<std::string>& shards, Format format, const std::string& path) {
  VL2_TRY(check_batch_output(path));
  VL2_ASSIGN(std::vector<ShardFile> files, open_shards(shards, path));
  const JobKey job = files[0].record.job;
  const uint64_t shard_count = files[0].record.shard.count;
  const auto later = [&](size_t a, size_t b) { return files[a].record.result.index > files[b].record.result.index; };
  std::priority_queue<size_t, std::vector<size_t>, decltype(later)> queue(later);  // the file with the earliest page on top
  for (size_t i = 0; i < files.size(); ++i)
    queue.push(i);

  VL2_ASSIGN(FileBeside out, FileBeside::make(path));
  Report report(format);
  ReportCounts counts;
  VL2_TRY(out.write(report.head()));
  for (; counts.pages < job.page_count; ++counts.pages) {
    if (queue.empty() || files[queue.top()].record.result.index > counts.pages)
      return fail(Code::BadArgument, "batch: --merge: page ", counts.pages + 1, " of ", job.page_count, " is missing: shard ",
                  counts.pages % shard_count + 1, "/", shard_count, " is not among the files, or is not finished");
    ShardFile& file = files[queue.top()];
    const uint64_t index = file.record.result.index;
    if (index < counts.pages)
      return fail(Code::BadFile, file.path, ": page ", index + 1, " is there twice, or in another shard's file, too");
    file.record.shard = {};
    VL2_TRY(out.write(report.page(file.record)));
    counts.failed += file.record.result.error.empty() ? 0 : 1;
    const size_t which = queue.top();
    queue.pop();
    VL2_ASSIGN(std::optional<Record> record, next_record(file.reader, file.path));
    if (!record)
      continue;
    if (const std::string other = difference(record->job, job); !other.empty() || record->result.index <= index)
      return fail(Code::BadFile, file.path, ": holds results of different batches, or in disorder");
    file.record = std::move(*record);
    queue.push(which);
  }
  if (!queue.empty())
    return fail(Code::BadFile, files[queue.top()].path, ": page ", files[queue.top()].record.result.index + 1,
                " is there twice, or in another shard's file, too");
  VL2_TRY(out.write(report.tail()));
  VL2_TRY(out.commit());
  return counts;
}

}  // namespace vl2::batch
