// Pages asked about, several at a time: a thread and a session each, whose next tokens the library makes in common steps. On nothing but
// the C API.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "app/batch/page_loader.h"
#include "app/batch/result_writer.h"
#include "app/commands/commands.h"
#include "app/vl2_handles.h"

namespace vl2::batch {

/// What every page is asked.
struct Question {
  std::string prompt;
  AnswerOptions answer;
};

class PageSlots {
 public:
  /// Sessions for so many pages at a time; fewer where memory holds no more, one at least.
  ///
  /// model   outlives the slots
  /// wanted  0: as many as usual
  /// Errors  those of vl2_session_create() for the first one
  static Result<PageSlots> make(vl2_model* model, uint32_t wanted);

  uint32_t count() const { return static_cast<uint32_t>(sessions_.size()); }

  /// Asks about all pages of the loader. Each result goes to the writer; a page that cannot be answered has an error for a result.
  /// Ends early when writing fails, which the writer says.
  ///
  /// Errors  Cancelled: Ctrl-C; those of the device, which would befall every other page, too
  Status answer(const Question& question, PageLoader& loader, ResultWriter& writer);

 private:
  PageSlots(const vl2_model* model, std::vector<SessionHandle> sessions) : model_(model), sessions_(std::move(sessions)) {}

  const vl2_model* model_;
  std::vector<SessionHandle> sessions_;
};

}  // namespace vl2::batch
