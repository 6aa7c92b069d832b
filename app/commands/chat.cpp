// `vl2 chat`: a conversation about pictures, on nothing but the C API. Answers and what commands print go to standard output; what
// stands around them on a terminal, to standard error.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "app/answering.h"
#include "app/dry_run.h"
#include "app/interrupt.h"
#include "app/line_reader.h"
#include "app/output_path.h"

namespace vl2 {

namespace {

constexpr const char* kHelp =
    "/image FILE      shows a picture with the next message; may be given again\n"
    "/image           takes back the pictures of the next message\n"
    "/boxes           the boxes of the last answer, in pixels of the last picture\n"
    "/boxes FILE.png  writes that picture with the boxes drawn\n"
    "/regen           answers the last message again, with another seed when drawing (--temp)\n"
    "/clear           forgets the conversation\n"
    "/save FILE       writes the conversation as JSON\n"
    "/help            this list\n"
    "/exit            ends, as Ctrl-D does\n"
    "Anything else is a message. Ctrl-C stops an answer; with none under way it ends the conversation.\n";

std::string trimmed(const std::string& text) {
  constexpr const char* kBlank = " \t";
  const size_t first = text.find_first_not_of(kBlank);
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(kBlank) + 1 - first);
}

class Chat {
 public:
  Chat(const ChatOptions& options, const vl2_model* model, vl2_session* session)
      : options_(options), model_(model), session_(session), progress_(wants_progress(options.model.quiet)) {}

  // Until the end of the input or /exit. On a terminal a line that fails is told and the next one asked for; elsewhere nobody would
  // see to it, and what comes after would be about something else.
  Status run() {
    const bool asks = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
    if (asks && !options_.model.quiet)
      std::fputs("/help lists the commands, Ctrl-D ends\n", stderr);
    if (const uint32_t count = vl2_session_message_count(session_); count > 0 && asks && !options_.model.quiet)
      std::fprintf(stderr, "%s: %u messages so far\n", options_.session.c_str(), count);
    for (const std::string& path : options_.images)
      VL2_TRY(attach(path));
    LineReader lines(STDIN_FILENO);
    while (!ended_) {
      if (asks)
        std::fputs("> ", stderr);
      VL2_ASSIGN(const std::optional<std::string> line, lines.next());
      if (!line) {
        if (asks)
          std::fputs("\n", stderr);
        break;
      }
      const Status status = obey(trimmed(*line));
      std::fflush(stdout);
      if (!status.ok() && (!asks || status.code() == Code::DeviceLost))
        return status;
      if (!status.ok())
        std::fprintf(stderr, "vl2: %s\n", status.message().c_str());
      ended_ = ended_ || interrupt_count() > 1;  // asked twice, or told to by SIGTERM
      reset_interrupt();
    }
    reset_interrupt();  // that was the way to end it
    if (attached_.empty())
      return {};
    if (!options_.session.empty())
      print_warning("pictures of a message that was not written are not saved");
    return detach();
  }

 private:
  Status obey(const std::string& line) {
    if (line.empty())
      return {};
    if (line.front() != '/')
      return say(line);
    const size_t space = std::min(line.find_first_of(" \t"), line.size());
    const std::string command = line.substr(0, space), argument = trimmed(line.substr(space));
    if (command == "/image")
      return argument.empty() ? detach() : attach(argument);
    if (command == "/boxes")
      return argument.empty() ? list_boxes() : draw_boxes_to(argument);
    if (command == "/save")
      return save(argument);
    const auto simple = {"/regen", "/clear", "/help", "/exit"};
    if (std::find(simple.begin(), simple.end(), command) == simple.end())
      return fail(Code::BadArgument, "chat: ", command, ": no such command (/help lists them)");
    if (!argument.empty())
      return fail(Code::BadArgument, "chat: ", command, " takes nothing after it, got ", argument);
    if (command == "/regen")
      return regenerate();
    if (command == "/clear")
      return clear();
    if (command == "/help")
      std::fputs(kHelp, stdout);
    ended_ = command == "/exit";
    return {};
  }

  // ---- Pictures ----

  Status attach(const std::string& path) {
    VL2_ASSIGN(const Image image, read_image_file(path));
    VL2_TRY(status_of_call(vl2_session_add_image(session_, image.rgb.data(), image.width, image.height)));
    attached_.push_back({.struct_size = sizeof(vl2_picture), .width = image.width, .height = image.height});
    attached_paths_.push_back(path);
    std::vector<vl2_picture> sizes(vl2_session_picture_count(session_));
    for (uint32_t i = 0; i < sizes.size(); ++i) {
      sizes[i].struct_size = sizeof(vl2_picture);
      VL2_TRY(status_of_call(vl2_session_get_picture(session_, i, &sizes[i])));
    }
    sizes.insert(sizes.end(), attached_.begin(), attached_.end());
    if (const std::string warning = lost_tiles_warning(model_, sizes, 1); !warning.empty() && !options_.model.quiet)
      print_warning(warning);
    if (options_.model.quiet)
      return {};
    if (const std::string warning = small_text_warning(model_, image, sizes.size()); !warning.empty())
      print_warning(path + ": " + warning);
    return {};
  }

  Status detach() {
    VL2_TRY(status_of_call(vl2_session_truncate(session_, vl2_session_message_count(session_))));
    attached_.clear();
    attached_paths_.clear();
    return {};
  }

  // ---- Answers ----

  // A message that cannot be answered is taken back, its pictures with it.
  Status say(const std::string& text) {
    const uint32_t before = vl2_session_message_count(session_);
    const std::vector<std::string> pictures = std::exchange(attached_paths_, {});
    attached_.clear();
    Status status = status_of_call(vl2_session_add_message(session_, VL2_ROLE_USER, text.data(), text.size()));
    if (status.ok())
      status = answer(0);
    if (!status.ok()) {
      VL2_TRY(status_of_call(vl2_session_truncate(session_, before)));
      return status.code() == Code::Cancelled
                 ? fail(Code::Cancelled, "chat: stopped before the answer; the message is taken back")
                 : status;
    }
    extras_[before].pictures = pictures;
    regenerated_ = 0;
    return {};
  }

  // Where that fails the answer of before stands.
  Status regenerate() {
    if (!attached_.empty())
      return fail(Code::BadArgument, "chat: /regen: there are pictures of a message not written yet (/image takes them back)");
    const uint32_t count = vl2_session_message_count(session_);
    if (count == 0)
      return fail(Code::BadArgument, "chat: /regen: nothing was asked yet");
    vl2_message last{};
    last.struct_size = sizeof(last);
    VL2_TRY(status_of_call(vl2_session_get_message(session_, count - 1, &last)));
    const std::string text(last.text, last.text_bytes);
    VL2_TRY(status_of_call(vl2_session_truncate(session_, count - 1)));
    const Status status = answer(++regenerated_);
    if (!status.ok()) {
      VL2_TRY(status_of_call(vl2_session_truncate(session_, count - 1)));
      VL2_TRY(status_of_call(vl2_session_add_message(session_, VL2_ROLE_ASSISTANT, text.data(), text.size())));
    }
    return status.code() == Code::Cancelled ? fail(Code::Cancelled, "chat: stopped before the answer; the one before stands")
                                            : status;
  }

  // Answers the last message; the how-manieth time decides on the seed.
  Status answer(uint64_t again) {
    AnswerOptions how = options_.answer;
    how.reply.seed += again;
    const vl2_reply_options reply_options = reply_options_of(how, &progress_);
    const vl2_status started = vl2_session_start(session_, &reply_options);
    progress_.clear();
    VL2_TRY(status_of_call(started));
    VL2_TRY(stream_answer(session_, true));
    std::printf("\n");
    std::fflush(stdout);
    vl2_reply reply{};
    reply.struct_size = sizeof(reply);
    VL2_TRY(status_of_call(vl2_session_get_reply(session_, &reply)));
    if (reply.stop_reason == VL2_STOP_CONTEXT_FULL)
      print_warning("the context of " + std::to_string(vl2_session_context_tokens(session_)) +
                    " tokens is full: /clear begins anew, -c takes another size");
    if (const std::string warning = loop_warning(reply); !warning.empty() && !options_.model.quiet)
      print_warning(warning);
    for (uint32_t i = 0; i < vl2_session_problem_count(session_); ++i)
      progress_.note(vl2_session_problem(session_, i));
    VL2_ASSIGN(const std::vector<vl2_box> boxes, boxes_of(session_));
    extras_.resize(vl2_session_message_count(session_));
    extras_.back() = {.pictures = {}, .stop = vl2_stop_reason_name(reply.stop_reason), .boxes = boxes_json(boxes)};
    return {};
  }

  Status clear() {
    VL2_TRY(detach());
    extras_.clear();
    regenerated_ = 0;
    return status_of_call(vl2_session_clear(session_));
  }

  // ---- What comes of it ----

  Result<std::vector<vl2_box>> boxes_of_answer() {
    vl2_reply reply{};
    reply.struct_size = sizeof(reply);
    if (vl2_session_get_reply(session_, &reply) != VL2_OK)
      return fail(Code::BadArgument, "chat: /boxes: there is no answer to take them from");
    return boxes_of(session_);
  }

  Status list_boxes() {
    VL2_ASSIGN(const std::vector<vl2_box> boxes, boxes_of_answer());
    for (const vl2_box& box : boxes)
      std::printf("%s\n", box_line(box).c_str());
    if (boxes.empty())
      std::printf("no boxes\n");
    return {};
  }

  Status draw_boxes_to(const std::string& path) {
    VL2_TRY(check_output_file(path));
    VL2_ASSIGN(const std::vector<vl2_box> boxes, boxes_of_answer());
    if (boxes.empty() || boxes.front().picture == UINT32_MAX)
      return fail(Code::BadArgument, "chat: /boxes ", path, ": the answer has no boxes on a picture, nothing is written");
    vl2_picture picture{};
    picture.struct_size = sizeof(picture);
    VL2_TRY(status_of_call(vl2_session_get_picture(session_, boxes.front().picture, &picture)));
    const size_t bytes = size_t{picture.width} * picture.height * 3;
    Image image{picture.width, picture.height, std::vector<uint8_t>(picture.rgb, picture.rgb + bytes)};
    return write_annotated(boxes, image, path);
  }

  // The pictures of a message, with their files as far as they were given to this run.
  Result<nlohmann::json> pictures_json(const vl2_message& message, const std::vector<std::string>& paths) {
    nlohmann::json list = nlohmann::json::array();
    for (uint32_t i = 0; i < message.picture_count; ++i) {
      vl2_picture picture{};
      picture.struct_size = sizeof(picture);
      VL2_TRY(status_of_call(vl2_session_get_picture(session_, message.first_picture + i, &picture)));
      list.push_back({{"width", picture.width}, {"height", picture.height}});
      if (i < paths.size())
        list.back()["file"] = paths[i];
    }
    return list;
  }

  Status save(const std::string& path) {
    if (path.empty())
      return fail(Code::BadArgument, "chat: /save: wanted a file to write");
    constexpr const char* kRoles[] = {"system", "user", "assistant"};
    nlohmann::json messages = nlohmann::json::array();
    for (uint32_t i = 0; i < vl2_session_message_count(session_); ++i) {
      vl2_message message{};
      message.struct_size = sizeof(message);
      VL2_TRY(status_of_call(vl2_session_get_message(session_, i, &message)));
      nlohmann::json entry = {{"role", kRoles[message.role]}, {"content", std::string(message.text, message.text_bytes)}};
      const Extra extra = i < extras_.size() ? extras_[i] : Extra();
      if (message.picture_count > 0) {
        VL2_ASSIGN(entry["pictures"], pictures_json(message, extra.pictures));
      }
      if (!extra.stop.empty()) {
        entry["stop"] = extra.stop;
        entry["boxes"] = extra.boxes;
      }
      messages.push_back(std::move(entry));
    }
    const nlohmann::json out = {{"model", options_.model.model}, {"messages", messages}};
    return replace_text_file(path, out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }

  // What the session does not know of a message.
  struct Extra {
    std::vector<std::string> pictures;  // the files, in order
    std::string stop;                   // of an answer
    nlohmann::json boxes;
  };

  const ChatOptions& options_;
  const vl2_model* const model_;
  vl2_session* const session_;
  Progress progress_;
  std::vector<vl2_picture> attached_;  // to the next message: their sizes
  std::vector<std::string> attached_paths_;
  std::vector<Extra> extras_;  // of each message
  uint64_t regenerated_ = 0;   // how often the last message was answered again
  bool ended_ = false;
};

}  // namespace

Status chat_command(const ChatOptions& options) {
  constexpr int kStopsAtOnce = 3;  // the first ends an answer, the second the conversation
  if (options.dry_run && !options.session.empty())
    return fail(Code::BadArgument,
                "chat: --dry-run loads no model, without which nothing is known of the conversation of --session");
  if (options.dry_run)
    return print_dry_run(options);
  VL2_TRY(check_output_file(options.session));
  VL2_ASSIGN(const ModelHandle model, open_model(options.model, options.images.empty() ? 0 : VL2_LOAD_NEEDS_EYES));
  const char* const file = options.session.c_str();
  vl2_session* made = nullptr;
  vl2_status status = options.session.empty() ? VL2_ERROR_NOT_FOUND : vl2_session_load(model.get(), file, nullptr, &made);
  if (status == VL2_ERROR_NOT_FOUND)
    status = vl2_session_create(model.get(), nullptr, &made);
  VL2_TRY(status_of_call(status));
  const SessionHandle session(made);
  catch_interrupts(kStopsAtOnce);
  VL2_TRY(Chat(options, model.get(), session.get()).run());
  return options.session.empty() ? Status() : status_of_call(vl2_session_save(session.get(), file));
}

}  // namespace vl2
