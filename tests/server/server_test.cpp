// Questions and answers over real sockets, with a model that is none.
#include "tests/server/server_fixture.h"

using namespace vl2;
using namespace vl2::server;
using nlohmann::json;
using std::chrono::milliseconds;

namespace {

constexpr const char* kChat = "/v1/chat/completions";

json parsed(const RawResponse& response) {
  return json::parse(response.body, nullptr, false);
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("server: an answer in one piece") {
    TestServer test;
    const RawResponse response = test.chat("say yes it is");
    REQUIRE(response.status == 200);
    CHECK(response.headers.at("content-type") == "application/json");
    const json out = parsed(response);
    CHECK(out["object"] == "chat.completion");
    CHECK(out["id"].get<std::string>().rfind("chatcmpl-", 0) == 0);
    CHECK(out["model"] == "fake");
    CHECK(out["choices"].size() == 1);
    CHECK(out["choices"][0]["message"] == json{{"role", "assistant"}, {"content", "yes it is"}, {"refusal", nullptr}});
    CHECK(out["choices"][0]["finish_reason"] == "stop");
    CHECK(out["choices"][0]["logprobs"].is_null());
    CHECK(out["usage"]["prompt_tokens"] == 4);
    CHECK(out["usage"]["completion_tokens"] == 3);
    CHECK(out["usage"]["total_tokens"] == 7);
    CHECK(out["vl2"]["boxes"] == json::array());
  }

  TEST_CASE("server: the same answer as a stream") {
    TestServer test;
    const RawResponse response = test.chat("say yes it is", R"(,"stream":true,"stream_options":{"include_usage":true})");
    REQUIRE(response.status == 200);
    CHECK(response.headers.at("content-type") == "text/event-stream");
    CHECK(response.body.substr(response.body.size() - 14) == "data: [DONE]\n\n");
    const std::vector<json> all = events(response.body);
    REQUIRE(all.size() == 6);
    CHECK(all[0]["choices"][0]["delta"] == json{{"role", "assistant"}, {"content", ""}});
    std::string text;
    for (size_t i = 0; i < 5; ++i) {
      CHECK(all[i]["object"] == "chat.completion.chunk");
      CHECK(all[i]["id"] == all[0]["id"]);
      CHECK(all[i]["usage"].is_null());
      CHECK(all[i]["choices"][0]["finish_reason"] == (i == 4 ? json("stop") : json()));
      text += all[i]["choices"][0]["delta"].value("content", "");
    }
    CHECK(text == "yes it is");
    CHECK(all[5]["choices"] == json::array());
    CHECK(all[5]["usage"]["completion_tokens"] == 3);
    for (const json& event : events(test.chat("say yes", R"(,"stream":true)").body))
      CHECK_FALSE(event.contains("usage"));
  }

  TEST_CASE("server: boxes come as they are found, the text without them; or with them, when asked for") {
    TestServer test;
    const json box1 = {{"label", "a cat"}, {"box", {1, 2, 3, 4}}, {"pixels", {10, 20, 30, 40}}, {"picture", 0}};
    const json box2 = {{"label", "a dog"}, {"box", {5, 6, 7, 8}}, {"pixels", {50, 60, 70, 80}}, {"picture", 0}};
    const std::string tagged =
        "See <|ref|>a cat<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|> and <|ref|>a dog<|/ref|><|det|>[[5, 6, 7, 8]]<|/det|>.";
    const json whole = parsed(test.chat("boxes"));
    CHECK(whole["choices"][0]["message"]["content"] == "See a cat and a dog.");
    CHECK(whole["vl2"]["boxes"] == json{box1, box2});
    CHECK(whole["vl2"]["tagged_text"] == tagged);
    CHECK(parsed(test.chat("boxes", R"(,"vl2":{"tags":true})"))["choices"][0]["message"]["content"] == tagged);

    std::string text, text_at_first_box;
    std::vector<json> lists;
    for (const json& event : events(test.chat("boxes", R"(,"stream":true)").body)) {
      text += event["choices"][0]["delta"].value("content", "");
      if (!event.contains("vl2"))
        continue;
      lists.push_back(event["vl2"]["boxes"]);
      if (lists.size() == 1)
        text_at_first_box = text;
    }
    CHECK(text == "See a cat and a dog.");
    CHECK(lists == std::vector<json>{{box1}, {box1, box2}, {box1, box2}});
    CHECK(text_at_first_box == "See a cat");
  }

  TEST_CASE("server: stop, max_tokens, logprobs") {
    TestServer test;
    const json stopped = parsed(test.chat("say one two three four", R"(,"stop":["hre"])"));
    CHECK(stopped["choices"][0]["message"]["content"] == "one two t");
    CHECK(stopped["choices"][0]["finish_reason"] == "stop");
    CHECK(stopped["usage"]["completion_tokens"] == 3);
    const json cut = parsed(test.chat("say one two three four", R"(,"max_tokens":2)"));
    CHECK(cut["choices"][0]["message"]["content"] == "one two");
    CHECK(cut["choices"][0]["finish_reason"] == "length");
    CHECK(cut["vl2"]["stop"] == "max_tokens");
    CHECK(stopped["vl2"]["stop"] == "stop_text");
    const json loop = parsed(test.chat("loop"));  // OpenAI has no word for it
    CHECK(loop["choices"][0]["finish_reason"] == "length");
    CHECK(loop["vl2"]["stop"] == "loop");
    CHECK(loop["usage"]["completion_tokens"] == 3);
    const json forever = parsed(test.chat("loop", R"(,"vl2":{"loop_guard":false})"));
    CHECK(forever["choices"][0]["finish_reason"] == "stop");
    CHECK(forever["vl2"]["stop"] == "eos");
    CHECK(forever["usage"]["completion_tokens"] == 5);
    CHECK(test.chat("loop", R"(,"vl2":{"loop_guard":1})").status == 400);
    CHECK(test.chat("loop", R"(,"vl2":{"include_usage":true})").status == 400);
    const json probable = parsed(test.chat("say one two", R"(,"logprobs":true,"top_logprobs":2)"));
    const json& tokens = probable["choices"][0]["logprobs"]["content"];
    REQUIRE(tokens.size() == 2);
    CHECK(tokens[1]["token"] == " two");
    CHECK(tokens[1]["bytes"] == json{32, 116, 119, 111});
    CHECK(tokens[1]["logprob"] == -0.5);
    REQUIRE(tokens[1]["top_logprobs"].size() == 2);
    CHECK(tokens[1]["top_logprobs"][0]["token"] == " two");
    CHECK(tokens[1]["top_logprobs"][1]["logprob"] == -1.5);
    size_t streamed = 0;
    for (const json& event : events(test.chat("boxes", R"(,"logprobs":true,"stream":true)").body))
      if (event["choices"][0]["logprobs"].is_object())
        streamed += event["choices"][0]["logprobs"]["content"].size();
    CHECK(streamed == 17);  // those of tags and numbers, too
  }

  TEST_CASE("server: what the model says of a request is OpenAI's error with the right status") {
    TestServer test;
    for (const auto& [kind, status, code] :
         std::vector<std::tuple<std::string, int, json>>{{"request", 400, nullptr},
                                                         {"full", 400, "context_length_exceeded"},
                                                         {"memory", 503, "out_of_memory"},
                                                         {"lost", 503, "device_lost"},
                                                         {"device", 500, nullptr}}) {
      for (const char* stream : {"", R"(,"stream":true)"}) {
        const RawResponse response = test.chat("fail " + kind, stream);
        CHECK(response.status == status);
        CHECK(parsed(response)["error"]["message"] == "fake: " + kind);
        CHECK(parsed(response)["error"]["code"] == code);
      }
    }
    CHECK(becomes_true([&] { return test.fake->active == 0; }));
    CHECK(test.chat("say yes").status == 200);
    const RawResponse model = test.chat("say yes", R"(,"model":"gpt-4")");
    CHECK(model.status == 404);
    CHECK(parsed(model)["error"]["code"] == "model_not_found");
    CHECK(test.chat("say yes", R"(,"model":"fake")").status == 200);
  }

  TEST_CASE("server: a device that is lost in the middle of an answer") {
    TestServer test;
    CHECK(test.chat("break 3").status == 503);
    const std::vector<json> all = events(test.chat("break 3", R"(,"stream":true)").body);
    REQUIRE(all.size() == 5);
    CHECK(all[4]["error"]["code"] == "device_lost");
    CHECK(test.chat("break 3", R"(,"stream":true)").body.find("[DONE]") == std::string::npos);
    CHECK(test.fake->active == 0);
  }

  TEST_CASE("server: slots work side by side, the queue is first come, first served, and a full one says when to come back") {
    TestServer test([](ServerOptions& options) {
      options.slots = 2;
      options.most_waiting = 3;
    });
    std::vector<std::unique_ptr<RawClient>> clients;
    const auto add = [&](const std::string& text) {
      clients.push_back(std::make_unique<RawClient>(test.port()));
      clients.back()->send(request_text("POST", kChat, TestServer::chat_body(text)));
    };
    add("hold");
    add("hold");
    CHECK(becomes_true([&] { return test.fake->active == 2; }));
    for (int i = 0; i < 3; ++i) {
      add("say " + std::to_string(i));
      CHECK(becomes_true([&] { return test.metric("vl2_requests_waiting") == i + 1; }));
    }
    const RawResponse full = test.chat("say too much");
    CHECK(full.status == 429);
    CHECK(parsed(full)["error"]["code"] == "queue_full");
    CHECK(parsed(full)["error"]["type"] == "rate_limit_error");
    CHECK(std::stoi(full.headers.at("retry-after")) >= 1);
    CHECK(test.fake->started == 2);
    test.fake->release();
    for (size_t i = 0; i < clients.size(); ++i)
      CHECK(parsed(clients[i]->receive())["choices"][0]["message"]["content"] == (i < 2 ? "held" : std::to_string(i - 2)));
    CHECK(test.fake->most_active == 2);
  }

  TEST_CASE(
      "server: a client that leaves frees its slot within a token, or its place in the queue, or the reading of its prompt") {
    TestServer test([](ServerOptions& options) { options.slots = 1; });
    for (const char* stream : {R"(,"stream":true)", ""}) {
      RawClient client(test.port());
      client.send(request_text("POST", kChat, TestServer::chat_body("count 100000 2", stream)));
      const int before = test.fake->tokens;
      CHECK(becomes_true([&] { return test.fake->tokens > before + 3; }));
      client.close();
      CHECK(becomes_true([&] { return test.fake->active == 0; }));
      const int after = test.fake->tokens;
      std::this_thread::sleep_for(milliseconds(50));
      CHECK(test.fake->tokens == after);
    }
    RawClient reading(test.port()), waiting(test.port());
    reading.send(request_text("POST", kChat, TestServer::chat_body("hold")));
    CHECK(becomes_true([&] { return test.fake->active == 1; }));
    waiting.send(request_text("POST", kChat, TestServer::chat_body("say never")));
    CHECK(becomes_true([&] { return test.metric("vl2_requests_waiting") == 1; }));
    const int started = test.fake->started;
    waiting.close();
    CHECK(becomes_true([&] { return test.metric("vl2_requests_waiting") == 0; }));
    reading.close();
    CHECK(becomes_true([&] { return test.fake->active == 0; }));
    CHECK(test.fake->started == started);
    CHECK(test.chat("say yes").status == 200);
    CHECK(becomes_true([&] { return test.metric(R"(vl2_requests_total{path="/v1/chat/completions",status="499"})") == 4; }));
  }

  TEST_CASE("server: many clients, some of which leave at random, and every other answer is the right one") {
    TestServer test([](ServerOptions& options) { options.slots = 4; });
    std::atomic<int> right{0}, wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 16; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 40; ++i) {
          const std::string word = std::to_string(t) + "-" + std::to_string(i);
          if ((t * 7 + i) % 3 == 0) {
            RawClient client(test.port());
            client.send(request_text("POST", kChat, TestServer::chat_body("count 50 1", R"(,"stream":true)")));
            if (i % 2 == 0)
              client.wait_for("data:", milliseconds(50));
            continue;
          }
          const RawResponse response = test.chat("say the word " + word);
          const json out = json::parse(response.body, nullptr, false);
          const bool good = response.status == 200 && out["choices"][0]["message"]["content"] == "the word " + word;
          ++(good ? right : wrong);
        }
      });
    for (std::thread& thread : threads)
      thread.join();
    CHECK(wrong == 0);
    CHECK(right > 400);
    CHECK(becomes_true([&] { return test.fake->active == 0 && test.metric("vl2_requests_waiting") == 0; }));
    CHECK(test.fake->most_active == 4);
  }

  TEST_CASE("server: before its model is there it says so, then it answers") {
    ServerOptions options;
    options.http.port = 0;
    options.slots = 3;
    std::string error;
    const auto server = ChatServer::start(options, error);
    REQUIRE(server != nullptr);
    const RawResponse loading = ask(server->port(), "GET", "/health");
    CHECK(loading.status == 503);
    CHECK(loading.body == R"({"status":"loading"})");
    const RawResponse chat = ask(server->port(), "POST", kChat, TestServer::chat_body("say yes"));
    CHECK(chat.status == 503);
    CHECK(parsed(chat)["error"]["code"] == "loading");
    CHECK(ask(server->port(), "GET", "/").status == 200);
    auto fake = std::make_unique<FakeBackend>();
    fake->most_slots = 2;  // of three
    FakeBackend& model = *fake;
    REQUIRE_FALSE(server->set_backend(std::move(fake)).has_value());
    CHECK(server->slot_count() == 2);
    CHECK(ask(server->port(), "GET", "/health").body == R"({"status":"degraded"})");
    CHECK(ask(server->port(), "POST", kChat, TestServer::chat_body("say yes")).status == 200);
    model.health_state = BackendHealth::Lost;
    std::this_thread::sleep_for(milliseconds(1100));  // it asks once a second
    CHECK(ask(server->port(), "GET", "/health").status == 503);
    CHECK(ask(server->port(), "GET", "/health").body == R"({"status":"lost"})");
  }

  TEST_CASE("server: a drain answers what is there, takes nothing new, and ends what takes too long") {
    {
      TestServer test;
      RawClient client(test.port());
      client.send(request_text("POST", kChat, TestServer::chat_body("count 30 10", R"(,"stream":true)")));
      CHECK(client.wait_for("content\":\" 1"));
      std::thread drain([&] { CHECK(test.server->drain(milliseconds(20000))); });
      std::this_thread::sleep_for(milliseconds(50));
      CHECK(ask(test.port(), "GET", "/health").status == 0);
      CHECK(client.wait_for("[DONE]"));
      drain.join();
      CHECK(client.closes_within(milliseconds(5000)));
    }
    TestServer test;
    RawClient running(test.port()), waiting(test.port());
    running.send(request_text("POST", kChat, TestServer::chat_body("count 100000 5", R"(,"stream":true)")));
    CHECK(running.wait_for("content\":\" 1"));
    waiting.send(request_text("POST", kChat, TestServer::chat_body("say never")));
    CHECK(becomes_true([&] { return test.metric("vl2_requests_waiting") == 1; }));
    const auto start = std::chrono::steady_clock::now();
    CHECK_FALSE(test.server->drain(milliseconds(200)));
    CHECK(std::chrono::steady_clock::now() - start < milliseconds(3000));
    CHECK(waiting.receive().status == 503);
    CHECK(running.wait_for("shutting_down"));
  }

  TEST_CASE("server: the pictures that the model keeps are in the metrics") {
    TestServer test;
    test.fake->kept = {3, 1000, 2000, 7, 5, 2, 4, 9};
    CHECK(test.metric("vl2_picture_cache_beginnings") == 4);
    CHECK(test.metric("vl2_beginning_hits_total") == 9);
    CHECK(test.metric("vl2_picture_cache_hits_total") == 7);
    CHECK(test.metric("vl2_picture_cache_misses_total") == 5);
    CHECK(test.metric("vl2_picture_cache_evictions_total") == 2);
    CHECK(test.metric("vl2_picture_cache_pictures") == 3);
    CHECK(test.metric("vl2_picture_cache_bytes") == 1000);
    CHECK(test.metric("vl2_picture_cache_limit_bytes") == 2000);
    const std::string text = ask(test.port(), "GET", "/metrics").body;
    CHECK(text.find("# TYPE vl2_picture_cache_hits_total counter\n") != std::string::npos);
    CHECK(text.find("# TYPE vl2_picture_cache_bytes gauge\n") != std::string::npos);
    CHECK(text.find("# TYPE vl2_slots gauge\n") != std::string::npos);
  }

  TEST_CASE("server: models, plan, tokenize, metrics") {
    TestServer test([](ServerOptions& options) { options.slots = 2; });
    const json model = parsed(ask(test.port(), "GET", "/v1/models"))["data"][0];
    CHECK(model["id"] == "fake");
    CHECK(model["vl2"]["context"] == 4096);
    CHECK(model["vl2"]["slots"] == 2);
    CHECK(model["vl2"]["max_pictures"] == 8);
    const auto plan = [&](const std::string& images) {
      return ask(test.port(), "POST", "/v1/images/plan", R"({"images":)" + images + "}");
    };
    const json two = parsed(plan(R"([{"width":1000,"height":500},{"width":100,"height":100}])"));
    CHECK(two["images"][0] == json{{"width", 1000}, {"height", 500}, {"tiles_wide", 2}, {"tiles_high", 1}, {"tokens", 817}});
    CHECK(two["tokens"] == 817 + 421);
    CHECK(two["tiled"] == true);
    CHECK(two["context"] == 4096);
    CHECK(parsed(plan(R"([{"width":1000,"height":500},{"width":9,"height":9},{"width":9,"height":9}])"))["tiled"] == false);
    const std::string one = R"({"width":9,"height":9})";
    std::string eight = one;
    for (int i = 1; i < 8; ++i)
      eight += "," + one;
    CHECK(plan("[" + eight + "]").status == 200);
    CHECK(plan("[" + eight + "," + one + "]").status == 400);
    for (const char* bad : {"[]", "7", "[{}]", R"([{"width":0,"height":5}])", R"([{"width":5}])",
                            R"([{"width":1000,"height":1}])", R"([{"url":"http://x/y.png"}])", R"([{"width":-5,"height":5}])"})
      CHECK_MESSAGE(plan(bad).status == 400, bad);
    CHECK(parsed(ask(test.port(), "POST", "/tokenize", R"({"content":"a b a"})"))["tokens"].size() == 3);
    CHECK(ask(test.port(), "POST", "/tokenize", R"({"text":"a"})").status == 400);
    CHECK(test.chat("say a b c").status == 200);
    CHECK(test.metric(R"(vl2_requests_total{path="/v1/chat/completions",status="200"})") == 1);
    CHECK(test.metric("vl2_answer_tokens_total") == 3);
    CHECK(test.metric("vl2_prompt_tokens_total") == 4);
    CHECK(test.metric("vl2_prefill_seconds_sum") == doctest::Approx(0.002));
    CHECK(test.metric(R"(vl2_decode_seconds_bucket{le="0.003"})") == 1);
    CHECK(test.metric(R"(vl2_decode_seconds_bucket{le="0.001"})") == 0);
    CHECK(test.metric(R"(vl2_decode_seconds_bucket{le="+Inf"})") == 1);
    CHECK(test.metric("vl2_queue_seconds_count") == 1);
    CHECK(test.chat("say a b c", R"(,"stream":true)").status == 200);
    CHECK(test.metric(R"(vl2_requests_total{path="/v1/chat/completions",status="200"})") == 2);
    CHECK(test.metric("vl2_answer_tokens_total") == 6);
    CHECK(test.metric("vl2_slots_busy") == 0);
    CHECK(test.metric("vl2_slots") == 2);
  }

  TEST_CASE("server: who has an answer finds it counted, whole, in a stream or refused, however long counting takes") {
    std::atomic<int> counted{0}, counted_status{0};
    const auto whole = [](const HttpRequest&) { return HttpResponse{.body = "all"}; };
    const auto streams = [](bool to_its_end) {
      return [to_its_end](const HttpRequest&) {
        HttpResponse response;
        response.stream = [to_its_end](const HttpSend& send) { return send("a part") && to_its_end; };
        return response;
      };
    };
    std::string error;
    const auto server = HttpServer::open(
        {.port = 0},
        {{"GET", "/whole", true, whole}, {"GET", "/stream", true, streams(true)}, {"GET", "/left", true, streams(false)}},
        [&](std::string_view, int status) {
          std::this_thread::sleep_for(milliseconds(50));
          counted_status = status;
          ++counted;
        },
        error);
    REQUIRE_MESSAGE(server != nullptr, error);
    server->run();
    int asked = 0;
    for (const auto& [path, status] :
         {std::pair{"/whole", 200}, {"/stream", 200}, {"/other", 404}, {"/left", 499}, {"/whole", 200}}) {
      const std::string tried = path;
      CAPTURE(tried);
      CHECK(ask(server->port(), "GET", path).status ==
            (status == 499 ? 0 : status));  // no end comes to who is thought to have left
      CHECK(counted.load() == ++asked);
      CHECK(counted_status.load() == status);
    }
  }
}
