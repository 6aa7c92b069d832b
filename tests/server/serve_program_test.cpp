// The program `vl2 serve` itself, with the demo model.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include "tests/server/raw_client.h"
#include "tests/support/paths.h"
#include "tests/support/program.h"
#include "tests/support/schema_validator.h"

using namespace vl2;
using namespace vl2::server;
using nlohmann::json;

namespace {

// `vl2 serve` as a child process; its port is read from what it prints.
class Program {
 public:
  explicit Program(std::vector<std::string> arguments) {
    int out[2];
    REQUIRE(::pipe(out) == 0);
    child_ = ::fork();
    if (child_ == 0) {
      ::dup2(out[1], 1);
      ::close(out[0]);
      std::vector<char*> list;
      const std::string program = program_path();
      list.push_back(const_cast<char*>(program.c_str()));
      for (std::string& argument : arguments)
        list.push_back(argument.data());
      list.push_back(nullptr);
      ::execv(program.c_str(), list.data());
      ::_exit(127);
    }
    ::close(out[1]);
    FILE* const lines = ::fdopen(out[0], "r");
    char line[200] = "";
    REQUIRE(std::fgets(line, sizeof(line), lines) != nullptr);
    std::fclose(lines);
    const std::string text = line;
    CHECK(text.rfind("http://127.0.0.1:", 0) == 0);
    port = static_cast<uint16_t>(std::stoi(text.substr(text.rfind(':') + 1)));
  }
  ~Program() {
    if (child_ > 0)
      end(SIGKILL);
  }

  // Its exit status; minus the signal when that ended it.
  int end(int signal) {
    ::kill(child_, signal);
    int status = 0;
    ::waitpid(std::exchange(child_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

  uint16_t port = 0;

 private:
  pid_t child_ = -1;
};

std::string base64(const std::string& bytes) {
  static constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k)
      bits = bits << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k)
      text += i + k <= bytes.size() ? kLetters[bits >> (18 - 6 * k) & 63] : '=';
  }
  return text;
}

json user(const std::string& text, const std::vector<std::string>& pictures) {
  json parts = json::array();
  for (const std::string& name : pictures)
    parts.push_back(
        {{"type", "image_url"},
         {"image_url", {{"url", "data:image/png;base64," + base64(read_file(source_dir() + "/app/demo/pictures/" + name))}}}});
  parts.push_back({{"type", "text"}, {"text", text}});
  return {{"role", "user"}, {"content", parts}};
}

json answer_of(uint16_t port, const json& messages, const json& more = json::object()) {
  json body = {{"messages", messages}};
  body.update(more);
  RawClient client(port);
  client.send(request_text("POST", "/v1/chat/completions", body.dump()));
  const RawResponse response = client.receive(std::chrono::minutes(2));
  REQUIRE_MESSAGE(response.status == 200, response.body);
  return json::parse(response.body);
}

}  // namespace

TEST_SUITE("program") {
  TEST_CASE("serve: the demo model answers its questions over HTTP, with boxes, and a second question reads only what is new") {
    Program program({"serve", "-m", source_dir() + "/app/demo/pico", "--port", "0", "-q", "--parallel", "2"});
    CHECK(ask(program.port, "GET", "/health").body == R"({"status":"ok"})");
    const json total = user("What is the total?", {"receipt.png"});
    const json first = answer_of(program.port, json::array({total}));
    CHECK(first["choices"][0]["message"]["content"] == "$641.56");
    CHECK(first["choices"][0]["finish_reason"] == "stop");
    CHECK(first["model"] == "pico");

    const json found =
        answer_of(program.port, json::array({user("<|ref|>the blue circle<|/ref|>.", {"scene.png"})}), {{"logprobs", true}});
    CHECK(found["choices"][0]["message"]["content"] == "the blue circle");
    REQUIRE(found["vl2"]["boxes"].size() == 1);
    CHECK(found["vl2"]["boxes"][0]["label"] == "the blue circle");
    CHECK(found["vl2"]["boxes"][0]["box"] == json{637, 665, 905, 927});
    CHECK(found["vl2"]["boxes"][0]["probability"] > 0);
    CHECK(found["choices"][0]["logprobs"]["content"].size() == found["usage"]["completion_tokens"]);

    const json again = answer_of(
        program.port, json::array({total, {{"role", "assistant"}, {"content", "$641.56"}}, user("What is the total?", {})}));
    CHECK(again["usage"]["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"]);
    const json fresh = answer_of(program.port, json::array({total}), {{"seed", 7}});
    CHECK(fresh["usage"]["prompt_tokens_details"]["cached_tokens"] == 0);
    CHECK(fresh["choices"][0]["message"]["content"] == "$641.56");
    CHECK(program.end(SIGTERM) == 0);
  }

  TEST_CASE("serve: another question about a picture goes on behind it, and no picture is encoded twice") {
    Program program({"serve", "-m", source_dir() + "/app/demo/pico", "--port", "0", "-q", "--parallel", "3", "-c", "1500"});
    const auto cached = [](const json& answer) {
      return answer["usage"]["prompt_tokens_details"]["cached_tokens"].get<uint32_t>();
    };
    const auto text = [](const json& answer) { return answer["choices"][0]["message"]["content"].get<std::string>(); };
    const auto metric = [&](const std::string& name) {
      const std::string all = ask(program.port, "GET", "/metrics").body, line = "\n" + name + " ";
      const size_t at = all.find(line);
      REQUIRE_MESSAGE(at != std::string::npos, name);
      return std::stod(all.substr(at + line.size()));
    };
    const auto question = [](const std::string& words, const std::string& picture) {
      return json::array({user(words, {picture})});
    };
    CHECK(text(answer_of(program.port, question("What is the total?", "receipt.png"))) == "$641.56");
    CHECK(metric("vl2_picture_cache_misses_total") == 1);
    CHECK(metric("vl2_encode_seconds_count") == 1);
    // A picture of as many tokens: all of it is read. The slots that are free get it, the receipt stays.
    CHECK(cached(answer_of(program.port, question("What is the total?", "form.png"))) < 10);
    CHECK(metric("vl2_picture_cache_misses_total") == 2);
    const json second = answer_of(program.port, question("What is the date?", "receipt.png"));
    CHECK(cached(second) > 421);
    // The question in front of the picture, and a seed, which wants the bits of a new conversation: the picture is read again, but
    // encoded it is not.
    const json parts =
        json::array({{{"type", "text"}, {"text", "What is the total?"}}, question("", "receipt.png")[0]["content"][0]});
    const json behind = answer_of(program.port, json::array({{{"role", "user"}, {"content", parts}}}));
    CHECK(cached(behind) < 20);
    const json fresh = answer_of(program.port, question("What is the total?", "receipt.png"), {{"seed", 7}});
    CHECK(cached(fresh) == 0);
    CHECK(text(fresh) == "$641.56");
    CHECK(metric("vl2_picture_cache_misses_total") == 2);
    CHECK(metric("vl2_picture_cache_hits_total") == 2);
    CHECK(metric("vl2_encode_seconds_count") == 2);
    CHECK(metric("vl2_picture_cache_pictures") == 2);
    CHECK(metric("vl2_picture_cache_beginnings") == 3);  // the third has a question in front
    CHECK(metric("vl2_picture_cache_bytes") > 2 * 421 * 256 * 4);
    // Three pictures are not cut, and are others than the tiled ones; a receipt of one tile is the same either way.
    const json three =
        answer_of(program.port, json::array({user("What is the total?", {"receipt.png", "form.png", "scene.png"})}));
    CHECK(cached(three) > 421);  // what the slot has of the receipt
    CHECK(metric("vl2_picture_cache_misses_total") == 3);
    CHECK(program.end(SIGTERM) == 0);
  }

  TEST_CASE("serve: with a response_format the demo model answers in JSON of it, and in words again without") {
    Program program({"serve", "-m", source_dir() + "/app/demo/pico", "--port", "0", "-q"});
    const json question = json::array({user("What is the total?", {"receipt.png"})});
    const json rules = json::parse(
        R"({"type":"object","properties":{"total":{"type":"string","maxLength":12},"currency":{"enum":["USD","EUR"]},"items":
           {"type":"array","items":{"type":"integer"},"maxItems":2}},"required":["total","currency"],"additionalProperties":false})");
    const auto format = [](const json& schema) {
      return json{{"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "n"}, {"schema", schema}}}}}};
    };
    for (const double temperature : {0.0, 2.0}) {
      json more = format(rules);
      more["temperature"] = temperature;
      const json answer = answer_of(program.port, question, more);
      const std::string text = answer["choices"][0]["message"]["content"];
      CHECK(answer["choices"][0]["finish_reason"] == "stop");
      const json value = json::parse(text, nullptr, false);
      REQUIRE_MESSAGE(!value.is_discarded(), text);
      CHECK_MESSAGE(satisfies(value, rules, rules), text);
    }
    json cut = format(rules);
    cut["max_tokens"] = 3;
    CHECK(answer_of(program.port, question, cut)["choices"][0]["finish_reason"] == "length");
    const json any = answer_of(program.port, question, {{"response_format", {{"type", "json_object"}}}, {"max_tokens", 20}});
    const std::string begun = any["choices"][0]["message"]["content"];
    CHECK(begun.find('{') <= 1);
    CHECK(answer_of(program.port, question)["choices"][0]["message"]["content"] == "$641.56");
    CHECK(program.end(SIGTERM) == 0);
  }

  TEST_CASE("serve: what the model refuses is a 400 with its line, and the next question is answered") {
    Program program({"serve", "-m", source_dir() + "/app/demo/pico", "--port", "0", "-q", "-c", "1000"});
    std::string broken = read_file(source_dir() + "/app/demo/pictures/receipt.png");
    broken.resize(broken.size() / 2);
    const auto refused = [&](const json& message) {
      const json body = {{"messages", json::array({message})}};
      const RawResponse response = ask(program.port, "POST", "/v1/chat/completions", body.dump());
      CHECK(response.status == 400);
      return json::parse(response.body)["error"];
    };
    const json url = {{"url", "data:image/png;base64," + base64(broken)}};
    const json cut = json::array({{{"type", "image_url"}, {"image_url", url}}, {{"type", "text"}, {"text", "q"}}});
    CHECK(refused({{"role", "user"}, {"content", cut}})["message"].get<std::string>().rfind("messages[0]: ", 0) == 0);
    CHECK(refused({{"role", "user"}, {"content", "<image> what?"}})["message"].get<std::string>().find("<image>") !=
          std::string::npos);
    std::string words;
    for (int i = 0; i < 1200; ++i)
      words += " x";
    CHECK(refused({{"role", "user"}, {"content", words}})["code"] == "context_length_exceeded");
    CHECK(answer_of(program.port,
                    json::array({user("What is the total?", {"receipt.png"})}))["choices"][0]["message"]["content"] == "$641.56");
    CHECK(program.end(SIGINT) == 0);
  }

  // Answers that are given at the same time share their steps.
  TEST_CASE("serve: 16 clients on 4 slots get 72 times the answer that each question has alone") {
    Program program({"serve", "-m", source_dir() + "/app/demo/pico", "--port", "0", "-q", "--parallel", "4", "-c", "512"});
    struct Question {
      json messages, more;
      std::string answer;
    };
    std::vector<Question> questions;
    for (const char* text : {"What is the total?", "How many circles are there?", "Read the first line.", "A"})
      for (const int seed : {0, 1, 2})
        questions.push_back(
            {json::array({user(text, {})}),
             seed == 0 ? json{{"max_tokens", 10}} : json{{"max_tokens", 4 + 5 * seed}, {"temperature", 1.0}, {"seed", seed}},
             ""});
    const auto text_of = [](const json& answer) { return answer["choices"][0]["message"]["content"].get<std::string>(); };
    for (Question& question : questions)
      question.answer = text_of(answer_of(program.port, question.messages, question.more));

    const auto metric = [&](const std::string& name) {
      const std::string metrics = ask(program.port, "GET", "/metrics").body;
      const size_t at = metrics.find("\n" + name + " ");
      REQUIRE(at != std::string::npos);
      return std::stod(metrics.substr(at + name.size() + 2));
    };
    const double steps_alone = metric("vl2_decode_steps_total"), answers_alone = metric("vl2_decode_step_answers_total");
    CHECK(answers_alone == steps_alone);

    constexpr uint32_t kClients = 16, kRequests = 72;  // each question six times
    std::atomic<uint32_t> begun{0}, right{0}, wrong{0}, lost{0};
    std::vector<std::thread> clients;
    for (uint32_t i = 0; i < kClients; ++i)
      clients.emplace_back([&] {
        for (uint32_t number = begun++; number < kRequests; number = begun++) {
          const Question& question = questions[number * 7 % questions.size()];
          json body = {{"messages", question.messages}};
          body.update(question.more);
          RawClient client(program.port);
          client.send(request_text("POST", "/v1/chat/completions", body.dump()));
          const RawResponse response = client.receive(std::chrono::minutes(5));
          const json answer = json::parse(response.body, nullptr, false);
          ++(response.status != 200 || answer.is_discarded() ? lost : text_of(answer) == question.answer ? right : wrong);
        }
      });
    for (std::thread& client : clients)
      client.join();
    CHECK(right == kRequests);
    CHECK(wrong == 0);
    CHECK(lost == 0);
    const double steps = metric("vl2_decode_steps_total") - steps_alone,
                 answers = metric("vl2_decode_step_answers_total") - answers_alone;
    MESSAGE((answers / steps), " answers a step, ", steps, " steps");
    CHECK(answers > 2 * steps);  // turns would be 1
    CHECK(metric("vl2_slots_busy") == 0);
    CHECK(program.end(SIGTERM) == 0);
  }

  TEST_CASE("serve: a client that leaves while its picture is read frees its slot long before the picture is through") {
    Program program(
        {"serve", "-m", source_dir() + "/app/demo/pico", "--port", "0", "-q", "--parallel", "1", "--picture-cache", "0"});
    using Clock = std::chrono::steady_clock;
    const auto seconds_since = [](Clock::time_point start) {
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    const auto busy = [&] { return ask(program.port, "GET", "/metrics").body.find("\nvl2_slots_busy 1\n") != std::string::npos; };
    const json messages = json::array({user("What is the total?", {"receipt.png"})});
    const json body = {{"messages", messages}, {"max_tokens", 1}, {"seed", 1}};
    answer_of(program.port, messages, {{"max_tokens", 1}, {"seed", 1}});  // makes pipelines
    const auto start = Clock::now();
    answer_of(program.port, messages, {{"max_tokens", 1}, {"seed", 1}});
    const double whole = seconds_since(start);
    std::vector<double> held;
    for (const double part :
         {0.05, 0.12, 0.2}) {  // the encoder is 0.6 of it; then a chunk of the prompt is read, which is not given up
      const auto asked = Clock::now();
      {
        RawClient client(program.port);
        client.send(request_text("POST", "/v1/chat/completions", body.dump()));
        while (!busy() && seconds_since(asked) < whole)
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::this_thread::sleep_for(std::chrono::duration<double>(part * whole));
        client.close();
      }
      const auto left = Clock::now();
      while (busy() && seconds_since(left) < 60)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      held.push_back(seconds_since(left));
    }
    std::sort(held.begin(), held.end());  // one of three may meet a machine that is busy elsewhere
    MESSAGE("a picture takes ", whole, " s; the slot was free ", held[1], " s after the client had left");
    // Seen on lavapipe: 0.03 of `whole`. With an encoder that could not be given up, leaving after 0.1 of it: 0.6.
    CHECK(held[1] < 0.3 * whole);
    CHECK(answer_of(program.port, messages)["choices"][0]["message"]["content"] == "$641.56");
    CHECK(program.end(SIGTERM) == 0);
  }

  TEST_CASE("serve: refuses an open door without a key, a port in use, a model that is not there") {
    const std::string model = source_dir() + "/app/demo/pico";
    const ProgramResult open = run_program({"serve", "-m", model, "--host", "0.0.0.0", "--port", "0"});
    CHECK(open.exit_status == 2);
    CHECK(open.err.find("--api-key") != std::string::npos);
    const ProgramResult missing = run_program({"serve", "-m", "/nowhere/at/all", "--port", "0", "-q"});
    CHECK(missing.exit_status == 2);
    CHECK(missing.err.find("/nowhere/at/all") != std::string::npos);
    Program program({"serve", "-m", model, "--port", "0", "-q"});
    const ProgramResult taken = run_program({"serve", "-m", model, "--port", std::to_string(program.port)});
    CHECK(taken.exit_status == 2);
    CHECK(taken.err.find(std::to_string(program.port)) != std::string::npos);
  }
}
