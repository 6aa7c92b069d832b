#include "app/batch/retry.h"

#include <filesystem>
#include <map>

namespace vl2::batch {

Result<std::optional<Retry>> Retry::find(const std::string& path, const JobKey& job, const Shard& shard, const PageList& list) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return std::optional<Retry>();
  JobKey before = job;
  {
    VL2_ASSIGN(LineReader reader, LineReader::open(path));
    VL2_ASSIGN(const std::optional<std::string> line, reader.next());
    if (const auto first = line ? parse_line(*line) : fail(Code::BadFile, ""); first.ok()) {
      before.inputs = first->job.inputs;
      before.page_count = first->job.page_count;
    }
  }
  VL2_ASSIGN(Journal journal, Journal::open(path, before, shard, false));  // cuts off a piece of a line at the end, too
  VL2_ASSIGN(LineReader reader, LineReader::open(path));
  Retry retry(std::move(journal), std::move(reader), path, job, shard);
  VL2_TRY(retry.look(list));
  VL2_ASSIGN(retry.reader_, LineReader::open(path));
  return std::optional<Retry>(std::move(retry));
}

Status Retry::look(const PageList& list) {
  std::map<std::string, FailedInput> failed;
  JobKey before = job_;
  uint64_t position = 0;
  for (;;) {
    VL2_ASSIGN(const std::optional<Record> record, next_record());
    if (!record)
      break;
    before = record->job;
    const uint64_t index = shard_.page_index(position);
    if (record->result.error.empty() || index >= list.size()) {
      ++position;
      continue;
    }
    const Page page = list.at(index);
    const bool has_pages_now = record->result.number == 0 && page.number > 0;
    for (uint64_t left = has_pages_now ? list.input_end(index) - index : 1; left > 0; --left)
      positions_.push_back(position++);
    failed[page.path] = {record->result.file_bytes.value_or(page.file_bytes), record->result.number == 0};
  }
  const ListBefore inputs = list.before(failed);
  if (inputs.signature != before.inputs || inputs.page_count != before.page_count)
    return fail(Code::BadArgument, path_,
                " holds results of other inputs, not only where pages failed: name another file, or --restart", " begins anew");
  if (shard_.count > 1 && before.page_count != job_.page_count)
    return fail(Code::BadArgument, path_,
                ": a PDF has other pages than when it failed, which moves pages between shards: --merge ",
                "them, then --retry-failed without --shard");
  return {};
}

Result<std::optional<Record>> Retry::next_record() {
  VL2_ASSIGN(const std::optional<std::string> line, reader_.next());
  if (!line)
    return std::optional<Record>();
  VL2_ASSIGN(Record record, parse_line(*line));
  return std::optional<Record>(std::move(record));
}

// Answers of before, up to where a page is asked again or to the end.
Status Retry::copy_up_to(uint64_t position) {
  if (!beside_) {
    VL2_ASSIGN(FileBeside made, FileBeside::make(path_));
    beside_ = std::make_unique<FileBeside>(std::move(made));
  }
  while (written_ < position) {
    VL2_ASSIGN(std::optional<Record> record, next_record());
    if (!record)
      return {};
    if (record->result.error.empty())
      VL2_TRY(write(std::move(record->result)));
  }
  return {};
}

Status Retry::write(PageResult result) {
  result.index = shard_.page_index(written_++);  // which is another one behind a PDF that has pages now
  return beside_->write(to_line({job_, shard_, result}) + "\n");
}

Status Retry::put(const PageResult& result) {
  VL2_TRY(copy_up_to(result.index / shard_.count));
  return write(result);
}

Status Retry::commit() {
  VL2_TRY(copy_up_to(UINT64_MAX));
  return beside_->commit();
}

}  // namespace vl2::batch
