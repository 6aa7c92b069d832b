// What the server answers when it cannot do what was asked: OpenAI's error object and its HTTP status.
#pragma once

#include <string>
#include <utility>

namespace vl2::server {

struct ApiError {
  int status = 500;
  std::string type;     ///< "invalid_request_error", "authentication_error", "rate_limit_error", "server_error"
  std::string message;  ///< "where: what it got, what it wanted"
  std::string param;    ///< the member of the request at fault; empty: null
  std::string code;     ///< a word for programs; empty: null
  int retry_after = 0;  ///< seconds, for the header Retry-After; 0: none

  /// 400: the request itself is at fault; `param` names the member.
  static ApiError bad_request(std::string param, std::string message, std::string code = {}) {
    return {400, "invalid_request_error", std::move(message), std::move(param), std::move(code)};
  }
  /// 503: not now.
  static ApiError unavailable(std::string message, std::string code, int retry_after) {
    return {503, "server_error", std::move(message), {}, std::move(code), retry_after};
  }
  /// 500: ours.
  static ApiError internal(std::string message) { return {500, "server_error", std::move(message)}; }

  /// {"error": {"message", "type", "param", "code"}}; what is no UTF-8 becomes U+FFFD.
  std::string json() const;
};

}  // namespace vl2::server
