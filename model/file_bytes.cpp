#include "model/file_bytes.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace vl2 {

namespace {
constexpr size_t kMostAtOnce = size_t{1} << 30;  // Linux moves less than 2 GiB a call
}

OpenFile::OpenFile(const std::string& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}

OpenFile OpenFile::duplicate(int descriptor) {
  return OpenFile(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
}

OpenFile::~OpenFile() {
  if (descriptor_ >= 0)
    ::close(descriptor_);
}

Status read_file_at(int descriptor, const std::string& name, uint64_t first, std::span<std::byte> target) {
  while (!target.empty()) {
    const ssize_t got = ::pread(descriptor, target.data(), std::min(target.size(), kMostAtOnce), static_cast<off_t>(first));
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail(Code::IoError, name, ": ", std::strerror(errno));
    if (got == 0)
      return fail(Code::IoError, name, ": ends at byte ", first, " now; it was longer when it was opened");
    target = target.subspan(static_cast<size_t>(got));
    first += static_cast<uint64_t>(got);
  }
  return {};
}

Status write_file_at(int descriptor, const std::string& name, uint64_t first, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(descriptor, bytes.data(), std::min(bytes.size(), kMostAtOnce), static_cast<off_t>(first));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      return fail(Code::IoError, name, ": cannot be written: ", std::strerror(errno));
    bytes = bytes.subspan(static_cast<size_t>(done));
    first += static_cast<uint64_t>(done);
  }
  return {};
}

}  // namespace vl2
