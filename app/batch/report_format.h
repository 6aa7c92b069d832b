// Results for readers: text, Markdown, JSON or JSON lines, made page by page; and shards put together.
#pragma once

#include <string>
#include <vector>

#include "app/batch/result_record.h"

namespace vl2::batch {

enum class Format { Text, Markdown, Json, JsonLines };

/// What --format says; empty: what the ending of the output's name says (.md, .json, .jsonl), else text.
///
/// Errors  BadArgument, with the names that there are
Result<Format> format_of(const std::string& name, const std::string& out_path);

/// head, then page() for each result, then tail.
class Report {
 public:
  explicit Report(Format format) : format_(format) {}
  std::string head() const;
  std::string page(const Record& record);
  std::string tail() const;

 private:
  Format format_;
  bool first_ = true;
};

struct ReportCounts {
  uint64_t pages = 0, failed = 0;
};

/// Writes a finished journal in another format, beside its place first.
Result<ReportCounts> write_report(const std::string& journal, Format format, const std::string& path);

/// Puts the journals of all shards of a batch together: for JsonLines the file that the batch in one piece would have written.
///
/// Errors  BadFile: no journal, shards of different batches, a page twice; BadArgument: a page is missing, with its shard, or the
///         output is one of the shards; IoError. The output is as it was then
/// Memory  a result a shard
Result<ReportCounts> merge_shards(const std::vector<std::string>& shards, Format format, const std::string& path);

}  // namespace vl2::batch
