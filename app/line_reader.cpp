#include "app/line_reader.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <unistd.h>

#include "app/interrupt.h"

namespace vl2 {

Result<std::optional<std::string>> LineReader::next() {
  constexpr int kLookAgainMs = 100;  // a signal between the question and the wait would else go unseen
  for (size_t searched = 0;;) {
    if (const size_t end = buffered_.find('\n', searched); end != std::string::npos) {
      std::string line = buffered_.substr(0, end);
      buffered_.erase(0, end + 1);
      if (line.ends_with('\r'))
        line.pop_back();
      return std::optional<std::string>(std::move(line));
    }
    searched = buffered_.size();
    if (searched > kMostBytes)
      return fail(Code::BadArgument, "standard input: a line of more than ", kMostBytes, " bytes");
    if (ended_)
      return buffered_.empty() ? std::nullopt : std::optional<std::string>(std::exchange(buffered_, {}));
    if (interrupted())
      return std::optional<std::string>();
    pollfd waited{.fd = descriptor_, .events = POLLIN, .revents = 0};
    if (::poll(&waited, 1, kLookAgainMs) <= 0)
      continue;
    std::array<char, 4096> bytes;
    const ssize_t got = ::read(descriptor_, bytes.data(), bytes.size());
    if (got < 0 && errno != EINTR && errno != EAGAIN)
      return fail(Code::IoError, "standard input: ", std::strerror(errno));
    if (got > 0)
      buffered_.append(bytes.data(), static_cast<size_t>(got));
    ended_ = got == 0;
  }
}

}  // namespace vl2
