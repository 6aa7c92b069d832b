#include "app/server/answer_text.h"

#include <algorithm>
#include <array>
#include <utility>

namespace vl2::server {
namespace {

constexpr std::string_view kBoxesOpen = "<|det|>", kBoxesClose = "<|/det|>";
constexpr std::array<std::string_view, 5> kTags = {"<|ref|>", "<|/ref|>", "<|grounding|>", kBoxesOpen, kBoxesClose};

// The tag that `text` begins with; empty: none.
std::string_view tag_at(std::string_view text) {
  for (const std::string_view tag : kTags)
    if (text.starts_with(tag))
      return tag;
  return {};
}

bool may_become_tag(std::string_view text) {
  return std::any_of(kTags.begin(), kTags.end(), [&](std::string_view tag) { return tag.starts_with(text); });
}

}  // namespace

std::string AnswerText::push(std::string_view piece) {
  if (stopped_)
    return {};
  raw_ += piece;
  shown_ += without_tags(false);
  return up_to_stop(false);
}

std::string AnswerText::finish() {
  if (stopped_)
    return {};
  shown_ += without_tags(true);
  return up_to_stop(true);
}

std::string AnswerText::without_tags(bool at_end) {
  if (tagged_)
    return std::exchange(raw_, {});
  std::string out;
  size_t at = 0;
  for (; at < raw_.size(); ++at) {
    const std::string_view rest = std::string_view(raw_).substr(at);
    const std::string_view tag = rest.front() == '<' ? tag_at(rest) : std::string_view();
    if (!tag.empty()) {
      in_boxes_ = tag == kBoxesOpen;  // any other tag ends a box list, closed or not
      at += tag.size() - 1;
      continue;
    }
    if (rest.front() == '<' && !at_end && may_become_tag(rest))
      break;
    in_boxes_ = in_boxes_ && rest.front() != '\n';
    if (!in_boxes_)
      out += rest.front();
  }
  raw_.erase(0, at);
  return out;
}

std::string AnswerText::up_to_stop(bool at_end) {
  size_t end = shown_.size();
  for (const std::string& stop : stop_)
    if (const size_t found = shown_.find(stop); found != std::string::npos) {
      end = std::min(end, found);
      stopped_ = true;
    }
  if (!stopped_ && !at_end) {
    size_t held = 0;  // bytes at the end that may be the beginning of a stop text
    for (const std::string& stop : stop_)
      for (size_t length = std::min(stop.size() - 1, shown_.size()); length > held; --length)
        if (shown_.ends_with(std::string_view(stop).substr(0, length)))
          held = length;
    end -= held;
  }
  std::string out = shown_.substr(0, end);
  shown_.erase(0, end);
  return out;
}

}  // namespace vl2::server
