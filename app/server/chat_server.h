// The server: its paths, its model, its life from loading to the end.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "app/server/chat_backend.h"
#include "app/server/chat_request.h"
#include "app/server/http_server.h"
#include "app/server/metrics.h"
#include "app/server/slot_queue.h"

namespace vl2::server {

class ChatHandler;

struct ServerOptions {
  HttpOptions http;
  RequestLimits requests;
  uint32_t slots = 1;          ///< conversations at a time; their steps are shared, or take turns
  uint32_t most_waiting = 64;  ///< requests that wait for a slot; more are told to come back: 429
};

class ChatServer {
 public:
  /// Listens and answers from now on; until set_backend() that it is loading.
  ///
  /// error  gets why not, when the result is null: the port, an address that others can reach and no key
  static std::unique_ptr<ChatServer> start(const ServerOptions& options, std::string& error);
  /// Ends as drain(0) does.
  ~ChatServer();

  /// Makes the slots and answers questions from now on. Fewer slots than were asked for, when memory does not hold more, are no
  /// error: /health says "degraded".
  std::optional<BackendError> set_backend(std::unique_ptr<ChatBackend> backend);

  uint16_t port() const { return http_->port(); }
  uint32_t slot_count() const { return ready_ ? queue_->slot_count() : 0; }

  /// Takes no new requests, answers those that are there for at most `grace`, then ends them. Returns whether all were answered.
  bool drain(std::chrono::milliseconds grace);

 private:
  explicit ChatServer(const ServerOptions& options);
  std::vector<HttpRoute> routes();
  HttpResponse when_ready(HttpResponse (ChatServer::*handle)(const HttpRequest&), const HttpRequest& request);
  HttpResponse chat(const HttpRequest& request);
  HttpResponse models(const HttpRequest& request);
  HttpResponse plan_images(const HttpRequest& request);
  HttpResponse tokenize(const HttpRequest& request);
  HttpResponse health();
  HttpResponse metrics();

  const ServerOptions options_;
  Metrics metrics_;
  std::unique_ptr<ChatBackend> backend_;
  std::unique_ptr<SlotQueue> queue_;
  std::unique_ptr<ChatHandler> chat_;
  std::atomic<bool> ready_{false};  // the three above are there
  std::mutex health_mutex_;
  std::chrono::steady_clock::time_point health_asked_{};
  BackendHealth health_ = BackendHealth::Ok;
  std::unique_ptr<HttpServer> http_;  // gone before what its handlers use
};

}  // namespace vl2::server
