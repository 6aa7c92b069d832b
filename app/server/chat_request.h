// The body of POST /v1/chat/completions, checked, as what the model is asked.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/server/api_error.h"
#include "app/server/chat_backend.h"

namespace vl2::server {

struct RequestLimits {
  uint32_t pictures = 8;                 ///< a request, those of earlier turns included
  uint64_t picture_pixels = 64000000;    ///< of one picture
  uint64_t pixels_together = 128000000;  ///< of all of a request
  uint32_t messages = 1000;              ///< a request
};

struct ChatRequest {
  std::vector<ChatMessage> messages;
  ChatOptions options;
  std::string model;  ///< empty: not given
  std::vector<std::string> stop;
  bool stream = false;
  bool include_usage = false;
  bool tagged = false;  ///< {"vl2": {"tags": true}}: the content keeps grounding tags and the numbers of boxes; JSON does, too
};

/// Parses JSON that comes from anywhere: at most 32 levels deep and 100 000 values, both checked before any memory is taken for it.
std::optional<ApiError> parse_json(std::string_view body, nlohmann::json& value);

/// Reads a chat request. Members that would change the answer and are not built are refused by name; those that cannot change it
/// (user, metadata, store, ...) are left alone; unknown ones are refused. null counts as absent.
///
/// The schema of a response_format is not looked into: ChatBackend::check_schema().
///
/// text  the same as JSON text, where the properties of a schema still have their order
std::optional<ApiError> read_chat_request(const nlohmann::json& body, std::string_view text, const RequestLimits& limits,
                                          ChatRequest& request);

}  // namespace vl2::server
