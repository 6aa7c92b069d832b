// HTTP: routes, keys, and who may ask at all. The only file that knows cpp-httplib.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "app/server/connections.h"

namespace vl2::server {

struct HttpRequest {
  std::string_view body;       ///< lasts as long as the call of the route's handler
  std::function<bool()> gone;  ///< whether the client has left
};

/// Sends a part of an answer; false: the client has left.
using HttpSend = std::function<bool(std::string_view)>;

struct HttpResponse {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  std::function<bool(const HttpSend&)> stream;  ///< instead of the body; called once. False: given up, as the client has left
};

struct HttpRoute {
  std::string method;  ///< "GET" or "POST"; the body of a POST is JSON
  std::string path;
  bool open = false;                                       ///< answered without a key
  std::function<HttpResponse(const HttpRequest&)> handle;  ///< any thread, many at a time
};

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080;                            ///< 0: any free one
  std::string api_key;                             ///< empty: none is asked for
  std::vector<std::string> host_names;             ///< by which clients may call this server, beside `host` and the loopback's
  uint64_t body_bytes = uint64_t{64} << 20;        ///< of a request
  uint64_t bodies_together = uint64_t{512} << 20;  ///< of all requests that are being received or answered
  ConnectionLimits connections;
};

/// Whether only this machine can reach an address: 127.0.0.0/8, ::1, "localhost".
bool is_loopback(std::string_view host);

class HttpServer {
 public:
  /// Told of each request, before the last of its answer is sent: a path of the routes or "other", and its status; 499: the client
  /// left before the end.
  using Observer = std::function<void(std::string_view path, int status)>;

  /// Binds, but answers nobody before run(). error gets why not, when the result is null.
  static std::unique_ptr<HttpServer> open(const HttpOptions& options, std::vector<HttpRoute> routes, Observer observer,
                                          std::string& error);
  ~HttpServer();

  uint16_t port() const;
  uint32_t connection_count() const;
  void run();
  /// No new clients; requests under way are answered.
  void stop_accepting();
  bool wait_until_idle(std::chrono::milliseconds most);

 private:
  class Impl;
  HttpServer();
  std::unique_ptr<Impl> impl_;
};

}  // namespace vl2::server
