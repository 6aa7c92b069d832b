// Failed pages asked again: a journal is written anew beside its place, with other results where there were errors.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/batch/journal.h"
#include "app/batch/page_list.h"
#include "app/batch/result_record.h"

namespace vl2::batch {

/// Memory   8 bytes a page to ask again
/// Threads  one at a time
class Retry {
 public:
  /// Looks which pages of a journal failed, and keeps others from writing it for as long as this object is there.
  ///
  /// job     of the command now. Inputs of which a page failed may have changed since, and a PDF that could not be read at all may
  ///         have pages now; all others must be as they were
  /// Errors  those of Journal::open(); BadArgument: inputs changed of which no page failed, or pages of other shards moved. The
  ///         journal is as it was
  /// Returns none where there is no journal
  static Result<std::optional<Retry>> find(const std::string& path, const JobKey& job, const Shard& shard, const PageList& list);

  uint64_t page_count() const { return positions_.size(); }
  /// Among all pages of the list, those of the k-th to ask again.
  uint64_t page_index(uint64_t k) const { return shard_.page_index(positions_[k]); }

  /// The results of those pages, in that order, are put where they belong in the file beside.
  Status put(const PageResult& result);
  /// After the last of them: the new journal takes the old one's place. Without it the old one stays as it is.
  Status commit();

 private:
  explicit Retry(Journal journal, LineReader reader, std::string path, const JobKey& job, const Shard& shard)
      : old_(std::move(journal)), reader_(std::move(reader)), path_(std::move(path)), job_(job), shard_(shard) {}
  Status look(const PageList& list);
  Result<std::optional<Record>> next_record();
  Status copy_up_to(uint64_t position);
  Status write(PageResult result);

  Journal old_;
  LineReader reader_;
  std::string path_;
  JobKey job_;  // of the command now
  Shard shard_;
  std::vector<uint64_t> positions_;  // of pages to ask again, among the shard's as they are now
  std::unique_ptr<FileBeside> beside_;
  uint64_t written_ = 0;  // results in it
};

}  // namespace vl2::batch
