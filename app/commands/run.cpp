// `vl2 run`: one question about pictures, on nothing but the C API.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/answering.h"
#include "app/dry_run.h"
#include "app/interrupt.h"
#include "app/output_path.h"

namespace vl2 {

namespace {

struct Timings {
  double load_ms = 0, prompt_ms = 0, answer_ms = 0;
};

// Milliseconds since the last call.
class Watch {
 public:
  double lap_ms() {
    const auto before = std::exchange(last_, std::chrono::steady_clock::now());
    return std::chrono::duration<double, std::milli>(last_ - before).count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

Result<std::vector<Image>> read_pictures(const std::vector<std::string>& paths) {
  std::vector<Image> images;
  for (const std::string& path : paths) {
    VL2_ASSIGN(Image image, read_image_file(path));
    images.push_back(std::move(image));
  }
  return images;
}

// The schema that --json-schema names, checked before anything is loaded; empty for none.
Result<std::string> read_schema(const std::string& given) {
  if (given.empty())
    return std::string();
  std::string text = given;
  if (const char* builtin = vl2_builtin_schema(given.c_str())) {
    text = builtin;
  } else if (given.find('{') == std::string::npos && given != "true") {
    constexpr std::streamsize kMost = 1 << 20;  // more than a schema may have
    std::ifstream file(given, std::ios::binary);
    if (!file || std::filesystem::is_directory(given))
      return fail(Code::NotFound, "--json-schema: ", given, " is no file, no JSON and none of boxes, table, kv, object");
    text.resize(kMost);
    text.resize(static_cast<size_t>(file.read(text.data(), kMost).gcount()));
  }
  VL2_TRY(status_of_call(vl2_check_schema(text.data(), text.size())));
  return text;
}

void print_json(const vl2_reply& reply, const std::vector<vl2_box>& boxes, const std::vector<std::string>& notes,
                const Timings& timings) {
  const nlohmann::json out = {{"text", std::string(reply.text, reply.text_bytes)},
                              {"tagged_text", std::string(reply.tagged_text, reply.tagged_text_bytes)},
                              {"boxes", boxes_json(boxes)},
                              {"notes", notes},
                              {"stop", vl2_stop_reason_name(reply.stop_reason)},
                              {"prompt_tokens", reply.prompt_tokens},
                              {"answer_tokens", reply.answer_tokens},
                              {"load_ms", timings.load_ms},
                              {"prompt_ms", timings.prompt_ms},
                              {"answer_ms", timings.answer_ms}};
  std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

void print_boxes(const vl2_reply& reply, const std::vector<vl2_box>& boxes) {
  for (const vl2_box& box : boxes)
    std::printf("%s\n", box_line(box).c_str());
  if (boxes.empty())
    print_warning("no box in the answer: " + std::string(reply.text, reply.text_bytes));
}

// What goes to the terminal beside the answer.
void print_notes(vl2_session* session, const vl2_reply& reply, const Timings& timings, Progress& progress) {
  for (uint32_t i = 0; i < vl2_session_problem_count(session); ++i)
    progress.note(vl2_session_problem(session, i));
  char line[160];
  std::snprintf(line, sizeof(line), "%u prompt tokens in %.2f s, %u answer tokens in %.2f s (%.1f tokens/s)", reply.prompt_tokens,
                timings.prompt_ms * 1e-3, reply.answer_tokens, timings.answer_ms * 1e-3,
                reply.answer_tokens / (timings.answer_ms * 1e-3));
  progress.note(line);
}

}  // namespace

Status run_command(const RunOptions& options) {
  if (!options.annotate.empty() && options.images.empty())
    return fail(Code::BadArgument, "run: --annotate draws on a picture, and no --image was given");
  VL2_TRY(check_output_file(options.annotate));
  VL2_ASSIGN(const std::string schema, read_schema(options.schema));
  VL2_ASSIGN(std::vector<Image> images, read_pictures(options.images));
  if (options.dry_run)
    return print_dry_run(options, images);
  Timings timings;
  Watch watch;
  VL2_ASSIGN(
      const ModelHandle model,
      open_model(options.model, VL2_LOAD_NO_PICTURE_CACHE | (options.images.empty() ? VL2_LOAD_TEXT_ONLY : VL2_LOAD_NEEDS_EYES)));
  vl2_session* made = nullptr;
  VL2_TRY(status_of_call(vl2_session_create(model.get(), nullptr, &made)));
  const SessionHandle owner(made);
  vl2_session* const session = owner.get();
  timings.load_ms = watch.lap_ms();

  Progress progress(wants_progress(options.model.quiet));
  std::vector<vl2_picture> sizes;
  std::vector<std::string> notes;
  for (const Image& image : images) {
    VL2_TRY(status_of_call(vl2_session_add_image(session, image.rgb.data(), image.width, image.height)));
    sizes.push_back({.struct_size = sizeof(vl2_picture), .width = image.width, .height = image.height});
    if (const std::string warning = small_text_warning(model.get(), image, images.size()); !warning.empty())
      notes.push_back(options.images[sizes.size() - 1] + ": " + warning);
  }
  if (std::string warning = lost_tiles_warning(model.get(), sizes, sizes.size()); !warning.empty())
    notes.push_back(std::move(warning));
  for (const std::string& note : notes)
    if (!options.model.quiet)
      print_warning(note);
  VL2_TRY(status_of_call(vl2_session_add_message(session, VL2_ROLE_USER, options.prompt.data(), options.prompt.size())));
  vl2_reply_options how = reply_options_of(options.answer, &progress);
  how.flags |= options.special ? VL2_REPLY_TAGS : 0;
  how.flags |= options.probabilities ? VL2_REPLY_PROBABILITIES : 0;
  how.schema = schema.empty() ? nullptr : schema.data();
  how.schema_bytes = schema.size();
  VL2_TRY(status_of_call(vl2_session_start(session, &how)));
  timings.prompt_ms = watch.lap_ms();
  progress.clear();

  catch_interrupts();
  VL2_TRY(stream_answer(session, !options.json && !options.list_boxes));
  timings.answer_ms = watch.lap_ms();
  vl2_reply reply{};
  reply.struct_size = sizeof(reply);
  VL2_TRY(status_of_call(vl2_session_get_reply(session, &reply)));
  VL2_ASSIGN(const std::vector<vl2_box> boxes, boxes_of(session));
  std::string loop = loop_warning(reply);
  if (!loop.empty())
    notes.push_back(loop);
  if (options.json)
    print_json(reply, boxes, notes, timings);
  else if (options.list_boxes)
    print_boxes(reply, boxes);
  else
    std::printf("\n");
  print_notes(session, reply, timings, progress);
  if (!loop.empty() && !options.model.quiet)
    print_warning(loop);
  return options.annotate.empty() ? Status{} : write_annotated(boxes, images.back(), options.annotate);
}

}  // namespace vl2
