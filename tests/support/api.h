// The C API as tests use it: structs with their sizes, handles that free themselves, answers as strings.
#pragma once

#include <doctest/doctest.h>
#include <string>

#include "app/vl2.h"
#include "app/vl2_handles.h"
#include "tests/support/paths.h"

namespace vl2 {

inline const std::string kPico = source_dir() + "/app/demo/pico";
inline const std::string kPictures = source_dir() + "/app/demo/pictures/";

// A struct with its size set and everything else 0.
template <typename Struct>
Struct sized() {
  Struct value{};
  value.struct_size = sizeof(Struct);
  return value;
}

inline bool last_error_has(const std::string& part) {
  const std::string message = vl2_last_error();
  CAPTURE(message);
  CHECK(message.find(part) != std::string::npos);
  return message.find(part) != std::string::npos;
}

inline ModelHandle load_model(const std::string& path, vl2_load_options options = sized<vl2_load_options>()) {
  vl2_model* model = nullptr;
  REQUIRE_MESSAGE(vl2_model_load(path.c_str(), &options, &model) == VL2_OK, vl2_last_error());
  return ModelHandle(model);
}

// The tokenizer and the shapes of the demo model, with no device.
inline ModelHandle load_words() {
  auto options = sized<vl2_load_options>();
  options.flags = VL2_LOAD_NO_WEIGHTS;
  return load_model(kPico, options);
}

inline SessionHandle new_session(const ModelHandle& model) {
  vl2_session* session = nullptr;
  REQUIRE_MESSAGE(vl2_session_create(model.get(), nullptr, &session) == VL2_OK, vl2_last_error());
  return SessionHandle(session);
}

inline void say(const SessionHandle& session, const std::string& text, vl2_role role = VL2_ROLE_USER) {
  REQUIRE_MESSAGE(vl2_session_add_message(session.get(), role, text.c_str(), VL2_NUL_TERMINATED) == VL2_OK, vl2_last_error());
}

inline vl2_reply reply_of(const SessionHandle& session) {
  auto reply = sized<vl2_reply>();
  REQUIRE_MESSAGE(vl2_session_get_reply(session.get(), &reply) == VL2_OK, vl2_last_error());
  return reply;
}

// Draws, so that answers are long and differ.
inline vl2_reply_options drawing(uint32_t max_tokens, uint64_t seed) {
  auto options = sized<vl2_reply_options>();
  options.max_tokens = max_tokens;
  options.temperature = 2;
  options.seed = seed;
  return options;
}

// The text of an answer, pulled.
inline std::string pulled(const SessionHandle& session, const vl2_reply_options& options) {
  REQUIRE_MESSAGE(vl2_session_start(session.get(), &options) == VL2_OK, vl2_last_error());
  std::string text;
  auto piece = sized<vl2_piece>();
  vl2_status status;
  while ((status = vl2_session_next(session.get(), &piece)) == VL2_OK)
    text.append(piece.text, piece.text_bytes);
  REQUIRE(status == VL2_END);
  CHECK(vl2_session_next(session.get(), &piece) == VL2_END);
  return text;
}

}  // namespace vl2
