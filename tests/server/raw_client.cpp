#include "tests/server/raw_client.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace vl2::server {

using Clock = std::chrono::steady_clock;

RawClient::RawClient(uint16_t port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    close();
}

void RawClient::close() {
  if (fd_ >= 0)
    ::close(fd_);
  fd_ = -1;
}

bool RawClient::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0)
      return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

bool RawClient::fill(Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd one{fd_, POLLIN, 0};
  if (ended_ || fd_ < 0 || left <= 0 || ::poll(&one, 1, static_cast<int>(left)) <= 0)
    return false;
  char bytes[65536];
  const ssize_t count = ::recv(fd_, bytes, sizeof(bytes), 0);
  ended_ = count <= 0;
  if (!ended_)
    received_.append(bytes, static_cast<size_t>(count));
  return !ended_;
}

bool RawClient::wait_for(std::string_view text, std::chrono::milliseconds most) {
  const auto until = Clock::now() + most;
  while (received_.find(text) == std::string::npos)
    if (!fill(until))
      return false;
  return true;
}

bool RawClient::closes_within(std::chrono::milliseconds most) {
  const auto until = Clock::now() + most;
  while (fill(until)) {
  }
  return ended_;
}

RawResponse RawClient::receive(std::chrono::milliseconds most) {
  const auto until = Clock::now() + most;
  const auto have = [&](size_t bytes) {
    while (received_.size() < bytes)
      if (!fill(until))
        return false;
    return true;
  };
  const auto line_end = [&](size_t from) {
    size_t end;
    while ((end = received_.find("\r\n", from)) == std::string::npos)
      if (!fill(until))
        return std::string::npos;
    return end;
  };
  RawResponse response;
  size_t end = line_end(0), at = 0;
  if (end == std::string::npos)
    return {};
  const int status = std::atoi(received_.substr(9, 3).c_str());
  for (at = end + 2; (end = line_end(at)) != at; at = end + 2) {
    if (end == std::string::npos)
      return {};
    const size_t colon = received_.find(':', at);
    std::string name = received_.substr(at, colon - at);
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    response.headers[name] = received_.substr(colon + 2, end - colon - 2);
  }
  at += 2;
  if (response.headers["transfer-encoding"] == "chunked") {
    for (;;) {
      if ((end = line_end(at)) == std::string::npos)
        return {};
      const size_t size = std::strtoul(received_.substr(at, end - at).c_str(), nullptr, 16);
      if (!have(end + 2 + size + 2))
        return {};
      response.body += received_.substr(end + 2, size);
      at = end + 2 + size + 2;
      if (size == 0)
        break;
    }
  } else {
    const size_t size = std::strtoul(response.headers["content-length"].c_str(), nullptr, 10);
    if (!have(at + size))
      return {};
    response.body = received_.substr(at, size);
    at += size;
  }
  received_.erase(0, at);
  response.status = status;
  return response;
}

std::string request_text(std::string_view method, std::string_view path, std::string_view body, std::string_view headers) {
  std::string out = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\n";
  if (headers.find("Host:") == std::string_view::npos)
    out += "Host: localhost\r\n";
  if (method == "POST")
    out += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  return out + std::string(headers) + "\r\n" + std::string(body);
}

RawResponse ask(uint16_t port, std::string_view method, std::string_view path, std::string_view body, std::string_view headers) {
  RawClient client(port);
  if (!client.send(request_text(method, path, body, headers)) && !client.connected())
    return {};
  return client.receive();
}

}  // namespace vl2::server
