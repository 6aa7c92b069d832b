// Base64 as RFC 4648 has it, and data URLs.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace vl2::server {

/// The bytes of a base64 text; nothing when it has another character, a wrong length or bits left over. Padding may be left out.
std::optional<std::string> decode_base64(std::string_view text);

/// The media type, in small letters, and the bytes of "data:TYPE;base64,...".
struct DataUrl {
  std::string type;
  std::string bytes;
};

/// Sets `problem` to what is wrong with the URL, worded to follow "image_url.url: ", or to nothing.
DataUrl read_data_url(std::string_view url, std::string& problem);

}  // namespace vl2::server
