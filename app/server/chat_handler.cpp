#include "app/server/chat_handler.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

#include "app/server/answer_text.h"

namespace vl2::server {

namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kClientLeft = 499;           // for the metrics; nobody reads it
constexpr float kLeastLogprob = -9999.0f;  // OpenAI's stand-in for minus infinity, which JSON lacks
constexpr int kMostRetryAfter = 120;       // s

std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

std::string new_id() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  char text[40];
  std::snprintf(text, sizeof(text), "chatcmpl-%016llx", static_cast<unsigned long long>(random()));
  return text;
}

json boxes_json(const std::vector<ChatBox>& boxes) {
  json out = json::array();
  for (const ChatBox& box : boxes) {
    json& one = out.emplace_back(json{{"label", box.label}, {"box", box.box}, {"pixels", box.pixels}, {"picture", box.picture}});
    if (box.probability >= 0)
      one["probability"] = box.probability;
  }
  return out;
}

// In OpenAI's words. It has none for an answer that repeated itself: as one that a limit ended, it is not whole.
const char* finish_reason(StopReason reason) {
  return reason == StopReason::End || reason == StopReason::Stopped ? "stop" : "length";
}

const char* stop_name(StopReason reason) {
  switch (reason) {
    case StopReason::End: return "eos";
    case StopReason::MaxTokens: return "max_tokens";
    case StopReason::ContextFull: return "context_full";
    case StopReason::Stopped: return "stopped";
    case StopReason::Loop: return "loop";
  }
  return "";
}

}  // namespace

HttpResponse refuse(const ApiError& error) {
  HttpResponse response{error.status, "application/json", error.json(), {}, {}};
  if (error.retry_after > 0)
    response.headers.emplace_back("Retry-After", std::to_string(error.retry_after));
  return response;
}

ApiError api_error(const BackendError& error) {
  using Kind = BackendError::Kind;
  switch (error.kind) {
    case Kind::Request:
    case Kind::NotFound: return ApiError::bad_request("messages", error.message);
    case Kind::ContextFull: return ApiError::bad_request("messages", error.message, "context_length_exceeded");
    case Kind::Cancelled: return ApiError::unavailable("the server is shutting down", "shutting_down", 5);
    case Kind::OutOfMemory: return ApiError::unavailable(error.message, "out_of_memory", 5);
    case Kind::DeviceLost: return {503, "server_error", error.message, {}, "device_lost"};
    case Kind::Device: break;
  }
  return ApiError::internal(error.message);
}

// An answer that is being given: its slot, its request, and what came of it so far.
class ChatHandler::Answer {
 public:
  Answer(ChatHandler& owner, ChatRequest asked, std::function<bool()> gone)
      : request(std::move(asked)), owner_(owner), gone_(std::move(gone)), text_(request.stop, request.tagged) {}

  ~Answer() { leave(); }

  // Counts what it took and frees its slot; what is known of it stays.
  void leave() {
    const auto lease = std::move(lease_);
    if (lease == nullptr)
      return;
    lease->slot().end();
    if (!started_)
      return;
    const ChatSummary sum = lease->slot().summary();
    Metrics& metrics = owner_.metrics_;
    if (sum.encode_ms > 0) {
      metrics.add_seconds(Phase::Resize, sum.resize_ms * 1e-3);
      metrics.add_seconds(Phase::Encode, sum.encode_ms * 1e-3);
    }
    metrics.add_seconds(Phase::Prefill, sum.prefill_ms * 1e-3);
    metrics.add_seconds(Phase::Decode, sum.decode_ms * 1e-3);
    metrics.add_tokens(sum.prompt_tokens, sum.cached_tokens, sum.picture_tokens, sum.answer_tokens);
    metrics.add_answer_seconds(std::chrono::duration<double>(Clock::now() - began_).count());
  }

  // Waits for a slot and has the prompt read. 499 when the client has left.
  std::optional<ApiError> start() {
    auto turn = owner_.queue_.acquire(conversation_signature(request.messages), gone_);
    if (turn.outcome != SlotQueue::Outcome::Full)
      owner_.metrics_.add_seconds(Phase::Queue, turn.waited_seconds);
    switch (turn.outcome) {
      case SlotQueue::Outcome::Full: return owner_.queue_full();
      case SlotQueue::Outcome::Gone: return client_left();
      case SlotQueue::Outcome::Closed: return api_error({BackendError::Kind::Cancelled, {}});
      case SlotQueue::Outcome::Granted: break;
    }
    lease_ = std::move(turn.lease);
    began_ = Clock::now();
    const auto error = lease_->slot().start(request.messages, request.options, [this] { return keep_going(); });
    started_ = !error;
    if (!error)
      return std::nullopt;
    return error->kind == BackendError::Kind::Cancelled && gone_() ? client_left() : api_error(*error);
  }

  struct Part {
    std::string text;
    json logprobs = json::array();
    bool has_new_boxes = false;
  };

  // What one more token brings; false at the end of the answer, whose last text may still come with it.
  bool next(Part& part) {
    bool end = !keep_going();
    if (end) {
      if (!gone_())
        error_ = api_error({BackendError::Kind::Cancelled, {}});
      return false;
    }
    ChatPiece piece;
    if (const auto error = lease_->slot().next(piece, end)) {
      error_ = api_error(*error);
      return false;
    }
    if (end) {
      part.text = text_.finish();
      return false;
    }
    if (piece.has_token && request.options.logprobs)
      part.logprobs.push_back(logprob(piece));
    part.text = text_.push(piece.text);
    part.has_new_boxes = piece.text.find("<|/det|>") != std::string::npos;
    return !text_.stopped();
  }

  const std::optional<ApiError>& error() const { return error_; }
  bool client_is_gone() const { return gone_(); }
  json boxes() { return boxes_json(lease_->slot().boxes()); }

  // Of the answer that has ended.
  void finish() {
    lease_->slot().end();
    summary_ = lease_->slot().summary();
  }
  const char* reason() const { return text_.stopped() ? "stop" : finish_reason(summary_.stop); }
  json usage() const {
    return {{"prompt_tokens", summary_.prompt_tokens},
            {"completion_tokens", summary_.answer_tokens},
            {"total_tokens", summary_.prompt_tokens + summary_.answer_tokens},
            {"prompt_tokens_details", {{"cached_tokens", summary_.cached_tokens}}}};
  }
  json extension() {
    return {{"boxes", boxes()},
            {"tagged_text", summary_.tagged_text},
            {"stop", text_.stopped() ? "stop_text" : stop_name(summary_.stop)}};
  }

  json head(const char* object) const {
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", owner_.backend_.facts().name}};
  }

  static ApiError client_left() { return {kClientLeft, "server_error", "the client has left"}; }

  const ChatRequest request;

 private:
  bool keep_going() const { return !owner_.cancelled_ && !gone_(); }

  json token_json(const Logprob& one) const {
    const std::string bytes = owner_.backend_.token_bytes(one.token_id);
    json values = json::array();
    for (const char byte : bytes)
      values.push_back(static_cast<uint8_t>(byte));
    return {{"token", bytes}, {"logprob", std::max(one.logprob, kLeastLogprob)}, {"bytes", values}};
  }

  json logprob(const ChatPiece& piece) const {
    json out = token_json(piece.token);
    json& top = out["top_logprobs"] = json::array();
    for (const Logprob& one : piece.alternatives)
      top.push_back(token_json(one));
    return out;
  }

  ChatHandler& owner_;
  const std::function<bool()> gone_;
  const std::string id_ = new_id();
  const int64_t created_ = static_cast<int64_t>(std::time(nullptr));
  std::unique_ptr<SlotQueue::Lease> lease_;
  bool started_ = false;
  Clock::time_point began_{};
  AnswerText text_;
  std::optional<ApiError> error_;
  ChatSummary summary_;
};

ApiError ChatHandler::queue_full() const {
  const double expected = metrics_.mean_answer_seconds() * (queue_.waiting_count() + 1) / queue_.slot_count();
  return {429,
          "rate_limit_error",
          "all " + std::to_string(queue_.slot_count()) + " slots are busy and " + std::to_string(queue_.waiting_count()) +
              " requests are waiting",
          {},
          "queue_full",
          std::clamp(static_cast<int>(std::ceil(expected)), 1, kMostRetryAfter)};
}

HttpResponse ChatHandler::handle(const HttpRequest& http) {
  json body;
  if (const auto error = parse_json(http.body, body))
    return refuse(*error);
  ChatRequest request;
  if (const auto error = read_chat_request(body, http.body, limits_, request))
    return refuse(*error);
  if (!request.options.schema.empty())
    if (const auto error = backend_.check_schema(request.options.schema))
      return refuse(ApiError::bad_request("response_format", "response_format.json_schema." + error->message));
  body = nullptr;  // the pictures stood in it, too
  const ModelFacts& facts = backend_.facts();
  if (!request.model.empty() && request.model != facts.name)
    return refuse({404, "invalid_request_error", "model: got " + request.model.substr(0, 200) + ", this server has " + facts.name,
                   "model", "model_not_found"});
  const auto answer = std::make_shared<Answer>(*this, std::move(request), http.gone);
  if (const auto error = answer->start())
    return refuse(*error);
  if (!answer->request.stream)
    return whole_answer(*answer);
  HttpResponse response;
  response.type = "text/event-stream";
  response.stream = [answer](const HttpSend& send) {
    const bool whole = stream_answer(*answer, send);
    answer->leave();  // before the client can know that it has the whole stream
    return whole;
  };
  return response;
}

HttpResponse ChatHandler::whole_answer(Answer& answer) {
  std::string text;
  json logprobs = json::array();
  for (bool more = true; more;) {
    Answer::Part part;
    more = answer.next(part);
    text += part.text;
    logprobs.insert(logprobs.end(), part.logprobs.begin(), part.logprobs.end());
  }
  if (answer.error())
    return refuse(*answer.error());
  if (answer.client_is_gone())
    return refuse(Answer::client_left());
  answer.finish();
  json out = answer.head("chat.completion");
  out["choices"] = {{{"index", 0},
                     {"message", {{"role", "assistant"}, {"content", text}, {"refusal", nullptr}}},
                     {"logprobs", answer.request.options.logprobs ? json{{"content", logprobs}, {"refusal", nullptr}} : json()},
                     {"finish_reason", answer.reason()}}};
  out["usage"] = answer.usage();
  out["vl2"] = answer.extension();
  HttpResponse response;
  response.body = text_of(out);
  return response;
}

bool ChatHandler::stream_answer(Answer& answer, const HttpSend& send) {
  const auto send_json = [&](const json& value) { return send("data: " + text_of(value) + "\n\n"); };
  const auto chunk = [&](json delta, json logprobs, json reason) {
    json out = answer.head("chat.completion.chunk");
    out["choices"] = {
        {{"index", 0}, {"delta", std::move(delta)}, {"logprobs", std::move(logprobs)}, {"finish_reason", std::move(reason)}}};
    if (answer.request.include_usage)
      out["usage"] = nullptr;
    return out;
  };
  if (!send_json(chunk({{"role", "assistant"}, {"content", ""}}, nullptr, nullptr)))
    return false;
  for (bool more = true; more;) {
    Answer::Part part;
    more = answer.next(part);
    if (part.text.empty() && part.logprobs.empty() && !part.has_new_boxes)
      continue;
    json logprobs = part.logprobs.empty() ? json() : json{{"content", std::move(part.logprobs)}, {"refusal", nullptr}};
    json out = chunk({{"content", std::move(part.text)}}, std::move(logprobs), nullptr);
    if (part.has_new_boxes)
      out["vl2"]["boxes"] = answer.boxes();
    if (!send_json(out))
      return false;
  }
  if (answer.error())
    return send("data: " + answer.error()->json() + "\n\n");
  if (answer.client_is_gone())
    return false;
  answer.finish();
  json last = chunk(json::object(), nullptr, answer.reason());
  last["vl2"] = answer.extension();
  if (!send_json(last))
    return false;
  if (answer.request.include_usage) {
    json usage = answer.head("chat.completion.chunk");
    usage["choices"] = json::array();
    usage["usage"] = answer.usage();
    if (!send_json(usage))
      return false;
  }
  return send("data: [DONE]\n\n");
}

}  // namespace vl2::server
