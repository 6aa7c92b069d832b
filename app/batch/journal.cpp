#include "app/batch/journal.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include "app/output_path.h"

namespace vl2::batch {

namespace {

constexpr size_t kMostLineBytes = size_t{256} << 20;
constexpr size_t kPieceBytes = size_t{1} << 16;
constexpr std::chrono::milliseconds kLockAgain{50};
constexpr int kLockAttempts = 60;  // 3 s

Status io_error(const std::string& path, const char* what) {
  return fail(Code::IoError, path, ": cannot be ", what, ": ", std::strerror(errno));
}

bool write_all(int file, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t put = ::write(file, data, bytes);
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return false;
    data += put;
    bytes -= static_cast<size_t>(put);
  }
  return true;
}

// Some file systems cannot sync: then it is as safe there as it gets.
bool sync_data(int file) {
  return ::fdatasync(file) == 0 || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
}

void sync_folder_of(const std::string& path) {
  const auto parent = std::filesystem::path(path).parent_path();
  const File folder(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0)
    ::fsync(folder.get());
}

// Waits a little: a process that was killed keeps its files until the system has taken it apart, which takes a second for one that
// holds much memory. Where there are no locks (some network file systems) it must do without.
bool lock(int file) {
  for (int attempt = 0; ::flock(file, LOCK_EX | LOCK_NB) != 0 && (errno == EWOULDBLOCK || errno == EINTR); ++attempt) {
    if (attempt == kLockAttempts)
      return false;
    std::this_thread::sleep_for(kLockAgain);
  }
  return true;
}

// What a process that died, or a machine that did, may leave of a line: its beginning, or zeros of a size that was kept when the
// bytes were not.
bool may_be_torn(const std::string& line, bool had_end) {
  const std::string start = kLineStart;
  const size_t same = had_end ? start.size() : std::min(start.size(), line.size());
  if (line.empty())
    return false;
  return line.compare(0, same, start, 0, same) == 0 || line.find_first_not_of('\0') == std::string::npos;
}

}  // namespace

File::~File() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

// ---- LineReader ----------------------------------------------------------------------------------------------------------------

Result<LineReader> LineReader::open(const std::string& path) {
  LineReader reader;
  reader.path_ = path;
  reader.file_ = File(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (reader.file_.get() < 0)
    return fail(errno == ENOENT ? Code::NotFound : Code::IoError, path, ": cannot be read: ", std::strerror(errno));
  return reader;
}

Result<std::optional<std::string>> LineReader::next() {
  size_t looked = at_;
  for (;;) {
    if (const size_t end = buffer_.find('\n', looked); end != std::string::npos) {
      std::string line = buffer_.substr(at_, end - at_);
      at_ = end + 1;
      offset_ += line.size() + 1;
      return std::optional(std::move(line));
    }
    buffer_.erase(0, std::exchange(at_, 0));
    looked = buffer_.size();
    if (looked > kMostLineBytes)
      return fail(Code::BadFile, path_, ": a line of more than ", kMostLineBytes >> 20, " MiB");
    buffer_.resize(looked + kPieceBytes);
    const ssize_t got = ::read(file_.get(), buffer_.data() + looked, kPieceBytes);
    buffer_.resize(looked + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno != EINTR)
      return io_error(path_, "read");
    if (got == 0)
      break;
  }
  if (buffer_.empty())
    return std::optional<std::string>();
  had_end_ = false;
  offset_ += buffer_.size();
  return std::optional(std::exchange(buffer_, {}));
}

// ---- Journal -------------------------------------------------------------------------------------------------------------------

Result<Journal> Journal::open(const std::string& path, const JobKey& job, const Shard& shard, bool restart) {
  VL2_TRY(check_batch_output(path));
  Journal journal;
  journal.path_ = path;
  journal.job_ = job;
  journal.shard_ = shard;
  journal.is_new_ = ::access(path.c_str(), F_OK) != 0;
  journal.file_ = File(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666));
  const int file = journal.file_.get();
  if (file < 0)
    return io_error(path, "written");
  if (!lock(file))
    return fail(Code::IoError, path, ": another process is writing it");
  struct stat ours {
  }, there{};
  if (::fstat(file, &ours) != 0 || ::stat(path.c_str(), &there) != 0 || ours.st_ino != there.st_ino)  // see discard_if_new()
    return fail(Code::IoError, path, ": another process has just taken it away");
  VL2_TRY(journal.scan(restart));
  if (static_cast<uint64_t>(ours.st_size) != journal.end_ && ::ftruncate(file, static_cast<off_t>(journal.end_)) != 0)
    return io_error(path, "written");
  sync_folder_of(path);
  return journal;
}

Status Journal::scan(bool restart) {
  if (restart)
    return {};
  VL2_ASSIGN(LineReader reader, LineReader::open(path_));
  VL2_ASSIGN(std::optional<std::string> line, reader.next());
  while (line) {
    const bool whole = reader.had_end();
    const uint64_t end = reader.offset();
    VL2_ASSIGN(std::optional<std::string> following, reader.next());
    const auto record = parse_line(*line);
    if (!whole || !record.ok()) {
      if (!following && may_be_torn(*line, whole))
        return {};
      return fail(Code::BadFile, path_, ": line ", results_ + 1,
                  " is no result of vl2 batch: name another file, or --restart begins anew");
    }
    if (const std::string other = difference(record->job, job_); !other.empty())
      return fail(Code::BadArgument, path_, " holds results of another command (", other,
                  "): name another file, or --restart begins anew");
    if (record->shard != shard_)
      return fail(Code::BadArgument, path_, " holds results of --shard ", record->shard.number, "/", record->shard.count,
                  ": name another file, or --restart begins anew");
    if (record->result.index != shard_.page_index(results_))
      return fail(Code::BadFile, path_, ": line ", results_ + 1, " is of page ", record->result.index, ", wanted ",
                  shard_.page_index(results_), ": --restart begins anew");
    ++results_;
    failed_ += record->result.error.empty() ? 0 : 1;
    end_ = end;
    line = std::move(following);
  }
  return {};
}

Status Journal::append(const PageResult& result) {
  const std::string line = to_line({job_, shard_, result}) + "\n";
  if (!write_all(file_.get(), line.data(), line.size()) || !sync_data(file_.get())) {
    const Status status = io_error(path_, "written");
    if (::ftruncate(file_.get(), static_cast<off_t>(end_)) != 0) {
      // A piece of a line stays, and the next start cuts it off.
    }
    return status;
  }
  end_ += line.size();
  ++results_;
  failed_ += result.error.empty() ? 0 : 1;
  return {};
}

void Journal::discard_if_new() {
  if (is_new_ && end_ == 0)
    ::unlink(path_.c_str());
}

// ---- FileBeside ----------------------------------------------------------------------------------------------------------------

Result<FileBeside> FileBeside::make(const std::string& path) {
  VL2_TRY(check_batch_output(path));
  const std::string beside = path + ".part";
  File file(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0)
    return io_error(beside, "written");
  return FileBeside(path, std::move(file));
}

FileBeside::~FileBeside() {
  if (file_.get() >= 0)
    ::unlink((path_ + ".part").c_str());
}

Status FileBeside::write(const std::string& text) {
  waiting_ += text;
  if (waiting_.size() < kPieceBytes)
    return {};
  const std::string now = std::exchange(waiting_, {});
  return write_all(file_.get(), now.data(), now.size()) ? Status() : io_error(path_, "written");
}

Status FileBeside::commit() {
  if (!write_all(file_.get(), waiting_.data(), waiting_.size()) || !sync_data(file_.get()) ||
      std::rename((path_ + ".part").c_str(), path_.c_str()) != 0)
    return io_error(path_, "written");
  { const File closed = std::move(file_); }
  sync_folder_of(path_);
  return {};
}

Status check_batch_output(const std::string& path) {
  VL2_TRY(check_output_file(path));
  std::error_code error;
  const auto kind = std::filesystem::status(path, error);
  if (std::filesystem::exists(kind) && !std::filesystem::is_regular_file(kind))
    return fail(Code::IoError, path, ": cannot be written: it is no regular file (leave -o out to print results)");
  if (std::filesystem::exists(kind) && ::access(path.c_str(), W_OK) != 0)
    return io_error(path, "written");
  return {};
}

}  // namespace vl2::batch
