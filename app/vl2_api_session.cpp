// The C API: sessions and the conversations in them. Answers: vl2_api_answer.cpp.
#include "app/vl2_api_session.h"

#include <algorithm>

using namespace vl2;
using namespace vl2::api;

namespace {

Outcome add_picture(vl2_session& session, const char* where, uint32_t width, uint32_t height, const uint8_t* rgb) {
  if (Outcome outcome = check_not_answering(session, where); outcome.status != VL2_OK)
    return outcome;
  TileGrid grid;
  const auto pictures = session.conversation->picture_count() + static_cast<uint32_t>(session.pictures.size()) + 1;
  if (Outcome outcome = check_picture(*session.model, width, height, pictures, grid); outcome.status != VL2_OK)
    return refuse(outcome.status, where, ": ", outcome.message);
  const size_t bytes = size_t{width} * height * 3;
  session.pictures.push_back({width, height, std::vector<uint8_t>(rgb, rgb + bytes)});
  return {};
}

}  // namespace

// ---- Life --------------------------------------------------------------------------------------------------------------------

namespace {

// Makes a handle of what `make` gives: Result<std::unique_ptr<Conversation>>(ModelState&, uint32_t context).
template <typename Make>
vl2_status make_session(const char* where, vl2_model* model, const vl2_session_options* given, vl2_session** session,
                        const Make& make) {
  ErrorSlot* const slot = model == nullptr ? nullptr : &model->state->error;
  return guarded(
      [&]() -> Outcome {
        if (session == nullptr)
          return refuse(VL2_ERROR_ARGUMENT, where, ": session is NULL, wanted a place for the session");
        *session = nullptr;
        if (model == nullptr)
          return refuse(VL2_ERROR_ARGUMENT, where, ": model is NULL");
        vl2_session_options options{};
        if (Outcome outcome = read_options(given, sizeof(vl2_session_options), "vl2_session_options", options);
            outcome.status != VL2_OK)
          return outcome;
        if (model->state->engine == nullptr)
          return refuse(VL2_ERROR_STATE, where, ": the model was loaded without weights");
        auto made = std::make_unique<vl2_session>();
        made->model = model->state;
        const std::lock_guard turn(made->model->turn);
        VL2_ASSIGN(made->conversation, make(*made->model, options.context_tokens));
        StepScheduler& steps = *made->model->steps;
        made->conversation->decode_with([&steps](Session& decoding, uint32_t count, const SampleOptions& sampling) {
          return steps.decode(decoding, count, sampling);
        });
        *session = made.release();
        return {};
      },
      slot);
}

}  // namespace

vl2_status vl2_session_create(vl2_model* model, const vl2_session_options* given, vl2_session** session) {
  return make_session("vl2_session_create", model, given, session, [](ModelState& state, uint32_t context) {
    return Conversation::create(*state.engine, *state.tokenizer, context);
  });
}

vl2_status vl2_session_load(vl2_model* model, const char* path, const vl2_session_options* given, vl2_session** session) {
  return make_session("vl2_session_load", model, given, session,
                      [&](ModelState& state, uint32_t context) -> Result<std::unique_ptr<Conversation>> {
                        if (path == nullptr)
                          return fail(Code::BadArgument, "vl2_session_load: path is NULL, wanted a file");
                        return Conversation::load(*state.engine, *state.tokenizer, path, context);
                      });
}

vl2_status vl2_session_save(vl2_session* session, const char* path) {
  return with_session(session, "vl2_session_save", [&](vl2_session& s) -> Outcome {
    if (path == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_save: path is NULL, wanted a file");
    if (Outcome outcome = check_not_answering(s, "vl2_session_save"); outcome.status != VL2_OK)
      return outcome;
    if (!s.pictures.empty())
      return refuse(VL2_ERROR_STATE, "vl2_session_save: ", s.pictures.size(),
                    " pictures were added and no message after them; vl2_session_truncate() takes them back");
    const std::lock_guard turn(s.model->turn);
    VL2_TRY(s.conversation->save(path));
    return {};
  });
}

void vl2_session_free(vl2_session* session) {
  if (session == nullptr)
    return;
  const std::shared_ptr<ModelState> model = session->model;  // outlives the turn
  {
    const std::lock_guard turn(model->turn);
    session->conversation.reset();
  }
  delete session;
}

const char* vl2_session_last_error(const vl2_session* session) {
  return session == nullptr ? "" : session->error.c_str();
}

// ---- Writing -----------------------------------------------------------------------------------------------------------------

vl2_status vl2_session_add_image(vl2_session* session, const uint8_t* rgb, uint32_t width, uint32_t height) {
  return with_session(session, "vl2_session_add_image", [&](vl2_session& s) -> Outcome {
    if (rgb == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_add_image: rgb is NULL, wanted height * width * 3 bytes");
    return add_picture(s, "vl2_session_add_image", width, height, rgb);
  });
}

vl2_status vl2_session_add_image_file(vl2_session* session, const uint8_t* file, size_t file_bytes) {
  return with_session(session, "vl2_session_add_image_file", [&](vl2_session& s) -> Outcome {
    if (Outcome outcome = check_not_answering(s, "vl2_session_add_image_file"); outcome.status != VL2_OK)
      return outcome;
    VL2_ASSIGN(const auto image, decode(file, file_bytes, "vl2_session_add_image_file"));
    return add_picture(s, "vl2_session_add_image_file", image->width, image->height, image->rgb.data());
  });
}

vl2_status vl2_session_add_message(vl2_session* session, vl2_role role, const char* text, size_t text_bytes) {
  return with_session(session, "vl2_session_add_message", [&](vl2_session& s) -> Outcome {
    if (Outcome outcome = check_not_answering(s, "vl2_session_add_message"); outcome.status != VL2_OK)
      return outcome;
    std::string_view words;
    if (text == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_add_message: text is NULL, wanted UTF-8");
    if (Outcome outcome = read_text(text, text_bytes, "vl2_session_add_message", words); outcome.status != VL2_OK)
      return outcome;
    const int number = role;
    if (number < VL2_ROLE_SYSTEM || number > VL2_ROLE_ASSISTANT)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_add_message: got role ", number, ", wanted VL2_ROLE_SYSTEM to _ASSISTANT");
    if (role == VL2_ROLE_SYSTEM && s.conversation->message_count() > 0)
      return refuse(VL2_ERROR_STATE, "vl2_session_add_message: a system message, and there are ", s.conversation->message_count(),
                    " before it; wanted it first");
    constexpr Role kRoles[] = {Role::System, Role::User, Role::Assistant};
    VL2_TRY(s.conversation->add(kRoles[number], std::string(words), s.pictures));
    s.pictures.clear();
    return {};
  });
}

uint32_t vl2_session_message_count(const vl2_session* session) {
  return session == nullptr ? 0 : static_cast<uint32_t>(session->conversation->message_count());
}

vl2_status vl2_session_get_message(const vl2_session* session, uint32_t index, vl2_message* message) {
  return with_const_session(session, "vl2_session_get_message", [&](const vl2_session& s) -> Outcome {
    if (index >= s.conversation->message_count())
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_get_message: got index ", index, ", there are ",
                    s.conversation->message_count(), " messages");
    const MessageView from = s.conversation->message(index);
    vl2_message value{};
    constexpr vl2_role kRoles[] = {VL2_ROLE_SYSTEM, VL2_ROLE_USER, VL2_ROLE_ASSISTANT};
    value.role = kRoles[static_cast<int>(from.role)];
    value.text = from.text.c_str();
    value.text_bytes = from.text.size();
    value.first_picture = from.first_picture;
    value.picture_count = from.picture_count;
    value.is_open = from.open;
    return fill_struct(message, sizeof(vl2_message), "vl2_message", value);
  });
}

uint32_t vl2_session_picture_count(const vl2_session* session) {
  return session == nullptr ? 0 : session->conversation->picture_count();
}

vl2_status vl2_session_get_picture(const vl2_session* session, uint32_t index, vl2_picture* picture) {
  return with_const_session(session, "vl2_session_get_picture", [&](const vl2_session& s) -> Outcome {
    if (index >= s.conversation->picture_count())
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_get_picture: got index ", index, ", there are ",
                    s.conversation->picture_count(), " pictures");
    const OwnedPicture& from = s.conversation->picture(index);
    vl2_picture value{};
    value.width = from.width;
    value.height = from.height;
    value.rgb = from.rgb.data();
    return fill_struct(picture, sizeof(vl2_picture), "vl2_picture", value);
  });
}

vl2_status vl2_session_truncate(vl2_session* session, uint32_t message_count) {
  return with_session(session, "vl2_session_truncate", [&](vl2_session& s) -> Outcome {
    if (Outcome outcome = check_not_answering(s, "vl2_session_truncate"); outcome.status != VL2_OK)
      return outcome;
    if (message_count > s.conversation->message_count())
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_truncate: to ", message_count, " messages, there are ",
                    s.conversation->message_count());
    s.conversation->truncate(message_count);
    s.pictures.clear();
    return {};
  });
}

vl2_status vl2_session_clear(vl2_session* session) {
  return with_session(session, "vl2_session_clear", [&](vl2_session& s) -> Outcome {
    if (Outcome outcome = check_not_answering(s, "vl2_session_clear"); outcome.status != VL2_OK)
      return outcome;
    const std::lock_guard turn(s.model->turn);
    VL2_TRY(s.conversation->clear());
    s.pictures.clear();
    return {};
  });
}

vl2_status vl2_session_count_prompt(const vl2_session* session, uint32_t* tokens) {
  return with_const_session(session, "vl2_session_count_prompt", [&](const vl2_session& s) -> Outcome {
    if (tokens == nullptr)
      return refuse(VL2_ERROR_ARGUMENT, "vl2_session_count_prompt: tokens is NULL");
    if (s.conversation->message_count() == 0)
      return refuse(VL2_ERROR_STATE, "vl2_session_count_prompt: there are no messages");
    VL2_ASSIGN(*tokens, s.conversation->prompt_tokens());
    return {};
  });
}

uint32_t vl2_session_token_count(const vl2_session* session) {
  return session == nullptr ? 0 : session->conversation->token_count();
}

uint32_t vl2_session_context_tokens(const vl2_session* session) {
  return session == nullptr ? 0 : session->conversation->session().capacity();
}
