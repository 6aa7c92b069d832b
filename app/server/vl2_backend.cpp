#include "app/server/vl2_backend.h"

#include "app/server/picture_size.h"

namespace vl2::server {

namespace {

using MaybeError = std::optional<BackendError>;
using Kind = BackendError::Kind;

constexpr uint32_t kHealthWait_ms = 50;

template <typename T>
T sized() {
  T value{};
  value.struct_size = sizeof(value);
  return value;
}

Kind kind_of(vl2_status status) {
  switch (status) {
    case VL2_ERROR_ARGUMENT:
    case VL2_ERROR_FILE:
    case VL2_ERROR_UNSUPPORTED: return Kind::Request;
    case VL2_ERROR_NOT_FOUND: return Kind::NotFound;
    case VL2_ERROR_CONTEXT_FULL: return Kind::ContextFull;
    case VL2_ERROR_CANCELLED: return Kind::Cancelled;
    case VL2_ERROR_OUT_OF_MEMORY: return Kind::OutOfMemory;
    case VL2_ERROR_DEVICE_LOST: return Kind::DeviceLost;
    default: return Kind::Device;
  }
}

// Of the call before on this thread.
MaybeError error_of(vl2_status status) {
  if (status >= VL2_OK)
    return std::nullopt;
  return BackendError{kind_of(status), vl2_last_error()};
}

int go_on(void* user, vl2_phase, uint64_t, uint64_t) {
  return (*static_cast<const std::function<bool()>*>(user))() ? 0 : 1;
}

vl2_reply_options reply_options(const ChatOptions& options) {
  vl2_reply_options reply = options.reply;
  reply.flags = VL2_REPLY_TAGS | (options.logprobs ? static_cast<uint32_t>(VL2_REPLY_PROBABILITIES) : 0u) |
                (options.loop_guard ? static_cast<uint32_t>(VL2_REPLY_LOOP_GUARD) : 0u) |
                (options.fresh ? 0u : static_cast<uint32_t>(VL2_REPLY_SHARE_BEGINNING));
  reply.schema = options.schema.empty() ? nullptr : options.schema.data();
  reply.schema_bytes = options.schema.size();
  reply.alternative_count = options.logprobs ? options.top_logprobs : 0;
  return reply;
}

class Slot : public ChatSlot {
 public:
  explicit Slot(vl2_session* session) : session_(session) {}
  ~Slot() override { vl2_session_free(session_); }

  MaybeError start(const std::vector<ChatMessage>& messages, const ChatOptions& options,
                   const std::function<bool()>& keep_going) override {
    MaybeError error = error_of(options.fresh ? vl2_session_clear(session_) : vl2_session_truncate(session_, 0));
    for (size_t i = 0; i < messages.size() && !error; ++i)
      error = keep_going() ? add(messages[i], i) : BackendError{Kind::Cancelled, "the request was ended"};
    if (error)
      return error;
    vl2_reply_options reply = reply_options(options);
    reply.progress = go_on;
    reply.progress_user = const_cast<std::function<bool()>*>(&keep_going);
    return error_of(vl2_session_start(session_, &reply));
  }

  MaybeError next(ChatPiece& out, bool& end) override {
    auto piece = sized<vl2_piece>();
    const vl2_status status = vl2_session_next(session_, &piece);
    end = status == VL2_END;
    if (status != VL2_OK)
      return error_of(status);
    out.text.assign(piece.text, piece.text_bytes);
    out.has_token = piece.has_token != 0;
    out.token = {piece.token_id, piece.logprob};
    out.alternatives.clear();
    for (uint32_t i = 0; i < piece.alternative_count; ++i)
      out.alternatives.push_back({piece.alternatives[i].token_id, piece.alternatives[i].logprob});
    return std::nullopt;
  }

  void end() override { vl2_session_end(session_); }

  ChatSummary summary() override {
    auto reply = sized<vl2_reply>();
    ChatSummary out;
    if (vl2_session_get_reply(session_, &reply) != VL2_OK)
      return out;
    out.stop = reply.stop_reason == VL2_STOP_MAX_TOKENS     ? StopReason::MaxTokens
               : reply.stop_reason == VL2_STOP_CONTEXT_FULL ? StopReason::ContextFull
               : reply.stop_reason == VL2_STOP_END          ? StopReason::End
               : reply.stop_reason == VL2_STOP_LOOP         ? StopReason::Loop
                                                            : StopReason::Stopped;
    out.tagged_text.assign(reply.tagged_text, reply.tagged_text_bytes);
    out.prompt_tokens = reply.prompt_tokens;
    out.cached_tokens = reply.cached_tokens;
    out.picture_tokens = reply.picture_tokens;
    out.answer_tokens = reply.answer_tokens;
    out.resize_ms = reply.resize_ms;
    out.encode_ms = reply.encode_ms;
    out.prefill_ms = reply.prefill_ms;
    out.decode_ms = reply.decode_ms;
    return out;
  }

  std::vector<ChatBox> boxes() override {
    std::vector<ChatBox> boxes;
    for (uint32_t i = 0; i < vl2_session_box_count(session_); ++i) {
      auto box = sized<vl2_box>();
      if (vl2_session_get_box(session_, i, &box) != VL2_OK)
        continue;
      ChatBox& out = boxes.emplace_back();
      out.label = box.label;
      out.box = {box.thousandths[0], box.thousandths[1], box.thousandths[2], box.thousandths[3]};
      out.pixels = {box.left, box.top, box.right, box.bottom};
      out.picture = box.picture == UINT32_MAX ? 0 : box.picture;
      out.probability = box.probability;
    }
    return boxes;
  }

 private:
  MaybeError add(const ChatMessage& message, size_t index) {
    for (const PictureFile& file : message.pictures)
      if (auto error = add_picture(*file)) {
        error->message = "messages[" + std::to_string(index) + "]: " + error->message;
        return error;
      }
    const vl2_role role = message.role == ChatRole::System ? VL2_ROLE_SYSTEM
                          : message.role == ChatRole::User ? VL2_ROLE_USER
                                                           : VL2_ROLE_ASSISTANT;
    return error_of(vl2_session_add_message(session_, role, message.text.data(), message.text.size()));
  }

  // The file's header said how large the picture is, and that was allowed: what comes out must be no larger.
  MaybeError add_picture(const std::string& file) {
    const auto said = picture_size(file);
    vl2_image* image = nullptr;
    if (auto error = error_of(vl2_image_decode(reinterpret_cast<const uint8_t*>(file.data()), file.size(), &image)))
      return error;
    const std::unique_ptr<vl2_image, void (*)(vl2_image*)> owner(image, vl2_image_free);
    const PictureSize size{vl2_image_width(image), vl2_image_height(image)};
    if (!said || size.pixels() > said->pixels())
      return BackendError{Kind::Request, "the picture is larger than its header says"};
    return error_of(vl2_session_add_image(session_, vl2_image_rgb(image), size.width, size.height));
  }

  vl2_session* const session_;
};

class Vl2Backend : public ChatBackend {
 public:
  Vl2Backend(vl2_model* model, const std::string& name) : model_(model) {
    auto info = sized<vl2_model_info>();
    vl2_model_get_info(model, &info);
    facts_ = {name, info.device_name == nullptr ? "" : info.device_name, info.context_tokens, info.has_eyes != 0};
  }
  ~Vl2Backend() override { vl2_model_free(model_); }

  const ModelFacts& facts() const override { return facts_; }

  MaybeError create_slot(std::unique_ptr<ChatSlot>& slot) override {
    vl2_session* session = nullptr;
    if (auto error = error_of(vl2_session_create(model_, nullptr, &session)))
      return error;
    slot = std::make_unique<Slot>(session);
    return std::nullopt;
  }

  MaybeError plan_picture(uint32_t width, uint32_t height, uint32_t pictures, PicturePlan& plan) const override {
    auto found = sized<vl2_picture_plan>();
    if (auto error = error_of(vl2_model_plan_picture(model_, width, height, pictures, &found)))
      return error;
    plan = {found.tiles_wide, found.tiles_high, found.tokens};
    return std::nullopt;
  }

  MaybeError check_schema(const std::string& schema) const override {
    return error_of(vl2_check_schema(schema.data(), schema.size()));
  }

  MaybeError tokenize(std::string_view text, bool special, std::vector<uint32_t>& ids) const override {
    const uint32_t flags = special ? static_cast<uint32_t>(VL2_TOKENS_CONTROL) : 0u;
    size_t count = 0;
    if (auto error = error_of(vl2_model_tokenize(model_, text.data(), text.size(), flags, nullptr, 0, &count)))
      return error;
    ids.resize(count);
    return count == 0 ? std::nullopt
                      : error_of(vl2_model_tokenize(model_, text.data(), text.size(), flags, ids.data(), count, &count));
  }

  std::string token_bytes(uint32_t id) const override {
    size_t count = 0;
    const char* bytes = vl2_model_token_bytes(model_, id, &count);
    return bytes == nullptr ? std::string() : std::string(bytes, count);
  }

  PictureCacheFigures picture_cache() const override {
    auto cache = sized<vl2_picture_cache>();
    vl2_model_get_picture_cache(model_, &cache);
    return {cache.pictures, cache.bytes,     cache.limit_bytes, cache.hits,
            cache.misses,   cache.evictions, cache.beginnings,  cache.beginning_hits};
  }

  BackendHealth check() override {
    const vl2_status status = vl2_model_check(model_, kHealthWait_ms);
    return status == VL2_ERROR_DEVICE_LOST ? BackendHealth::Lost : status < VL2_OK ? BackendHealth::Degraded : BackendHealth::Ok;
  }

  StepCounts steps() const override {
    auto info = sized<vl2_model_info>();
    return vl2_model_get_info(model_, &info) == VL2_OK ? StepCounts{info.decode_steps, info.decode_sessions} : StepCounts{};
  }

 private:
  vl2_model* const model_;
  ModelFacts facts_;
};

}  // namespace

std::unique_ptr<ChatBackend> make_vl2_backend(vl2_model* model, const std::string& name) {
  return std::make_unique<Vl2Backend>(model, name);
}

}  // namespace vl2::server
