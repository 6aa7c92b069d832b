#include "app/server/chat_request.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/reply_numbers.h"
#include "app/server/base64.h"
#include "app/server/picture_size.h"

namespace vl2::server {

namespace {

using nlohmann::json;
using MaybeError = std::optional<ApiError>;

constexpr size_t kMostLevels = 32, kMostValues = 100000;
constexpr std::string_view kImageMark = "<image>";
constexpr size_t kMostStops = 4, kLongestStop = 1000;  // of stop sequences; OpenAI's number of them

// Values that JSON text holds, and how deep they are nested, counted without parsing it.
bool is_too_large(std::string_view text) {
  size_t level = 0, values = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
      continue;
    }
    if (c == '"')
      in_string = true;
    else if (c == '[' || c == '{')
      ++level, ++values;
    else if ((c == ']' || c == '}') && level > 0)
      --level;
    else if (c == ',' || c == ':')
      ++values;
    if (level > kMostLevels || values > kMostValues)
      return true;
  }
  return false;
}

// A member of an object; null where it is absent or null.
const json* find(const json& object, const char* name) {
  const auto it = object.find(name);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string kind(const json& value) {
  return value.is_string() && value.get_ref<const std::string&>().size() <= 40
             ? value.dump(-1, ' ', false, json::error_handler_t::replace)
         : value.is_number() || value.is_boolean() ? value.dump()
                                                   : value.type_name();
}

ApiError wrong(const std::string& name, const json& value, const std::string& wanted) {
  return ApiError::bad_request(name, name + ": got " + kind(value) + ", wanted " + wanted);
}

GivenNumber number_of(const json& value) {
  GivenNumber given{.shown = kind(value), .value = {}, .whole = {}};
  if (value.is_number())
    given.value = value.get<double>();
  if (value.is_number_integer())
    given.whole = value.is_number_unsigned() ? value.get<uint64_t>() : static_cast<uint64_t>(value.get<int64_t>());
  return given;
}

// Reads numbers and booleans of an object, and keeps the first thing wrong.
class Reader {
 public:
  explicit Reader(const json& body) : body_(body) {}

  // field  of vl2_reply_options
  void reply_number(const char* name, vl2_reply_options& reply, const char* field) {
    const json* value = find(body_, name);
    if (value == nullptr)
      return;
    const std::string problem = set_reply_number(reply, field, number_of(*value));
    if (!problem.empty())
      keep(ApiError::bad_request(name, std::string(name) + ": " + problem));
  }

  template <typename T>
  void whole(const char* name, uint64_t least, uint64_t most, T& out) {
    const json* value = find(body_, name);
    if (value == nullptr)
      return;
    if (!value->is_number_unsigned() || value->get<uint64_t>() < least || value->get<uint64_t>() > most)
      return keep(wrong(name, *value, "a whole number from " + std::to_string(least) + " to " + std::to_string(most)));
    out = static_cast<T>(value->get<uint64_t>());
  }

  void boolean(const char* name, bool& out) {
    const json* value = find(body_, name);
    if (value != nullptr && !value->is_boolean())
      return keep(wrong(name, *value, "true or false"));
    if (value != nullptr)
      out = value->get<bool>();
  }

  void keep(MaybeError error) {
    if (!error_)
      error_ = std::move(error);
  }
  MaybeError& error() { return error_; }

 private:
  const json& body_;
  MaybeError error_;
};

// --- Messages -----------------------------------------------------------------------------------------------------------------

class MessageReader {
 public:
  explicit MessageReader(const RequestLimits& limits) : limits_(limits) {}

  MaybeError read(const json& message, size_t index, ChatMessage& out) {
    where_ = "messages[" + std::to_string(index) + "]";
    if (!message.is_object())
      return wrong(where_, message, "an object");
    const json* role = find(message, "role");
    if (role == nullptr || !role->is_string())
      return ApiError::bad_request(where_ + ".role", where_ + ".role: wanted \"system\", \"user\" or \"assistant\"");
    if (auto error = read_role(role->get_ref<const std::string&>(), index, out.role))
      return error;
    for (const char* name : {"tool_calls", "function_call", "audio"})
      if (const json* value = find(message, name); value != nullptr && !value->empty())
        return ApiError::bad_request(where_ + "." + name, where_ + "." + name + ": this server does not support it");
    const json* content = find(message, "content");
    if (content == nullptr)
      return out.role == ChatRole::Assistant
                 ? MaybeError()
                 : ApiError::bad_request(where_ + ".content", where_ + ".content: wanted text or parts");
    if (content->is_string()) {
      out.text = content->get<std::string>();
      return std::nullopt;
    }
    if (!content->is_array())
      return wrong(where_ + ".content", *content, "text or an array of parts");
    return read_parts(*content, out);
  }

 private:
  MaybeError read_role(const std::string& name, size_t index, ChatRole& role) const {
    if (name == "user")
      role = ChatRole::User;
    else if (name == "assistant")
      role = ChatRole::Assistant;
    else if (name == "system" || name == "developer")
      role = ChatRole::System;
    else
      return wrong(where_ + ".role", name, "\"system\", \"user\" or \"assistant\"");
    if (role == ChatRole::System && index > 0)
      return ApiError::bad_request(where_ + ".role", where_ + ".role: a system message must be the first one");
    return std::nullopt;
  }

  // Pictures that all stand before the text need no marks, so that the text may place its own; others are marked where they stand.
  MaybeError read_parts(const json& parts, ChatMessage& out) {
    bool text_before_picture = false, own_marks = false;
    std::string marked;
    for (size_t i = 0; i < parts.size(); ++i) {
      part_ = where_ + ".content[" + std::to_string(i) + "]";
      const json& part = parts[i];
      const json* type = part.is_object() ? find(part, "type") : nullptr;
      if (type == nullptr || !type->is_string())
        return ApiError::bad_request(part_, part_ + ": wanted an object with a type");
      const std::string& name = type->get_ref<const std::string&>();
      if (name == "image_url") {
        if (auto error = read_picture(part, out))
          return error;
        text_before_picture = text_before_picture || !out.text.empty();
        marked += kImageMark;
        continue;
      }
      if (name != "text")
        return wrong(part_ + ".type", name, "\"text\" or \"image_url\"");
      const json* text = find(part, "text");
      if (text == nullptr || !text->is_string())
        return ApiError::bad_request(part_ + ".text", part_ + ".text: wanted text");
      const std::string& value = text->get_ref<const std::string&>();
      own_marks = own_marks || value.find(kImageMark) != std::string::npos;
      out.text += value;
      marked += value;
    }
    if (text_before_picture && own_marks)
      return ApiError::bad_request(where_ + ".content",
                                   where_ + ".content: text before a picture and \"<image>\" in a text cannot go together");
    if (text_before_picture)
      out.text = marked;
    return std::nullopt;
  }

  MaybeError read_picture(const json& part, ChatMessage& out) {
    const std::string where = part_ + ".image_url";
    if (out.role != ChatRole::User)
      return ApiError::bad_request(where, where + ": only a user's message can hold pictures");
    const json* image = find(part, "image_url");
    const json* url = image != nullptr && image->is_object() ? find(*image, "url") : image;
    if (url == nullptr || !url->is_string())
      return ApiError::bad_request(where, where + ": wanted {\"url\": \"data:image/...;base64,...\"}");
    if (const json* detail = image->is_object() ? find(*image, "detail") : nullptr)
      if (*detail != "auto" && *detail != "high")
        return wrong(where + ".detail", *detail, "\"auto\" or \"high\", which are the same here");
    if (++pictures_ > limits_.pictures)
      return ApiError::bad_request(where, "messages: more than " + std::to_string(limits_.pictures) + " pictures",
                                   "too_many_images");

    std::string problem;
    DataUrl data = read_data_url(url->get_ref<const std::string&>(), problem);
    if (!problem.empty())
      return ApiError::bad_request(where + ".url", where + ".url: " + problem, "invalid_image_url");
    const std::optional<PictureSize> size = picture_size(data.bytes);
    if (!size)
      return ApiError::bad_request(where + ".url", where + ".url: not a PNG, JPEG, WebP or BMP picture", "invalid_image_format");
    pixels_ += size->pixels();
    const std::string sides = std::to_string(size->width) + " x " + std::to_string(size->height);
    if (size->pixels() > limits_.picture_pixels)
      return ApiError::bad_request(
          where + ".url",
          where + ".url: the picture is " + sides + ", wanted at most " + std::to_string(limits_.picture_pixels) + " pixels",
          "image_too_large");
    if (pixels_ > limits_.pixels_together)
      return ApiError::bad_request(where + ".url",
                                   where + ".url: with this picture of " + sides + " the request has more than " +
                                       std::to_string(limits_.pixels_together) + " pixels",
                                   "image_too_large");
    out.pictures.push_back(std::make_shared<const std::string>(std::move(data.bytes)));
    return std::nullopt;
  }

  const RequestLimits& limits_;
  std::string where_, part_;
  uint32_t pictures_ = 0;
  uint64_t pixels_ = 0;
};

MaybeError read_messages(const json& body, const RequestLimits& limits, std::vector<ChatMessage>& out) {
  const json* messages = find(body, "messages");
  if (messages == nullptr || !messages->is_array() || messages->empty())
    return ApiError::bad_request("messages", "messages: wanted an array of at least one message");
  if (messages->size() > limits.messages)
    return ApiError::bad_request("messages", "messages: more than " + std::to_string(limits.messages));
  MessageReader reader(limits);
  for (size_t i = 0; i < messages->size(); ++i)
    if (auto error = reader.read((*messages)[i], i, out.emplace_back()))
      return error;
  if (out.back().role != ChatRole::User)
    return ApiError::bad_request("messages", "messages: the last one must be a user's");
  return std::nullopt;
}

// --- Members that stand alone -------------------------------------------------------------------------------------------------

constexpr std::array kRead = {"messages",    "model",    "stream",       "stream_options", "stop",
                              "seed",        "logprobs", "top_logprobs", "max_tokens",     "max_completion_tokens",
                              "temperature", "top_p",    "top_k",        "min_p",          "repeat_penalty",
                              "vl2"};
// These say who asks, or how it is billed and stored: the answer is the same.
constexpr std::array kIgnored = {"user",
                                 "metadata",
                                 "store",
                                 "service_tier",
                                 "safety_identifier",
                                 "prompt_cache_key",
                                 "prompt_cache_retention",
                                 "parallel_tool_calls",
                                 "prediction"};

// What would change the answer and is not built, with the one value that would not.
MaybeError check_unsupported(const json& body) {
  const auto refuse = [](const char* name, const std::string& why) {
    return ApiError::bad_request(name, std::string(name) + ": " + why, "unsupported_parameter");
  };
  for (const char* name : {"presence_penalty", "frequency_penalty"})
    if (const json* value = find(body, name); value != nullptr && *value != 0)
      return refuse(name, "not supported, wanted 0; repeat_penalty is there");
  if (const json* n = find(body, "n"); n != nullptr && *n != 1)
    return refuse("n", "not supported, wanted 1 answer");
  for (const char* name : {"tools", "functions", "logit_bias"})
    if (const json* value = find(body, name); value != nullptr && !value->empty())
      return refuse(name, "not supported");
  for (const char* name : {"tool_choice", "function_call"})
    if (const json* value = find(body, name); value != nullptr && *value != "none" && *value != "auto")
      return refuse(name, "not supported, wanted \"none\" or \"auto\"");
  if (const json* modalities = find(body, "modalities"); modalities != nullptr && *modalities != json::array({"text"}))
    return refuse("modalities", "not supported, wanted [\"text\"]");
  return std::nullopt;
}

MaybeError check_names(const json& body) {
  static constexpr std::array kChecked = {"presence_penalty", "frequency_penalty", "n",           "tools",
                                          "functions",        "logit_bias",        "tool_choice", "modalities",
                                          "response_format",  "function_call"};
  const auto among = [](const auto& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& [name, value] : body.items())
    if (!value.is_null() && !among(kRead, name) && !among(kIgnored, name) && !among(kChecked, name))
      return ApiError::bad_request(name.substr(0, 60), name.substr(0, 60) + ": this server does not know it",
                                   "unsupported_parameter");
  return check_unsupported(body);
}

// The schema of a request with its properties in the order of the text, which decides about the order in the answer.
std::string schema_text(std::string_view text) {
  using nlohmann::ordered_json;
  // Of the members of the request only response_format is kept: the others may hold pictures.
  const auto keep = [](int depth, ordered_json::parse_event_t event, ordered_json& value) {
    return depth != 1 || event != ordered_json::parse_event_t::key || value == "response_format";
  };
  const ordered_json body = ordered_json::parse(text, keep, /*allow_exceptions=*/false);
  const ordered_json::json_pointer place("/response_format/json_schema/schema");
  return body.contains(place) ? body.at(place).dump(-1, ' ', false, ordered_json::error_handler_t::replace) : std::string();
}

MaybeError read_response_format(const json& body, std::string_view text, ChatRequest& request) {
  const auto refuse = [](const std::string& why) { return ApiError::bad_request("response_format", "response_format" + why); };
  const json* format = find(body, "response_format");
  if (format == nullptr)
    return std::nullopt;
  const json* type = format->is_object() ? find(*format, "type") : nullptr;
  if (type == nullptr || (*type != "text" && *type != "json_object" && *type != "json_schema"))
    return refuse(".type: wanted \"text\", \"json_object\" or \"json_schema\"");
  if (*type == "text")
    return std::nullopt;
  request.tagged = true;  // what looks like a tag in JSON is letters
  if (*type == "json_object") {
    request.options.schema = R"({"type":"object"})";
    return std::nullopt;
  }
  const json* holder = find(*format, "json_schema");
  if (holder == nullptr || !holder->is_object())
    return refuse(".json_schema: wanted an object with name and schema");
  for (const auto& [name, value] : holder->items())
    if (name != "name" && name != "description" && name != "strict" && name != "schema")
      return refuse(".json_schema: this server does not know its member " + name.substr(0, 60));
  const json* name = find(*holder, "name");
  if (name == nullptr || !name->is_string())
    return refuse(".json_schema.name: wanted a name");
  if (const json* schema = find(*holder, "schema"); schema == nullptr || !schema->is_object())
    return refuse(".json_schema.schema: wanted an object");
  request.options.schema = schema_text(text);
  if (request.options.schema.empty())
    return refuse(".json_schema.schema: twice in one request");
  return std::nullopt;
}

MaybeError read_stop(const json& body, std::vector<std::string>& out) {
  const json* stop = find(body, "stop");
  if (stop == nullptr)
    return std::nullopt;
  if (stop->is_string())
    out.push_back(stop->get<std::string>());
  else if (stop->is_array())
    for (const json& one : *stop) {
      if (!one.is_string())
        return wrong("stop", one, "text");
      out.push_back(one.get<std::string>());
    }
  else
    return wrong("stop", *stop, "text or an array of texts");
  if (out.size() > kMostStops)
    return ApiError::bad_request("stop", "stop: got " + std::to_string(out.size()) + " texts, wanted at most 4");
  for (const std::string& one : out)
    if (one.empty() || one.size() > kLongestStop)
      return ApiError::bad_request("stop", "stop: got a text of " + std::to_string(one.size()) + " bytes, wanted 1 to 1000");
  return std::nullopt;
}

MaybeError read_options(const json& body, ChatRequest& request) {
  Reader reader(body);
  ChatOptions& options = request.options;
  reader.reply_number("max_completion_tokens", options.reply, "max_tokens");
  for (const char* name : {"max_tokens", "temperature", "top_p", "min_p", "repeat_penalty", "top_k", "seed"})
    reader.reply_number(name, options.reply, name);
  reader.whole("top_logprobs", 0, 20, options.top_logprobs);
  reader.boolean("logprobs", options.logprobs);
  reader.boolean("stream", request.stream);
  options.fresh = find(body, "seed") != nullptr;
  if (!reader.error() && options.top_logprobs > 0 && !options.logprobs)
    reader.keep(ApiError::bad_request("top_logprobs", "top_logprobs: needs \"logprobs\": true"));
  return std::move(reader.error());
}

}  // namespace

std::optional<ApiError> parse_json(std::string_view body, nlohmann::json& value) {
  if (is_too_large(body))
    return ApiError::bad_request("", "body: JSON with more than 32 levels or 100000 values");
  value = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded())
    return ApiError::bad_request("", "body: not JSON", "invalid_json");
  if (!value.is_object())
    return ApiError::bad_request("", std::string("body: got ") + value.type_name() + ", wanted an object");
  return std::nullopt;
}

std::optional<ApiError> read_chat_request(const nlohmann::json& body, std::string_view text, const RequestLimits& limits,
                                          ChatRequest& request) {
  if (auto error = check_names(body))
    return error;
  if (const json* model = find(body, "model")) {
    if (!model->is_string())
      return wrong("model", *model, "a name");
    request.model = model->get<std::string>();
  }
  if (auto error = read_options(body, request))
    return error;
  if (auto error = read_stop(body, request.stop))
    return error;
  struct Member {
    const char *object, *name;
    bool* out;
  };
  const Member members[] = {{"stream_options", "include_usage", &request.include_usage},
                            {"vl2", "tags", &request.tagged},
                            {"vl2", "loop_guard", &request.options.loop_guard}};
  for (const char* name : {"stream_options", "vl2"}) {
    const json* object = find(body, name);
    if (object == nullptr)
      continue;
    if (!object->is_object())
      return wrong(name, *object, "an object");
    Reader reader(*object);
    for (const auto& [key, value] : object->items()) {
      const auto known = std::find_if(std::begin(members), std::end(members), [&, &key = key](const Member& member) {
        return std::string_view(member.object) == name && key == member.name;
      });
      if (known != std::end(members))
        reader.boolean(known->name, *known->out);
      else if (key != "include_obfuscation")
        return ApiError::bad_request(name, std::string(name) + ": this server does not know its member " + key.substr(0, 60));
    }
    if (reader.error())
      return reader.error();
  }
  if (find(body, "stream_options") != nullptr && !request.stream)
    return ApiError::bad_request("stream_options", "stream_options: needs \"stream\": true");
  if (auto error = read_response_format(body, text, request))
    return error;
  return read_messages(body, limits, request.messages);
}

}  // namespace vl2::server
