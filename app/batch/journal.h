// Results on disk: appended one by one so that a process that dies loses none, read back a line at a time.
//
// A record is one line, written by one write() and synced before the next one. Results come in the order of the pages, so a journal
// is always the beginning of the whole, perhaps with a piece of one more line, which is cut off before going on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "app/batch/result_record.h"

namespace vl2::batch {

/// A file that closes itself.
class File {
 public:
  File() = default;
  explicit File(int descriptor) : descriptor_(descriptor) {}
  File(File&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  File& operator=(File&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~File();
  int get() const { return descriptor_; }

 private:
  int descriptor_ = -1;
};

/// Reads lines of any file with bounded memory.
class LineReader {
 public:
  static Result<LineReader> open(const std::string& path);

  /// The next line without its end; none at the end of the file.
  ///
  /// Errors  IoError; BadFile for a line of more than 256 MiB
  Result<std::optional<std::string>> next();
  /// Whether the line that came last had an end.
  bool had_end() const { return had_end_; }
  /// Bytes up to the end of the line that came last.
  uint64_t offset() const { return offset_; }

 private:
  std::string path_;
  File file_;
  std::string buffer_;
  size_t at_ = 0;  // in buffer_: what was given out
  uint64_t offset_ = 0;
  bool had_end_ = true;
};

class Journal {
 public:
  /// Opens or makes a journal, and keeps others out for as long as it is open.
  ///
  /// restart  throw away what is there
  /// Errors   IoError: cannot be written, or another process is writing it; BadArgument: it is of another command or shard, by what
  ///          differs; BadFile: no journal, or one with a line that is none. It is as it was then
  static Result<Journal> open(const std::string& path, const JobKey& job, const Shard& shard, bool restart);

  uint64_t result_count() const { return results_; }  ///< that it holds, in the order of the shard's pages
  uint64_t failed_count() const { return failed_; }   ///< of those, the ones with an error

  /// Appends one result and waits until it is on the disk.
  ///
  /// Errors  IoError, and the journal ends with the result before
  Status append(const PageResult& result);

  /// Takes the file away if this object made it and nothing was written.
  void discard_if_new();

 private:
  Status scan(bool restart);

  std::string path_;
  File file_;
  JobKey job_;
  Shard shard_;
  bool is_new_ = false;
  uint64_t results_ = 0, failed_ = 0, end_ = 0;
};

/// A file that is written beside its place and put there when it is whole. Without commit() nothing is left of it.
class FileBeside {
 public:
  static Result<FileBeside> make(const std::string& path);
  FileBeside(FileBeside&&) = default;
  ~FileBeside();
  Status write(const std::string& text);
  Status commit();

 private:
  FileBeside(std::string path, File file) : path_(std::move(path)), file_(std::move(file)) {}
  std::string path_;
  File file_;
  std::string waiting_;  // not written yet
};

/// Whether a batch can write there: as check_output_file(), and nothing but a regular file is there already.
Status check_batch_output(const std::string& path);

}  // namespace vl2::batch
