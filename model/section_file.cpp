#include "model/section_file.h"

#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/pipeline_file.h"

namespace vl2 {

namespace {

struct FileHeader {
  char magic[8];
  uint32_t version, section_count;
  uint64_t file_bytes;
  uint64_t checksum;  // of all before it
};
static_assert(sizeof(FileHeader) == 32);

struct SectionHeader {
  uint32_t tag, zero;
  uint64_t byte_count, byte_checksum;
  uint64_t checksum;  // of all before it
};
static_assert(sizeof(SectionHeader) == 32);

template <typename Header>
uint64_t checksum_of(const Header& header) {
  return fnv1a64(&header, offsetof(Header, checksum));
}

template <typename Header>
std::span<const std::byte> bytes_of(const Header& header) {
  return std::as_bytes(std::span(&header, 1));
}

template <typename Header>
std::span<std::byte> room_of(Header& header) {
  return std::as_writable_bytes(std::span(&header, 1));
}

// "KEYS" of its number, for messages.
std::string tag_text(uint32_t tag) {
  std::string text;
  for (int i = 0; i < 4; ++i) {
    const char c = static_cast<char>(tag >> 8 * i & 0xff);
    text += c >= ' ' && c < 0x7f ? c : '?';
  }
  return text;
}

}  // namespace

// ---- Writing -----------------------------------------------------------------------------------------------------------------

Result<SectionWriter> SectionWriter::create(const SectionFormat& format, const std::string& path) {
  SectionWriter writer;
  writer.format_ = format;
  writer.path_ = path;
  const std::string part_path = path + ".part-" + std::to_string(::getpid());
  ::unlink(part_path.c_str());  // left by a process of the same number that was killed
  constexpr mode_t kOwnerAlone = 0600;
  writer.file_ = OpenFile(::open(part_path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kOwnerAlone));
  if (!writer.file_)
    return fail(Code::IoError, path, ": cannot be written: ", std::strerror(errno));
  writer.part_path_ = part_path;
  writer.end_ = sizeof(FileHeader);
  return writer;
}

SectionWriter::SectionWriter(SectionWriter&& other) noexcept
    : format_(other.format_),
      path_(std::move(other.path_)),
      part_path_(std::exchange(other.part_path_, {})),
      file_(std::move(other.file_)),
      end_(other.end_),
      count_(other.count_) {}

SectionWriter::~SectionWriter() {
  if (!part_path_.empty())
    ::unlink(part_path_.c_str());
}

Status SectionWriter::add(uint32_t tag, std::span<const std::byte> bytes) {
  SectionHeader header{tag, 0, bytes.size(), fnv1a64(bytes.data(), bytes.size()), 0};
  header.checksum = checksum_of(header);
  VL2_TRY(write_file_at(file_.descriptor(), path_, end_, bytes_of(header)));
  VL2_TRY(write_file_at(file_.descriptor(), path_, end_ + sizeof(header), bytes));
  end_ += sizeof(header) + bytes.size();
  ++count_;
  return {};
}

Status SectionWriter::finish() {
  FileHeader header{{}, format_.version, count_, end_, 0};
  std::memcpy(header.magic, format_.magic.data(), sizeof(header.magic));
  header.checksum = checksum_of(header);
  VL2_TRY(write_file_at(file_.descriptor(), path_, 0, bytes_of(header)));
  const bool written = ::fsync(file_.descriptor()) == 0 && ::close(file_.release()) == 0;
  if (!written || ::rename(part_path_.c_str(), path_.c_str()) != 0)
    return fail(Code::IoError, path_, ": cannot be written: ", std::strerror(errno));
  part_path_.clear();
  return {};
}

// ---- Reading -----------------------------------------------------------------------------------------------------------------

Result<SectionReader> SectionReader::open(const SectionFormat& format, const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0)
    return fail(errno == ENOENT ? Code::NotFound : Code::IoError, path, ": ", std::strerror(errno));
  if (!S_ISREG(facts.st_mode))  // before it is opened: a pipe would wait for a writer
    return fail(Code::BadFile, path, ": no regular file, wanted a ", format.name);
  SectionReader reader;
  reader.format_ = format;
  reader.path_ = path;
  reader.file_ = OpenFile(path);
  if (!reader.file_ || ::fstat(reader.file_.descriptor(), &facts) != 0)
    return fail(Code::IoError, path, ": ", std::strerror(errno));
  reader.file_bytes_ = static_cast<uint64_t>(facts.st_size);
  FileHeader header{};
  if (reader.file_bytes_ < sizeof(header))
    return fail(Code::BadFile, path, ": has ", reader.file_bytes_, " bytes, no ", format.name);
  VL2_TRY(read_file_at(reader.file_.descriptor(), path, 0, room_of(header)));
  if (std::memcmp(header.magic, format.magic.data(), sizeof(header.magic)) != 0)
    return fail(Code::BadFile, path, ": no ", format.name);
  if (header.checksum != checksum_of(header))
    return reader.bad("its header");
  if (header.version != format.version)
    return fail(Code::Unsupported, path, ": a ", format.name, " of version ", header.version, ", this program reads ",
                format.version);
  if (header.file_bytes != reader.file_bytes_)
    return reader.bad("it has ", reader.file_bytes_, " bytes, wanted ", header.file_bytes);
  reader.at_ = sizeof(header);
  reader.count_ = header.section_count;
  return reader;
}

Result<std::vector<std::byte>> SectionReader::next(uint32_t tag) {
  const std::string name = tag_text(tag);
  const uint64_t left = file_bytes_ - at_;
  SectionHeader header{};
  if (read_ == count_ || left < sizeof(header))
    return bad("section ", name, " is missing");
  VL2_TRY(read_file_at(file_.descriptor(), path_, at_, room_of(header)));
  if (header.checksum != checksum_of(header))
    return bad("the head of section ", name);
  if (header.tag != tag)
    return bad("got section ", tag_text(header.tag), ", wanted ", name);
  if (header.byte_count > left - sizeof(header))
    return bad("section ", name, " says ", header.byte_count, " bytes, the file has ", left - sizeof(header), " more");
  std::vector<std::byte> bytes(header.byte_count);
  VL2_TRY(read_file_at(file_.descriptor(), path_, at_ + sizeof(header), bytes));
  if (fnv1a64(bytes.data(), bytes.size()) != header.byte_checksum)
    return bad("section ", name);
  at_ += sizeof(header) + header.byte_count;
  ++read_;
  return bytes;
}

Status SectionReader::end() const {
  if (read_ != count_ || at_ != file_bytes_)
    return bad("got ", count_, " sections in ", file_bytes_, " bytes, wanted ", read_, " in ", at_);
  return {};
}

}  // namespace vl2
