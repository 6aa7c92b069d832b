#include "app/server/http_server.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <charconv>
#include <httplib.h>
#include <optional>

#include "app/server/api_error.h"

namespace vl2::server {

namespace {

std::string small_letters(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// "Name:8080", "[::1]:8080" -> the name in small letters, without brackets.
std::string host_name(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end == std::string_view::npos ? std::string() : small_letters(host.substr(1, end - 1));
  }
  return small_letters(host.substr(0, host.rfind(':')));
}

bool is_address(const std::string& name) {
  in6_addr address;
  return inet_pton(AF_INET, name.c_str(), &address) == 1 || inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

// As long for a wrong key as for the right one of the same length.
bool same_key(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned>(a[i] ^ b[b.empty() ? 0 : i % b.size()]);
  return difference == 0 && !b.empty();
}

// What httplib reads from and writes to. It names some of these differently from version to version, so none says `override` that
// is not in all.
class ConnectionStream : public httplib::Stream {
 public:
  explicit ConnectionStream(Connection& connection) : connection_(connection) {}

  bool is_readable() const { return true; }
  bool is_writable() const { return !connection_.gone(); }
  bool wait_readable() const { return true; }
  bool wait_writable() const { return !connection_.gone(); }
  bool is_peer_alive() const { return !connection_.gone(); }
  time_t duration() const { return 0; }
  ssize_t read(char* bytes, size_t size) override { return connection_.read(bytes, size); }
  ssize_t write(const char* bytes, size_t size) override { return connection_.write(bytes, size); }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return connection_.fd(); }

 private:
  Connection& connection_;
};

// A request under way, for what httplib calls back on the same thread.
struct Exchange {
  Connection* connection = nullptr;
  const HttpRoute* route = nullptr;
  uint64_t head_bytes = 0, body_bytes = 0;
  bool left = false;         // the client, before the end
  bool streams = false;      // its end is not known before its last part
  bool counted = false;      // the observer was told
  bool unread_body = false;  // refused before it was read
};
thread_local Exchange* current = nullptr;

}  // namespace

bool is_loopback(std::string_view host) {
  const std::string name = small_letters(host);
  in_addr address;
  if (inet_pton(AF_INET, name.c_str(), &address) == 1)
    return name.starts_with("127.");
  return name == "localhost" || name == "::1";
}

class HttpServer::Impl : public httplib::Server {
 public:
  Impl(const HttpOptions& options, std::vector<HttpRoute> routes, Observer observer)
      : options_(options), routes_(std::move(routes)), observer_(std::move(observer)), loopback_only_(is_loopback(options.host)) {
    set_default_headers({{"X-Content-Type-Options", "nosniff"}, {"Cache-Control", "no-store"}});
    set_keep_alive_timeout(std::chrono::duration_cast<std::chrono::seconds>(options.connections.idle_time).count());
    set_payload_max_length(options.body_bytes);
    set_pre_routing_handler(
        [this](const httplib::Request& request, httplib::Response& response) { return look_at_head(request, response); });
    const auto handle = [this](const httplib::Request& request, httplib::Response& response) { answer(request, response); };
    Get(".*", handle);
    Post(".*", handle);
    set_error_handler([](const httplib::Request&, httplib::Response& response) {
      if (response.body.empty())
        response.set_content(malformed(response.status).json(), "application/json");
    });
    set_exception_handler([](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
      refuse(response, ApiError::internal("the server failed to answer this request"));
    });
    // Before the client can know that it has the whole answer: what it asks next must find this one counted.
    set_post_routing_handler([this](const httplib::Request&, httplib::Response& response) {
      if (!current->streams)
        count(response.status);
    });
    set_logger([this](const httplib::Request&, const httplib::Response& response) { count(response.status); });
  }

  bool listen(std::string& error) {
    listener_ = Listener::open(options_.host, options_.port, options_.connections, error);
    if (listener_ != nullptr)
      svr_sock_ = listener_->fd();  // httplib ends streams when it thinks that it does not listen
    return listener_ != nullptr;
  }

  Listener& listener() { return *listener_; }
  void run() {
    listener_->run([this](Connection& connection) { return serve(connection); });
  }
  void stop_accepting() {
    closing_ = true;
    if (listener_ != nullptr)  // null where the port could not be had
      listener_->stop_accepting();
  }

 private:
  AfterRequest serve(Connection& connection) {
    Exchange exchange;
    exchange.connection = &connection;
    current = &exchange;
    ConnectionStream stream(connection);
    bool closes = false;
    const bool went_well = process_request(stream, "", 0, "", 0, closing_.load(), closes, [&](httplib::Request& request) {
      exchange.head_bytes = connection.bytes_read();
      request.headers.erase("Accept-Encoding");  // answers stay as they are: small, or streams
      request.ranges.clear();
    });
    current = nullptr;
    bodies_.fetch_sub(exchange.body_bytes);
    const bool body_left = connection.bytes_read() - exchange.head_bytes < exchange.body_bytes || exchange.unread_body;
    return went_well && !closes && !body_left && !closing_ ? AfterRequest::Keep : AfterRequest::Close;
  }

  static void refuse(httplib::Response& response, const ApiError& error) {
    response.status = error.status;
    if (error.retry_after > 0)
      response.set_header("Retry-After", std::to_string(error.retry_after));
    if (error.status == 401)
      response.set_header("WWW-Authenticate", "Bearer");
    response.set_content(error.json(), "application/json");
  }

  static ApiError malformed(int status) {
    return {status, status < 500 ? "invalid_request_error" : "server_error",
            status == 413 ? "body: too large" : "not a valid HTTP request"};
  }

  // Everything that can be told from the head. The body of a refused request is not read: its connection is closed.
  HandlerResponse look_at_head(const httplib::Request& request, httplib::Response& response) {
    const auto error = check_head(request, response);
    if (!error)
      return HandlerResponse::Unhandled;
    refuse(response, *error);
    if (request.has_header("Content-Length") || request.has_header("Transfer-Encoding")) {
      current->unread_body = true;
      response.set_header("Connection", "close");
    }
    return HandlerResponse::Handled;
  }

  std::optional<ApiError> check_head(const httplib::Request& request, httplib::Response& response) {
    if (auto error = check_origin(request))
      return error;
    const bool reads = request.method == "GET" || request.method == "HEAD";
    const std::string method = reads ? "GET" : request.method;
    std::string allowed;
    for (const HttpRoute& route : routes_)
      if (route.path == request.path) {
        allowed = route.method;
        if (route.method == method)
          current->route = &route;
      }
    // Without the key nobody learns which paths there are.
    const bool open = current->route != nullptr && current->route->open;
    if (!options_.api_key.empty() && !open && !has_key(request))
      return ApiError{
          401, "authentication_error", "wanted the API key of this server: Authorization: Bearer KEY", {}, "invalid_api_key"};
    if (allowed.empty())
      return ApiError{404,
                      "invalid_request_error",
                      request.method + " " + request.path.substr(0, 200) + ": there is no such path",
                      {},
                      "not_found"};
    if (current->route == nullptr) {
      response.set_header("Allow", allowed);
      return ApiError{405, "invalid_request_error", request.path + ": got " + request.method + ", wanted " + allowed};
    }
    return check_body(request, reads);
  }

  // A page of another site may make its visitor's browser ask here: under a name that now points here, or with its own origin.
  std::optional<ApiError> check_origin(const httplib::Request& request) const {
    if (request.get_header_value_count("Host") != 1)
      return ApiError{400, "invalid_request_error", "Host: wanted exactly one"};
    const std::string host = request.get_header_value("Host"), name = host_name(host);
    const auto& names = options_.host_names;
    const bool known =
        is_loopback(name) || name == small_letters(options_.host) || (!loopback_only_ && is_address(name)) ||
        std::any_of(names.begin(), names.end(), [&](const std::string& one) { return small_letters(one) == name; });
    if (!known)
      return ApiError{403,
                      "invalid_request_error",
                      "Host: " + name.substr(0, 200) + " is no name of this server (see --host-name)",
                      {},
                      "wrong_host"};
    if (request.has_header("Origin")) {
      const std::string origin = small_letters(request.get_header_value("Origin")), own = small_letters(host);
      if (request.get_header_value_count("Origin") != 1 || (origin != "http://" + own && origin != "https://" + own))
        return ApiError{403,
                        "invalid_request_error",
                        "Origin: a page of " + origin.substr(0, 200) + " may not ask this server",
                        {},
                        "wrong_origin"};
    }
    return std::nullopt;
  }

  bool has_key(const httplib::Request& request) const {
    constexpr std::string_view kBearer = "bearer ";
    const std::string value = request.get_header_value("Authorization");
    return request.get_header_value_count("Authorization") == 1 && small_letters(value).starts_with(kBearer) &&
           same_key(std::string_view(value).substr(kBearer.size()), options_.api_key);
  }

  std::optional<ApiError> check_body(const httplib::Request& request, bool reads) {
    if (request.has_header("Transfer-Encoding"))
      return ApiError{411, "invalid_request_error", "Transfer-Encoding: wanted a Content-Length"};
    const size_t count = request.get_header_value_count("Content-Length");
    if (count == 0)
      return reads ? std::optional<ApiError>() : ApiError{411, "invalid_request_error", "wanted a Content-Length"};
    const std::string text = request.get_header_value("Content-Length");
    uint64_t length = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (count != 1 || problem != std::errc() || end != text.data() + text.size())
      return ApiError{400, "invalid_request_error", "Content-Length: wanted one number"};
    if (length > options_.body_bytes || (reads && length > 0))
      return ApiError{413,
                      "invalid_request_error",
                      "body: " + text + " bytes, wanted at most " + std::to_string(reads ? 0 : options_.body_bytes),
                      {},
                      "request_too_large"};
    if (!reads && small_letters(request.get_header_value("Content-Type")).rfind("application/json", 0) != 0)
      return ApiError{415, "invalid_request_error", "Content-Type: wanted application/json"};
    if (request.has_header("Content-Encoding"))
      return ApiError{415, "invalid_request_error", "Content-Encoding: wanted none"};
    if (bodies_.fetch_add(length) + length > options_.bodies_together) {
      bodies_.fetch_sub(length);
      return ApiError::unavailable("body: other requests are holding too much memory now", "overloaded", 1);
    }
    current->body_bytes = length;
    return std::nullopt;
  }

  // Tells the observer of the request under way, once.
  void count(int status) {
    if (!std::exchange(current->counted, true))
      observer_(current->route != nullptr ? std::string_view(current->route->path) : "other", current->left ? 499 : status);
  }

  void answer(const httplib::Request& request, httplib::Response& response) {
    Exchange& exchange = *current;
    HttpRequest ours{request.body, [connection = exchange.connection] { return connection->gone(); }};
    HttpResponse result = exchange.route->handle(ours);
    response.status = result.status;
    exchange.left = result.status == 499;
    for (const auto& [name, value] : result.headers)
      response.set_header(name, value);
    if (!result.stream) {
      response.set_content(std::move(result.body), result.type);
      return;
    }
    exchange.streams = true;
    response.set_chunked_content_provider(result.type, [this, stream = std::move(result.stream), status = result.status,
                                                        &exchange](size_t, httplib::DataSink& sink) {
      const bool whole = stream([&](std::string_view bytes) {
        exchange.left = exchange.left || exchange.connection->gone() || !sink.write(bytes.data(), bytes.size());
        return !exchange.left;
      });
      exchange.left = exchange.left || !whole;
      count(status);
      if (!exchange.left)
        sink.done();
      return !exchange.left;
    });
  }

  const HttpOptions options_;
  const std::vector<HttpRoute> routes_;
  const Observer observer_;
  const bool loopback_only_;
  std::atomic<bool> closing_{false};
  std::atomic<uint64_t> bodies_{0};  // bytes of bodies being received or answered
  std::unique_ptr<Listener> listener_;
};

HttpServer::HttpServer() = default;
HttpServer::~HttpServer() {
  if (impl_ != nullptr)
    impl_->stop_accepting();
}

std::unique_ptr<HttpServer> HttpServer::open(const HttpOptions& options, std::vector<HttpRoute> routes, Observer observer,
                                             std::string& error) {
  std::unique_ptr<HttpServer> server(new HttpServer);
  server->impl_ = std::make_unique<Impl>(options, std::move(routes), std::move(observer));
  return server->impl_->listen(error) ? std::move(server) : nullptr;
}

uint16_t HttpServer::port() const {
  return impl_->listener().port();
}

uint32_t HttpServer::connection_count() const {
  return impl_->listener().connection_count();
}

void HttpServer::run() {
  impl_->run();
}

void HttpServer::stop_accepting() {
  impl_->stop_accepting();
}

bool HttpServer::wait_until_idle(std::chrono::milliseconds most) {
  return impl_->listener().wait_until_idle(most);
}

}  // namespace vl2::server
