#include "tests/server/fake_backend.h"

#include <chrono>
#include <sstream>
#include <thread>

#include "app/vl2.h"

namespace vl2::server {

namespace {

using Kind = BackendError::Kind;

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> out;
  for (const char c : text) {
    if (out.empty() || c == ' ')
      out.emplace_back();
    out.back() += c;
  }
  return out;
}

std::string echo(const std::vector<ChatMessage>& messages) {
  std::string out;
  for (const ChatMessage& message : messages) {
    out += message.role == ChatRole::System ? "system:" : message.role == ChatRole::User ? "user:" : "assistant:";
    out += message.text + "+" + std::to_string(message.pictures.size()) + ";";
  }
  return out;
}

class FakeSlot : public ChatSlot {
 public:
  explicit FakeSlot(FakeBackend& backend) : backend_(backend) {}
  ~FakeSlot() override { end(); }

  std::optional<BackendError> start(const std::vector<ChatMessage>& messages, const ChatOptions& options,
                                    const std::function<bool()>& keep_going) override {
    options_ = options;
    given_ = 0;
    tagged_.clear();
    pieces_.clear();
    loops_ = false;
    delay_ms_ = 0;
    break_after_ = UINT32_MAX;
    prompt_tokens_ = 0;
    for (const ChatMessage& message : messages)
      prompt_tokens_ += static_cast<uint32_t>(words(message.text).size() + 421 * message.pictures.size());
    active_ = true;
    const int now = ++backend_.active;
    if (now > backend_.most_active)
      backend_.most_active = now;
    ++backend_.started;
    const auto error = plan(messages, keep_going);
    if (error)
      end();
    return error;
  }

  std::optional<BackendError> next(ChatPiece& piece, bool& end) override {
    if (given_ >= break_after_)
      return BackendError{Kind::DeviceLost, "device: lost at token " + std::to_string(given_)};
    if (delay_ms_ > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms_));
    end = given_ == pieces_.size() || (options_.reply.max_tokens > 0 && given_ == options_.reply.max_tokens);
    if (end)
      return std::nullopt;
    const std::string& text = pieces_[given_++];
    ++backend_.tokens;
    tagged_ += text;
    piece = {text, true, {backend_.id_of(text), options_.logprobs ? -0.5f : 1.0f}, {}};
    for (uint32_t i = 0; i < options_.top_logprobs; ++i)
      piece.alternatives.push_back(
          {i == 0 ? piece.token.token_id : backend_.id_of("other" + std::to_string(i)), -0.5f - static_cast<float>(i)});
    return std::nullopt;
  }

  void end() override {
    if (active_)
      --backend_.active;
    active_ = false;
  }

  ChatSummary summary() override {
    ChatSummary out;
    out.stop = loops_ && given_ == pieces_.size()                                     ? StopReason::Loop
               : given_ == pieces_.size()                                             ? StopReason::End
               : options_.reply.max_tokens > 0 && given_ == options_.reply.max_tokens ? StopReason::MaxTokens
                                                                                      : StopReason::Stopped;
    out.tagged_text = tagged_;
    out.prompt_tokens = prompt_tokens_;
    out.answer_tokens = static_cast<uint32_t>(given_);
    out.prefill_ms = 2;
    out.decode_ms = 3;
    return out;
  }

  std::vector<ChatBox> boxes() override {
    std::vector<ChatBox> out;
    const float probability = options_.logprobs ? 0.5f : -1;
    if (tagged_.find("[[1, 2, 3, 4]]<|/det|>") != std::string::npos)
      out.push_back({"a cat", {1, 2, 3, 4}, {10, 20, 30, 40}, 0, probability});
    if (tagged_.find("[[5, 6, 7, 8]]<|/det|>") != std::string::npos)
      out.push_back({"a dog", {5, 6, 7, 8}, {50, 60, 70, 80}, 0, probability});
    return out;
  }

 private:
  std::optional<BackendError> plan(const std::vector<ChatMessage>& messages, const std::function<bool()>& keep_going) {
    std::istringstream in(messages.back().text);
    std::string verb;
    in >> verb;
    if (verb == "say") {
      pieces_ = words(messages.back().text.size() > 4 ? messages.back().text.substr(4) : "");
    } else if (verb == "loop") {  // notices it after three words
      pieces_.assign(options_.loop_guard ? 3 : 5, " again");
      loops_ = options_.loop_guard;
    } else if (verb == "count") {
      uint32_t count = 0;
      in >> count >> delay_ms_;
      for (uint32_t i = 1; i <= count; ++i)
        pieces_.push_back(" " + std::to_string(i));
    } else if (verb == "boxes") {
      pieces_ = {"See",   " ",       "<|ref|>", "a cat",    "<|/ref|>", "<|det|>",        "[[1, 2,",  " 3, 4]]", "<|/det|>",
                 " and ", "<|ref|>", "a dog",   "<|/ref|>", "<|det|>",  "[[5, 6, 7, 8]]", "<|/det|>", "."};
    } else if (verb == "echo") {
      pieces_ = {echo(messages)};
    } else if (verb == "schema") {
      pieces_ = {options_.schema};
    } else if (verb == "hold") {
      pieces_ = {"held"};
      while (!backend_.released) {
        if (!keep_going())
          return BackendError{Kind::Cancelled, "cancelled"};
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    } else if (verb == "fail") {
      static const std::map<std::string, Kind> kinds = {{"request", Kind::Request},
                                                        {"full", Kind::ContextFull},
                                                        {"memory", Kind::OutOfMemory},
                                                        {"lost", Kind::DeviceLost},
                                                        {"device", Kind::Device}};
      std::string kind;
      in >> kind;
      return BackendError{kinds.at(kind), "fake: " + kind};
    } else if (verb == "break") {
      in >> break_after_;
      pieces_.assign(100, " x");
    } else {
      pieces_ = {"what", "?"};
    }
    return std::nullopt;
  }

  FakeBackend& backend_;
  ChatOptions options_;
  std::vector<std::string> pieces_;
  bool loops_ = false;
  size_t given_ = 0;
  std::string tagged_;
  uint32_t delay_ms_ = 0, prompt_tokens_ = 0, break_after_ = UINT32_MAX;
  bool active_ = false;
};

}  // namespace

std::optional<BackendError> FakeBackend::create_slot(std::unique_ptr<ChatSlot>& slot) {
  if (++slots_ > most_slots)
    return BackendError{Kind::OutOfMemory, "fake: no room for another slot"};
  slot = std::make_unique<FakeSlot>(*this);
  return std::nullopt;
}

std::optional<BackendError> FakeBackend::plan_picture(uint32_t width, uint32_t height, uint32_t pictures,
                                                      PicturePlan& plan) const {
  if (width > 100 * height || height > 100 * width)
    return BackendError{Kind::Request, "picture: too narrow"};
  plan = pictures > 2 ? PicturePlan{1, 1, 421} : PicturePlan{width > 384 ? 2u : 1u, 1, width > 384 ? 817u : 421u};
  return std::nullopt;
}

std::optional<BackendError> FakeBackend::check_schema(const std::string& schema) const {
  if (vl2_check_schema(schema.data(), schema.size()) == VL2_OK)
    return std::nullopt;
  return BackendError{Kind::Request, vl2_last_error()};
}

std::optional<BackendError> FakeBackend::tokenize(std::string_view text, bool special, std::vector<uint32_t>& ids) const {
  for (const std::string& word : words(std::string(text)))
    ids.push_back(id_of(word));
  if (special)
    ids.push_back(0);
  return std::nullopt;
}

uint32_t FakeBackend::id_of(const std::string& token) const {
  const std::lock_guard lock(mutex_);
  for (uint32_t i = 0; i < words_.size(); ++i)
    if (words_[i] == token)
      return i;
  words_.push_back(token);
  return static_cast<uint32_t>(words_.size() - 1);
}

std::string FakeBackend::token_bytes(uint32_t id) const {
  const std::lock_guard lock(mutex_);
  return id < words_.size() ? words_[id] : "";
}

}  // namespace vl2::server
