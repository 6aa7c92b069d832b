// A client that sends exactly the bytes it is told, over a socket of its own: no HTTP library between test and server.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace vl2::server {

struct RawResponse {
  int status = 0;                              ///< 0: the connection closed or nothing came in time
  std::map<std::string, std::string> headers;  ///< names in small letters
  std::string body;                            ///< chunks put together
};

class RawClient {
 public:
  explicit RawClient(uint16_t port);
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;
  ~RawClient() { close(); }

  bool connected() const { return fd_ >= 0; }
  /// False when the server does not take it.
  bool send(std::string_view bytes);
  /// A whole response, the next of this connection.
  RawResponse receive(std::chrono::milliseconds most = std::chrono::seconds(20));
  /// Waits until the bytes received so far hold `text`.
  bool wait_for(std::string_view text, std::chrono::milliseconds most = std::chrono::seconds(20));
  /// Whether the server closes the connection within that time; what it sends before is kept.
  bool closes_within(std::chrono::milliseconds most);
  void close();

 private:
  bool fill(std::chrono::steady_clock::time_point until);  // receives something more

  int fd_ = -1;
  bool ended_ = false;
  std::string received_;
};

/// A request with a Host header, a body where there is one, and `headers`, each line with its end.
std::string request_text(std::string_view method, std::string_view path, std::string_view body = {},
                         std::string_view headers = {});

/// One request on a connection of its own.
RawResponse ask(uint16_t port, std::string_view method, std::string_view path, std::string_view body = {},
                std::string_view headers = {});

}  // namespace vl2::server
