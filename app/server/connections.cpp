#include "app/server/connections.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace vl2::server {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLingerTime = std::chrono::seconds(2);  // for a client to read why it is turned away
constexpr auto kTick = std::chrono::milliseconds(100);
constexpr int kBacklog = 512;
#ifdef POLLRDHUP
constexpr short kPeerClosed = POLLRDHUP;
#else
constexpr short kPeerClosed = 0;
#endif

void set_nonblocking(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
}

std::string refusal(const char* status, const char* message) {
  const std::string body =
      std::string(R"({"error":{"message":")") + message + R"(","type":"invalid_request_error","param":null,"code":null}})";
  return std::string("HTTP/1.1 ") + status +
         "\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

}  // namespace

// --- A client -----------------------------------------------------------------------------------------------------------------

Connection::~Connection() {
  ::close(fd_);
}

bool Connection::wait(short events, Clock::time_point until) const {
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd one{fd_, events, 0};
    const int ready = ::poll(&one, 1, static_cast<int>(std::max<int64_t>(left, 0)));
    if (ready > 0)
      return true;
    if (ready == 0 || errno != EINTR)
      return false;
  }
}

long Connection::read(char* bytes, size_t size) {
  if (buffer_at_ < buffer_.size()) {
    const size_t count = std::min(size, buffer_.size() - buffer_at_);
    std::memcpy(bytes, buffer_.data() + buffer_at_, count);
    buffer_at_ += count;
    bytes_read_ += count;
    return static_cast<long>(count);
  }
  for (;;) {
    const ssize_t count = ::recv(fd_, bytes, size, 0);
    if (count >= 0) {
      bytes_read_ += static_cast<uint64_t>(count);
      return static_cast<long>(count);
    }
    if (errno == EINTR)
      continue;
    if ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait(POLLIN, std::min(body_deadline_, Clock::now() + limits_.stall_time)))
      return -1;
  }
}

long Connection::write(const char* bytes, size_t size) {
  for (size_t at = 0; at < size;) {
    const ssize_t count = ::send(fd_, bytes + at, size - at, MSG_NOSIGNAL);
    if (count > 0)
      at += static_cast<size_t>(count);
    else if (count < 0 && errno == EINTR)
      continue;
    else if ((errno != EAGAIN && errno != EWOULDBLOCK) || !wait(POLLOUT, Clock::now() + limits_.stall_time))
      return -1;
  }
  return static_cast<long>(size);
}

bool Connection::gone() const {
  pollfd one{fd_, static_cast<short>(POLLIN | kPeerClosed), 0};
  if (::poll(&one, 1, 0) <= 0)
    return false;
  if (one.revents & (POLLERR | POLLHUP | POLLNVAL | kPeerClosed))
    return true;
  char byte;
  return ::recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

// --- All clients --------------------------------------------------------------------------------------------------------------

class Listener::Loop {
 public:
  Loop(Listener& owner, Serve serve) : owner_(owner), limits_(owner.limits_), serve_(std::move(serve)) {
    if (::pipe(wake_) == 0)
      for (const int fd : wake_)
        set_nonblocking(fd);
  }
  ~Loop() {
    for (const int fd : wake_)
      ::close(fd);
  }

  void run(const std::shared_ptr<Loop>& self) {
    self_ = self;
    while (!over_.load()) {
      poll_all();
      take_back();
      if (accepting_.load())
        accept_all();
      drop_late();
      owner_.connection_count_.store(static_cast<uint32_t>(waiting_.size()) + active_.load());
    }
    waiting_.clear();
  }

  void wake() {
    const char byte = 0;
    [[maybe_unused]] const ssize_t written = ::write(wake_[1], &byte, 1);
  }

  void stop_accepting() {
    accepting_.store(false);
    wake();
  }

  void end() {
    over_.store(true);
    wake();
  }

  bool wait_until_idle(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    return idle_.wait_for(lock, most, [&] { return active_.load() == 0; });
  }

 private:
  // Idle: between requests. Head: some bytes of one are there. Lingering: an answer was sent, what comes is thrown away.
  enum class State { Idle, Head, Lingering };
  struct Waiting {
    std::unique_ptr<Connection> connection;
    State state = State::Idle;
    Clock::time_point since, deadline;
    bool over = false;
  };

  void poll_all() {
    polled_.clear();
    polled_.push_back({wake_[0], POLLIN, 0});
    polled_.push_back({accepting_.load() ? owner_.fd_ : -1, POLLIN, 0});
    for (const Waiting& one : waiting_)
      polled_.push_back({one.connection->fd_, POLLIN, 0});
    if (::poll(polled_.data(), polled_.size(), static_cast<int>(kTick.count())) <= 0)
      return;
    char bytes[64];
    while (polled_[0].revents != 0 && ::read(wake_[0], bytes, sizeof(bytes)) > 0) {
    }
    for (size_t i = 0; i < waiting_.size(); ++i)
      if (polled_[i + 2].revents != 0)
        receive(waiting_[i]);
    forget_over();
  }

  void receive(Waiting& one) {
    char bytes[4096];
    std::string& buffer = one.connection->buffer_;
    for (;;) {
      const size_t room =
          one.state == State::Lingering ? sizeof(bytes) : std::min(sizeof(bytes), limits_.head_bytes + 1 - buffer.size());
      const ssize_t count = ::recv(one.connection->fd_, bytes, room, 0);
      if (count < 0 && errno == EINTR)
        continue;
      if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
      if (count <= 0) {
        one.over = true;
        return;
      }
      if (one.state == State::Lingering)
        continue;
      buffer.append(bytes, static_cast<size_t>(count));
      if (look_at(one))
        return;
    }
  }

  // Serves a head that is complete, refuses one that is too long. True when nothing more is to be received.
  bool look_at(Waiting& one) {
    std::string& buffer = one.connection->buffer_;
    while (one.state == State::Idle && buffer.starts_with("\r\n"))  // RFC 9112, 2.2: may stand before a request
      buffer.erase(0, 2);
    if (buffer.empty())
      return false;
    if (one.state == State::Idle) {
      one.state = State::Head;
      one.deadline = Clock::now() + limits_.head_time;
    }
    const size_t end = buffer.find("\r\n\r\n");
    if (end != std::string::npos && end + 4 <= limits_.head_bytes) {
      start(std::move(one.connection));
      one.over = true;
      return true;
    }
    if (buffer.size() <= limits_.head_bytes && end == std::string::npos)
      return false;
    turn_away(one, refusal("431 Request Header Fields Too Large", "request line and headers are over 8192 bytes"));
    return true;
  }

  void turn_away(Waiting& one, const std::string& answer) {
    [[maybe_unused]] const ssize_t sent = ::send(one.connection->fd_, answer.data(), answer.size(), MSG_NOSIGNAL);
    linger(one);
  }

  void linger(Waiting& one) {
    ::shutdown(one.connection->fd_, SHUT_WR);
    one.state = State::Lingering;
    one.since = Clock::now();
    one.deadline = one.since + kLingerTime;
  }

  void start(std::unique_ptr<Connection> connection) {
    connection->bytes_read_ = 0;
    connection->body_deadline_ = Clock::now() + limits_.body_time;
    ++active_;
    std::thread([self = self_.lock(), client = std::move(connection)]() mutable {
      AfterRequest after = self->serve_(*client);
      const std::lock_guard lock(self->mutex_);
      self->returned_.push_back({std::move(client), after});
      --self->active_;
      if (self->active_.load() == 0)
        self->idle_.notify_all();
      self->wake();
    }).detach();
  }

  void take_back() {
    std::vector<Returned> returned;
    {
      const std::lock_guard lock(mutex_);
      returned.swap(returned_);
    }
    for (Returned& one : returned) {
      Waiting& waiting = waiting_.emplace_back();
      waiting.connection = std::move(one.connection);
      waiting.connection->buffer_.erase(0, std::exchange(waiting.connection->buffer_at_, 0));
      waiting.since = Clock::now();
      waiting.deadline = waiting.since + limits_.idle_time;
      if (one.after == AfterRequest::Close || !accepting_.load())
        linger(waiting);
      else
        look_at(waiting);  // the next request may have come along with this one
    }
    forget_over();
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept(owner_.fd_, nullptr, nullptr);
      if (fd < 0)
        return;
      set_nonblocking(fd);
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      const bool room = make_room();
      Waiting& one = waiting_.emplace_back();
      one.connection = std::make_unique<Connection>(fd, limits_);
      one.since = Clock::now();
      one.deadline = one.since + limits_.head_time;  // a new client has something to say
      if (!room)
        turn_away(one, refusal("503 Service Unavailable", "all connections are in use"));
    }
  }

  // Closes the connection that has waited longest when there are too many. False when all have requests under way.
  bool make_room() {
    if (waiting_.size() + active_.load() < limits_.connections)
      return true;
    if (waiting_.empty())
      return false;
    const auto rank = [](const Waiting& one) { return std::pair(one.state != State::Lingering, one.since); };
    const auto oldest =
        std::min_element(waiting_.begin(), waiting_.end(), [&](const Waiting& a, const Waiting& b) { return rank(a) < rank(b); });
    const bool only_turned_away = active_.load() >= limits_.connections;
    waiting_.erase(oldest);
    return !only_turned_away;
  }

  void drop_late() {
    const auto now = Clock::now();
    for (Waiting& one : waiting_) {
      if (!accepting_.load() && one.state == State::Idle)
        one.over = true;
      if (now < one.deadline)
        continue;
      if (one.state == State::Head)
        turn_away(one, refusal("408 Request Timeout", "the head of the request took too long"));
      else
        one.over = true;
    }
    forget_over();
  }

  void forget_over() {
    std::erase_if(waiting_, [](const Waiting& one) { return one.over; });
  }

  struct Returned {
    std::unique_ptr<Connection> connection;
    AfterRequest after;
  };

  Listener& owner_;
  const ConnectionLimits limits_;
  const Serve serve_;
  std::weak_ptr<Loop> self_;
  int wake_[2] = {-1, -1};
  std::atomic<bool> over_{false}, accepting_{true};
  std::vector<Waiting> waiting_;
  std::vector<pollfd> polled_;
  std::atomic<uint32_t> active_{0};  // requests under way
  std::mutex mutex_;
  std::condition_variable idle_;
  std::vector<Returned> returned_;
};

std::unique_ptr<Listener> Listener::open(const std::string& host, uint16_t port, const ConnectionLimits& limits,
                                         std::string& error) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const std::string service = std::to_string(port);
  if (const int code = ::getaddrinfo(host.c_str(), service.c_str(), &hints, &found); code != 0) {
    error = host + ": " + ::gai_strerror(code);
    return nullptr;
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, ::freeaddrinfo);
  std::unique_ptr<Listener> listener(new Listener(limits));
  for (const addrinfo* at = found; at != nullptr && listener->fd_ < 0; at = at->ai_next) {
    const int fd = ::socket(at->ai_family, at->ai_socktype, at->ai_protocol), on = 1;
    if (fd < 0)
      continue;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (::bind(fd, at->ai_addr, at->ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0) {
      listener->fd_ = fd;
      set_nonblocking(fd);
    } else {
      error = host + ":" + service + ": " + std::strerror(errno);
      ::close(fd);
    }
  }
  if (listener->fd_ < 0)
    return nullptr;
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  ::getsockname(listener->fd_, reinterpret_cast<sockaddr*>(&bound), &length);
  listener->port_ = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                                      : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  return listener;
}

void Listener::run(Serve serve) {
  loop_ = std::make_shared<Loop>(*this, std::move(serve));
  thread_ = std::thread([loop = loop_] { loop->run(loop); });
}

void Listener::stop_accepting() {
  ::shutdown(fd_, SHUT_RDWR);  // whoever knocks now is refused by the system
  if (loop_)
    loop_->stop_accepting();
}

bool Listener::wait_until_idle(std::chrono::milliseconds most) {
  return !loop_ || loop_->wait_until_idle(most);
}

Listener::~Listener() {
  if (loop_) {
    stop_accepting();
    loop_->wait_until_idle(std::chrono::hours(24));  // threads use what outlives only this
    loop_->end();
    thread_.join();
  }
  if (fd_ >= 0)
    ::close(fd_);
}

}  // namespace vl2::server
