#include "app/batch/answer_pages.h"

#include <array>
#include <functional>
#include <future>
#include <thread>

#include "app/answering.h"
#include "app/interrupt.h"

namespace vl2::batch {

namespace {

// Four answers take a GPU half the time that they take one after another, and eight little less (README: conversations decoded
// together); a CPU driver, too, is not slower for it (app/docs/batch.md).
constexpr uint32_t kUsualSlots = 4;

// One thread's part of the work, with what it shares with the others.
struct Slot {
  const vl2_model* model;
  vl2_session* session;
  const Question& question;
  std::atomic<bool>& ended;  // something ended everything, for all slots
};

Status give_answer(const Slot& slot) {
  vl2_piece piece{};
  piece.struct_size = sizeof(piece);
  for (;;) {
    const vl2_status status = vl2_session_next(slot.session, &piece);
    VL2_TRY(status_of_call(status));
    if (status == VL2_END)
      return {};
    if (interrupted() || slot.ended)
      return fail(Code::Cancelled, "batch: stopped");
  }
}

Status read_reply(vl2_session* session, PageResult& result) {
  vl2_reply reply{};
  reply.struct_size = sizeof(reply);
  VL2_TRY(status_of_call(vl2_session_get_reply(session, &reply)));
  result.text.assign(reply.text, reply.text_bytes);
  result.tagged_text.assign(reply.tagged_text, reply.tagged_text_bytes);
  result.stop = vl2_stop_reason_name(reply.stop_reason);
  result.prompt_tokens = reply.prompt_tokens;
  result.answer_tokens = reply.answer_tokens;
  for (uint32_t i = 0; i < vl2_session_box_count(session); ++i) {
    vl2_box box{};
    box.struct_size = sizeof(box);
    VL2_TRY(status_of_call(vl2_session_get_box(session, i, &box)));
    result.boxes.push_back({box.label, std::to_array(box.thousandths), {box.left, box.top, box.right, box.bottom}});
  }
  for (uint32_t i = 0; i < vl2_session_problem_count(session); ++i)
    result.notes.emplace_back(vl2_session_problem(session, i));
  if (std::string warning = loop_warning(reply); !warning.empty())
    result.notes.push_back(std::move(warning));
  return {};
}

Status ask(const Slot& slot, const Image& image, PageResult& result) {
  VL2_TRY(status_of_call(vl2_session_add_image(slot.session, image.rgb.data(), image.width, image.height)));
  const std::string& prompt = slot.question.prompt;
  VL2_TRY(status_of_call(vl2_session_add_message(slot.session, VL2_ROLE_USER, prompt.data(), prompt.size())));
  const vl2_reply_options how = reply_options_of(slot.question.answer, nullptr);
  VL2_TRY(status_of_call(vl2_session_start(slot.session, &how)));
  const Status status = give_answer(slot);
  if (!status.ok())
    vl2_session_end(slot.session);  // so that no other waits for its tokens
  VL2_TRY(status);
  return read_reply(slot.session, result);
}

// Whether an error is the end of the batch, and not of a page.
bool ends_everything(Code code) {
  return code == Code::Cancelled || code == Code::DeviceLost || code == Code::VulkanError || code == Code::NoDevice;
}

// Errors  those that end everything; any other one is the page's result
Result<PageResult> answer_page(const Slot& slot, const LoadedPage& page) {
  PageResult result;
  result.index = page.page.index;
  result.path = page.page.path;
  result.number = page.page.number;
  if (!page.note.empty())
    result.notes.push_back(page.note);
  Status status = page.status;
  if (status.ok()) {
    VL2_TRY(status_of_call(vl2_session_clear(slot.session)));                             // to the bit what a new session says
    auto warning = std::async(small_text_warning, slot.model, std::cref(page.image), 1);  // while the device works
    status = ask(slot, page.image, result);
    if (std::string note = warning.get(); !note.empty())
      result.notes.push_back(std::move(note));
  }
  if (status.ok())
    return result;
  if (ends_everything(status.code()))
    return status;
  PageResult failed;
  failed.index = result.index;
  failed.path = result.path;
  failed.number = result.number;
  failed.error = status.message();
  failed.file_bytes = page.page.file_bytes;
  return failed;
}

// Page after page until there are no more, or writing fails.
Status work(const Slot& slot, PageLoader& loader, ResultWriter& writer) {
  while (!slot.ended) {
    std::optional<LoadedPage> page = loader.next();
    if (!page)
      break;
    VL2_ASSIGN(PageResult result, answer_page(slot, *page));
    if (!writer.push(page->position, std::move(result)))
      slot.ended = true;
  }
  return interrupted() ? fail(Code::Cancelled, "batch: stopped") : Status();
}

}  // namespace

Result<PageSlots> PageSlots::make(vl2_model* model, uint32_t wanted) {
  const uint32_t count = wanted > 0 ? wanted : kUsualSlots;
  std::vector<SessionHandle> sessions;
  while (sessions.size() < count) {
    vl2_session* made = nullptr;
    const Status status = status_of_call(vl2_session_create(model, nullptr, &made));
    if (status.code() == Code::OutOfMemory && !sessions.empty())
      break;
    VL2_TRY(status);
    sessions.emplace_back(made);
  }
  return PageSlots(model, std::move(sessions));
}

Status PageSlots::answer(const Question& question, PageLoader& loader, ResultWriter& writer) {
  std::atomic<bool> ended{false};
  std::vector<Status> statuses(sessions_.size());
  const auto run = [&](size_t i) {
    statuses[i] = work({model_, sessions_[i].get(), question, ended}, loader, writer);
    if (statuses[i].ok())
      return;
    ended = true;
    writer.give_up();
  };
  std::vector<std::thread> threads;
  for (size_t i = 1; i < sessions_.size(); ++i)
    threads.emplace_back(run, i);
  run(0);
  for (std::thread& thread : threads)
    thread.join();
  // What one of them met is why the others were stopped.
  for (const Status& status : statuses)
    if (!status.ok() && status.code() != Code::Cancelled)
      return status;
  for (const Status& status : statuses)
    VL2_TRY(status);
  return {};
}

}  // namespace vl2::batch
