// Who may ask and how much: every limit at its end and one beyond.
#include <algorithm>

#include "tests/server/server_fixture.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"

using namespace vl2;
using namespace vl2::server;
using nlohmann::json;
using std::chrono::milliseconds;

namespace {

constexpr const char* kChat = "/v1/chat/completions";

std::string code(const RawResponse& response) {
  const json value = json::parse(response.body, nullptr, false);
  REQUIRE_MESSAGE((value.is_object() && value.contains("error")), response.body);
  for (const char* name : {"message", "type", "param", "code"})
    REQUIRE(value["error"].contains(name));
  return value["error"]["code"].is_string() ? value["error"]["code"].get<std::string>() : "";
}

// A request head of exactly `bytes` bytes.
std::string head_of(size_t bytes) {
  const std::string start = "GET /health HTTP/1.1\r\nHost: localhost\r\n";
  std::string out = start;
  while (out.size() + 2 < bytes) {
    const size_t line = std::min<size_t>(2000, bytes - 2 - out.size());
    if (bytes - 2 - out.size() - line < 10 && line == 2000) {
      out += "X: " + std::string(1000 - 5, 'a') + "\r\n";
      continue;
    }
    out += "X: " + std::string(line - 5, 'a') + "\r\n";
  }
  return out + "\r\n";
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("server limits: a head of 8192 bytes is read, one of 8193 is refused") {
    TestServer test;
    for (const auto& [bytes, status] : {std::pair{8192, 200}, {8193, 431}}) {
      RawClient client(test.port());
      const std::string head = head_of(static_cast<size_t>(bytes));
      REQUIRE(head.size() == static_cast<size_t>(bytes));
      client.send(head);
      CHECK(client.receive().status == status);
    }
    RawClient endless(test.port());  // never comes to an end
    endless.send(std::string(8193, 'a'));
    CHECK(endless.receive().status == 431);
    CHECK(endless.closes_within(milliseconds(5000)));
  }

  TEST_CASE("server limits: a body at the limit is read, one byte more is refused unread") {
    TestServer test([](ServerOptions& options) { options.http.body_bytes = 1000; });
    for (const auto& [bytes, status] : {std::pair{1000, 200}, {1001, 413}}) {
      std::string body = TestServer::chat_body("say yes");
      body.insert(body.size() - 1, std::string(static_cast<size_t>(bytes) - body.size(), ' '));
      REQUIRE(body.size() == static_cast<size_t>(bytes));
      CHECK(ask(test.port(), "POST", kChat, body).status == status);
    }
    // The announced size alone is enough: nothing of this body is ever sent.
    RawClient client(test.port());
    client.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        "99999999999\r\n\r\n");
    const RawResponse response = client.receive();
    CHECK(response.status == 413);
    CHECK(code(response) == "request_too_large");
    CHECK(client.closes_within(milliseconds(5000)));
  }

  TEST_CASE("server limits: 64 MiB is what a body may have unless told otherwise") {
    TestServer test;
    const auto head = [](uint64_t bytes) {
      return "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: " +
             std::to_string(bytes) + "\r\n\r\n";
    };
    RawClient fits(test.port()), over(test.port());
    over.send(head((uint64_t{64} << 20) + 1));
    CHECK(over.receive().status == 413);
    fits.send(head(uint64_t{64} << 20));
    CHECK(fits.receive(milliseconds(300)).status == 0);  // it waits for the body
    CHECK(fits.send("{"));
  }

  TEST_CASE("server limits: bodies that are too much together are told to come back") {
    TestServer test([](ServerOptions& options) { options.http.bodies_together = 1500; });
    const auto head =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n";
    RawClient first(test.port()), second(test.port());
    first.send(head);
    CHECK(first.receive(milliseconds(200)).status == 0);
    second.send(head);
    const RawResponse response = second.receive();
    CHECK(response.status == 503);
    CHECK(response.headers.at("retry-after") == "1");
    first.close();
    CHECK(becomes_true([&] { return test.chat("say yes").status == 200; }));
  }

  TEST_CASE("server limits: a head may take its time and no more; so may a body") {
    TestServer test([](ServerOptions& options) {
      options.http.connections.head_time = milliseconds(400);
      options.http.connections.stall_time = milliseconds(300);
    });
    RawClient slow(test.port()), trickle(test.port()), body(test.port());
    slow.send("GET /health HTTP/1.1\r\n");
    std::this_thread::sleep_for(milliseconds(200));
    slow.send("Host: localhost\r\n\r\n");
    CHECK(slow.receive().status == 200);
    const auto start = std::chrono::steady_clock::now();
    std::thread typist([&] {
      for (int i = 0; i < 30 && trickle.send("G"); ++i)
        std::this_thread::sleep_for(milliseconds(50));
    });
    CHECK(trickle.wait_for("408"));
    const auto took = std::chrono::steady_clock::now() - start;
    CHECK(took > milliseconds(300));
    CHECK(took < milliseconds(1500));
    typist.join();
    body.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        "1000\r\n\r\n{");
    CHECK(body.closes_within(milliseconds(5000)));
  }

  TEST_CASE("server limits: a connection more displaces the one that has idled longest; when all are at work it is refused") {
    TestServer test([](ServerOptions& options) {
      options.http.connections.connections = 4;
      options.slots = 4;
    });
    std::vector<std::unique_ptr<RawClient>> idle;
    for (int i = 0; i < 4; ++i) {
      idle.push_back(std::make_unique<RawClient>(test.port()));
      idle.back()->send("GET /hea");
    }
    CHECK_FALSE(idle[0]->closes_within(milliseconds(200)));  // four are as many as there may be
    CHECK(ask(test.port(), "GET", "/health").status == 200);
    CHECK(idle[0]->closes_within(milliseconds(5000)));
    CHECK_FALSE(idle[1]->closes_within(milliseconds(200)));
    idle.clear();
    std::vector<std::unique_ptr<RawClient>> busy;
    for (int i = 0; i < 4; ++i) {
      busy.push_back(std::make_unique<RawClient>(test.port()));
      busy.back()->send(request_text("POST", kChat, TestServer::chat_body("hold")));
      CHECK(becomes_true([&] { return test.fake->active == i + 1; }));
    }
    CHECK(ask(test.port(), "GET", "/health").status == 503);
    test.fake->release();
    for (const auto& client : busy)
      CHECK(client->receive().status == 200);
    CHECK(ask(test.port(), "GET", "/health").status == 200);
  }

  TEST_CASE("server limits: five hundred clients that trickle their heads keep nobody waiting") {
    TestServer test;
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 500; ++i) {
      clients.push_back(std::make_unique<RawClient>(test.port()));
      clients.back()->send("G");
    }
    std::vector<double> took;
    for (int i = 0; i < 20; ++i) {
      for (size_t k = 0; k < clients.size(); k += 10)
        clients[k]->send("E");
      const auto start = std::chrono::steady_clock::now();
      CHECK(ask(test.port(), "GET", "/health").status == 200);
      took.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    std::sort(took.begin(), took.end());
    CHECK(took[10] < 0.1);
    // A question that comes while the one before is still closing displaces one more of them, and none comes back.
    const double connections = test.metric("vl2_connections");
    CHECK(connections <= 256);
    CHECK(connections >= 256 - 21);
  }

  TEST_CASE("server keys: without the right one nothing but the page and /health is answered") {
    TestServer test([](ServerOptions& options) { options.http.api_key = "sesame"; });
    for (const char* headers : {"", "Authorization: Bearer wrong!\r\n", "Authorization: Bearer sesam\r\n",
                                "Authorization: Bearer sesamee\r\n", "Authorization: sesame\r\n", "Authorization: Bearer \r\n"}) {
      CAPTURE(headers);
      const RawResponse response = test.chat("say yes", "", headers);
      CHECK(response.status == 401);
      CHECK(code(response) == "invalid_api_key");
      CHECK(response.headers.at("www-authenticate") == "Bearer");
      CHECK(ask(test.port(), "GET", "/v1/models", "", headers).status == 401);
      CHECK(ask(test.port(), "GET", "/metrics", "", headers).status == 401);
      CHECK(ask(test.port(), "GET", "/nothing", "", headers).status == 401);
    }
    CHECK(test.fake->started == 0);
    CHECK(test.chat("say yes", "", "Authorization: Bearer sesame\r\n").status == 200);
    CHECK(test.chat("say yes", "", "authorization: bearer sesame\r\n").status == 200);
    CHECK(ask(test.port(), "GET", "/health").status == 200);
    CHECK(ask(test.port(), "GET", "/").status == 200);
  }

  TEST_CASE("server keys: an address that others can reach needs one") {
    ServerOptions options;
    options.http.host = "0.0.0.0";
    options.http.port = 0;
    std::string error;
    CHECK(ChatServer::start(options, error) == nullptr);
    CHECK(error.find("--api-key") != std::string::npos);
    options.http.api_key = "sesame";
    const auto server = ChatServer::start(options, error);
    REQUIRE(server != nullptr);
    CHECK(ask(server->port(), "GET", "/health", "", "Host: 192.168.1.7:80\r\n").status == 503);  // loading; but the name is fine
    CHECK(ask(server->port(), "GET", "/health", "", "Host: evil.example\r\n").status == 403);
  }

  TEST_CASE("server origin: only our own names and our own page") {
    TestServer test([](ServerOptions& options) { options.http.host_names = {"Box.lan"}; });
    const std::string port = std::to_string(test.port());
    for (const std::string& host :
         std::vector<std::string>{"localhost", "LOCALHOST:" + port, "127.0.0.1:" + port, "[::1]:" + port, "box.lan", "127.1.2.3"})
      CHECK_MESSAGE(ask(test.port(), "GET", "/health", "", "Host: " + host + "\r\n").status == 200, host);
    for (const std::string host :
         {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "", "[::1"}) {
      const RawResponse response = ask(test.port(), "GET", "/health", "", "Host: " + host + "\r\n");
      CHECK_MESSAGE(response.status == 403, host);
    }
    CHECK(ask(test.port(), "GET", "/health", "", "Host: localhost\r\nHost: localhost\r\n").status == 400);
    const auto origin = [&](const std::string& value) {
      return test.chat("say yes", "", "Host: localhost:" + port + "\r\nOrigin: " + value + "\r\n").status;
    };
    CHECK(origin("http://localhost:" + port) == 200);
    CHECK(origin("https://localhost:" + port) == 200);
    for (const std::string& value : {std::string("http://evil.example"), std::string("null"), std::string("http://localhost"),
                                     "http://127.0.0.1:" + port, "http://localhost:" + port + ".evil.example"})
      CHECK_MESSAGE(origin(value) == 403, value);
    CHECK(test.fake->started == 2);
  }

  TEST_CASE("server requests: paths, methods and bodies that are none of ours") {
    TestServer test;
    CHECK(ask(test.port(), "GET", "/nothing").status == 404);
    CHECK(ask(test.port(), "GET", "/app/web/app.js").status == 404);
    CHECK(ask(test.port(), "GET", "/../../etc/passwd").status == 404);
    const RawResponse get = ask(test.port(), "GET", kChat);
    CHECK(get.status == 405);
    CHECK(get.headers.at("allow") == "POST");
    for (const char* method : {"PUT", "DELETE", "OPTIONS", "PATCH"})
      CHECK(ask(test.port(), method, kChat).status == 405);
    const auto raw = [&](const std::string& headers, const std::string& body) {
      RawClient client(test.port());
      client.send("POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n" + body);
      return client.receive().status;
    };
    const std::string body = TestServer::chat_body("say yes"), length = "Content-Length: " + std::to_string(body.size()) + "\r\n";
    const std::string type = "Content-Type: application/json\r\n";
    CHECK(raw(length + type, body) == 200);
    CHECK(raw(length + "Content-Type: application/json; charset=utf-8\r\n", body) == 200);
    CHECK(raw(length + "Content-Type: text/plain\r\n", body) == 415);
    CHECK(raw(length, body) == 415);
    CHECK(raw(type, body) == 411);
    CHECK(raw(type + "Transfer-Encoding: chunked\r\n", "0\r\n\r\n") == 411);
    CHECK(raw(type + length + length, body) == 400);
    CHECK(raw(type + "Content-Length: 5x\r\n", body) == 400);
    CHECK(raw(type + "Content-Length: -5\r\n", body) == 400);
    CHECK(raw(type + length + "Content-Encoding: gzip\r\n", body) == 415);
    for (const char* bad : {"NONSENSE\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\x16\x03\x01\r\n\r\n"}) {
      RawClient client(test.port());
      client.send(bad);
      CHECK(client.receive().status == 400);
    }
    CHECK(code(ask(test.port(), "POST", kChat, "{")) == "invalid_json");
    CHECK(test.fake->started == 2);
  }

  TEST_CASE("server requests: a connection serves one after the other, and what was not read is never taken for a request") {
    TestServer test;
    RawClient client(test.port());
    client.send(request_text("GET", "/health") + request_text("POST", kChat, TestServer::chat_body("say one")) +
                request_text("GET", "/health"));
    CHECK(client.receive().body == R"({"status":"ok"})");
    CHECK(json::parse(client.receive().body)["choices"][0]["message"]["content"] == "one");
    CHECK(client.receive().status == 200);
    const std::string inside = request_text("POST", kChat, TestServer::chat_body("say smuggled"));
    RawClient refused(test.port());
    refused.send("POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(inside.size()) + "\r\n\r\n" +
                 inside);
    CHECK(refused.receive().status == 404);
    CHECK(refused.receive(milliseconds(3000)).status == 0);
    CHECK(test.fake->started == 1);
  }

  TEST_CASE("server page: the files of app/web, byte for byte, with the policy they are made for") {
    TestServer test;
    const std::string folder = source_dir() + "/app/web/";
    std::string policy = read_file(folder + "policy.txt");
    policy.pop_back();
    for (const auto& [path, file, type] :
         std::vector<std::tuple<std::string, std::string, std::string>>{{"/", "index.html", "text/html"},
                                                                        {"/app.css", "app.css", "text/css"},
                                                                        {"/app.js", "app.js", "text/javascript"},
                                                                        {"/markdown.js", "markdown.js", "text/javascript"}}) {
      const RawResponse response = ask(test.port(), "GET", path, "", "Accept-Encoding: gzip\r\nRange: bytes=0-3\r\n");
      CHECK(response.status == 200);
      CHECK(response.body == read_file(folder + file));
      CHECK(response.headers.at("content-type") == type + "; charset=utf-8");
      CHECK(response.headers.at("content-security-policy") == policy);
      CHECK(response.headers.at("x-content-type-options") == "nosniff");
    }
  }
}
