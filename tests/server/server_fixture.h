// A server on a free port with the fake model.
#pragma once

#include <doctest/doctest.h>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "app/server/chat_server.h"
#include "tests/server/fake_backend.h"
#include "tests/server/raw_client.h"

namespace vl2::server {

struct TestServer {
  explicit TestServer(const std::function<void(ServerOptions&)>& change = {}, int most_slots = 1000) {
    ServerOptions options;
    options.http.port = 0;
    if (change)
      change(options);
    std::string error;
    server = ChatServer::start(options, error);
    REQUIRE_MESSAGE(server != nullptr, error);
    auto made = std::make_unique<FakeBackend>();
    made->most_slots = most_slots;
    fake = made.get();
    REQUIRE_FALSE(server->set_backend(std::move(made)).has_value());
  }

  uint16_t port() const { return server->port(); }

  /// One chat request with this text; `members` go beside the messages, with a comma before each.
  RawResponse chat(const std::string& text, const std::string& members = {}, const std::string& headers = {}) const {
    return ask(port(), "POST", "/v1/chat/completions", chat_body(text, members), headers);
  }

  static std::string chat_body(const std::string& text, const std::string& members = {}) {
    return R"({"messages":[{"role":"user","content":)" + nlohmann::json(text).dump() + "}]" + members + "}";
  }

  /// The value of a metric, with its labels; -1 when it is not there.
  double metric(const std::string& name) const {
    const std::string text = ask(port(), "GET", "/metrics").body;
    const size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }

  FakeBackend* fake = nullptr;
  std::unique_ptr<ChatServer> server;
};

/// Waits up to ten seconds for something to become true.
inline bool becomes_true(const std::function<bool()>& what) {
  for (int i = 0; i < 2000; ++i) {
    if (what())
      return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

/// The values of the events of a stream; the last, [DONE], left out.
inline std::vector<nlohmann::json> events(const std::string& body) {
  std::vector<nlohmann::json> out;
  for (size_t at = 0, end; (end = body.find("\n\n", at)) != std::string::npos; at = end + 2) {
    const std::string data = body.substr(at, end - at);
    REQUIRE(data.rfind("data: ", 0) == 0);
    if (data != "data: [DONE]")
      out.push_back(nlohmann::json::parse(data.substr(6)));
  }
  return out;
}

}  // namespace vl2::server
