// Sockets: accepts clients, waits for whole request heads, and hands each to a thread of its own.
//
// Why not one thread a connection from the start, as HTTP libraries do: clients that send their head a byte at a time would hold
// all threads there are. Here one thread waits for all heads at once, and a new client displaces the one that has dawdled longest.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>

namespace vl2::server {

struct ConnectionLimits {
  uint32_t connections = 256;                   ///< open at a time, requests under way included
  size_t head_bytes = 8192;                     ///< request line and headers, with the empty line
  std::chrono::milliseconds head_time{10000};   ///< from the first byte of a request to the end of its head
  std::chrono::milliseconds idle_time{60000};   ///< between two requests of a connection
  std::chrono::milliseconds stall_time{10000};  ///< without a byte read of a body, or taken of an answer
  std::chrono::milliseconds body_time{120000};  ///< for a whole body
};

/// A client whose head has arrived. One thread at a time.
class Connection {
 public:
  Connection(int fd, const ConnectionLimits& limits) : fd_(fd), limits_(limits) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  int fd() const { return fd_; }
  /// At most `size` bytes; 0 at the end, -1 for an error or when time is up.
  long read(char* bytes, size_t size);
  /// All of it, or -1: the client has left or takes nothing.
  long write(const char* bytes, size_t size);
  /// Whether the client has closed its end. Asks the system; nothing is read.
  bool gone() const;
  /// Bytes that read() gave since the head began.
  uint64_t bytes_read() const { return bytes_read_; }

 private:
  friend class Listener;
  bool wait(short events, std::chrono::steady_clock::time_point until) const;

  const int fd_;
  const ConnectionLimits& limits_;
  std::string buffer_;  // received, not read yet
  size_t buffer_at_ = 0;
  uint64_t bytes_read_ = 0;
  std::chrono::steady_clock::time_point body_deadline_{};
};

/// What becomes of a connection after a request.
enum class AfterRequest { Keep, Close };

class Listener {
 public:
  /// Called on a thread of its own when a head has arrived; read() begins with it.
  using Serve = std::function<AfterRequest(Connection&)>;

  /// Binds and listens; clients wait until run().
  ///
  /// host   a name or address
  /// port   0: any free one
  /// error  gets why not, when the result is null
  static std::unique_ptr<Listener> open(const std::string& host, uint16_t port, const ConnectionLimits& limits,
                                        std::string& error);
  ~Listener();

  uint16_t port() const { return port_; }
  int fd() const { return fd_; }
  uint32_t connection_count() const { return connection_count_.load(); }
  void run(Serve serve);
  /// No new clients, and idle ones are closed; requests under way go on, after which their connections are closed.
  void stop_accepting();
  /// Waits until no request is under way, at most so long. Returns whether that is so.
  bool wait_until_idle(std::chrono::milliseconds most);

 private:
  class Loop;
  explicit Listener(const ConnectionLimits& limits) : limits_(limits) {}

  const ConnectionLimits limits_;
  int fd_ = -1;
  uint16_t port_ = 0;
  std::atomic<uint32_t> connection_count_{0};
  std::shared_ptr<Loop> loop_;
  std::thread thread_;
};

}  // namespace vl2::server
