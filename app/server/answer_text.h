// What a client sees of an answer while it grows: tags and the numbers of boxes left out, stop texts found.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vl2::server {

/// Takes the text of an answer piece by piece, with its grounding tags, and gives out what is certain to be shown.
///
/// Shown is what vl2_reply.plain_text would be: labels stay; <|ref|>, <|/ref|>, <|grounding|> and everything from <|det|> to
/// <|/det|> are gone; from a <|det|> that is not closed the rest of its line. Of what is shown, the first of the stop texts and all
/// behind it are left out.
class AnswerText {
 public:
  /// tagged  tags and boxes are shown as they come
  AnswerText(std::vector<std::string> stop, bool tagged) : stop_(std::move(stop)), tagged_(tagged) {}

  /// Text that can be shown now, after `piece` has come.
  std::string push(std::string_view piece);
  /// The rest, at the end of the answer.
  std::string finish();
  /// Whether a stop text was found: nothing more will come out.
  bool stopped() const { return stopped_; }

 private:
  std::string without_tags(bool at_end);
  std::string up_to_stop(bool at_end);

  std::vector<std::string> stop_;
  bool tagged_ = false, stopped_ = false;
  bool in_boxes_ = false;  // behind a <|det|>
  std::string raw_;        // not looked at yet
  std::string shown_;      // without tags, not given out yet
};

}  // namespace vl2::server
