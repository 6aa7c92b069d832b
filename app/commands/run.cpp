// `vl2 run`: one question about pictures, on nothing but the C API.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/annotate.h"
#include "app/commands/commands.h"
#include "app/image_file.h"
#include "app/interrupt.h"
#include "app/output_path.h"
#include "app/progress.h"
#include "app/vl2_handles.h"

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

int show_loading(void*, vl2_phase, uint64_t done, uint64_t total) {
  std::fprintf(stderr, "\rloading %3d %%", static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total)));
  return 0;
}

Result<ModelHandle> load(const RunOptions& options) {
  if (!options.model.type.empty())
    VL2_TRY(quantize_mix_of(options.model.type).status());  // in the words of the command line
  const bool show = wants_progress(options.model.quiet);
  VL2_ASSIGN(vl2_load_options load, load_options_of(options.model));
  load.flags = options.images.empty() ? VL2_LOAD_TEXT_ONLY : VL2_LOAD_NEEDS_EYES;
  load.progress = show ? show_loading : nullptr;
  vl2_model* model = nullptr;
  const vl2_status status = vl2_model_load(options.model.model.c_str(), &load, &model);
  if (show)
    std::fprintf(stderr, "\r             \r");
  VL2_TRY(status_of_call(status));
  print_notice(model);
  return ModelHandle(model);
}

int show_reading(void* user, vl2_phase phase, uint64_t done, uint64_t total) {
  auto* const progress = static_cast<Progress*>(user);
  if (phase == VL2_PHASE_ENCODE)
    progress->step("encoding picture " + std::to_string(done + 1) + " of " + std::to_string(total));
  else if (done == 0)
    progress->step("reading " + std::to_string(total) + " tokens");
  return 0;
}

vl2_reply_options reply_options(const RunOptions& options, const std::string& schema, Progress& progress) {
  constexpr float kLeast = 1e-30f;  // as good as 0, which is the API's word for "off"
  vl2_reply_options reply{};
  reply.struct_size = sizeof(reply);
  reply.flags = options.special ? VL2_REPLY_TAGS : 0;
  reply.max_tokens = options.max_tokens;
  reply.top_k = options.top_k;
  reply.seed = options.seed;
  reply.temperature = options.temperature;
  reply.top_p = options.top_p == 0 ? kLeast : options.top_p;
  reply.min_p = options.min_p;
  reply.repeat_penalty = options.repeat_penalty;
  reply.progress = show_reading;
  reply.progress_user = &progress;
  reply.schema = schema.empty() ? nullptr : schema.data();
  reply.schema_bytes = schema.size();
  return reply;
}

// The answer, a piece at a time; printed as it comes unless it shall be JSON.
Status answer(vl2_session* session, bool print) {
  vl2_piece piece{};
  piece.struct_size = sizeof(piece);
  for (;;) {
    const vl2_status status = vl2_session_next(session, &piece);
    VL2_TRY(status_of_call(status));
    if (status == VL2_END)
      return {};
    if (print && piece.text_bytes > 0) {
      std::fwrite(piece.text, 1, piece.text_bytes, stdout);
      std::fflush(stdout);
    }
    if (interrupted())
      VL2_TRY(status_of_call(vl2_session_end(session)));
  }
}

Result<std::vector<vl2_box>> boxes_of(vl2_session* session) {
  std::vector<vl2_box> boxes(vl2_session_box_count(session));
  for (uint32_t i = 0; i < boxes.size(); ++i) {
    boxes[i].struct_size = sizeof(vl2_box);
    VL2_TRY(status_of_call(vl2_session_get_box(session, i, &boxes[i])));
  }
  return boxes;
}

void print_json(const vl2_reply& reply, const std::vector<vl2_box>& boxes, const Timings& timings) {
  nlohmann::json list = nlohmann::json::array();
  for (const vl2_box& box : boxes)
    list.push_back({{"label", box.label}, {"box", box.thousandths}, {"pixels", {box.left, box.top, box.right, box.bottom}}});
  const nlohmann::json out = {{"text", std::string(reply.text, reply.text_bytes)},
                              {"tagged_text", std::string(reply.tagged_text, reply.tagged_text_bytes)},
                              {"boxes", list},
                              {"stop", vl2_stop_reason_name(reply.stop_reason)},
                              {"prompt_tokens", reply.prompt_tokens},
                              {"answer_tokens", reply.answer_tokens},
                              {"load_ms", timings.load_ms},
                              {"prompt_ms", timings.prompt_ms},
                              {"answer_ms", timings.answer_ms}};
  std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

Status annotate(const std::vector<vl2_box>& boxes, Image& image, const std::string& path) {
  std::vector<LabelledBox> drawn;
  for (const vl2_box& box : boxes)
    drawn.push_back({box.label, static_cast<int32_t>(box.left), static_cast<int32_t>(box.top), static_cast<int32_t>(box.right),
                     static_cast<int32_t>(box.bottom)});
  draw_boxes(image, drawn);
  return write_png(path, image);
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
  Timings timings;
  Watch watch;
  VL2_ASSIGN(const ModelHandle model, load(options));
  vl2_session* made = nullptr;
  VL2_TRY(status_of_call(vl2_session_create(model.get(), nullptr, &made)));
  const SessionHandle owner(made);
  vl2_session* const session = owner.get();
  timings.load_ms = watch.lap_ms();

  Progress progress(wants_progress(options.model.quiet));
  for (const Image& image : images)
    VL2_TRY(status_of_call(vl2_session_add_image(session, image.rgb.data(), image.width, image.height)));
  VL2_TRY(status_of_call(vl2_session_add_message(session, VL2_ROLE_USER, options.prompt.data(), options.prompt.size())));
  const vl2_reply_options how = reply_options(options, schema, progress);
  VL2_TRY(status_of_call(vl2_session_start(session, &how)));
  timings.prompt_ms = watch.lap_ms();
  progress.clear();

  catch_interrupts();
  VL2_TRY(answer(session, !options.json));
  timings.answer_ms = watch.lap_ms();
  vl2_reply reply{};
  reply.struct_size = sizeof(reply);
  VL2_TRY(status_of_call(vl2_session_get_reply(session, &reply)));
  VL2_ASSIGN(const std::vector<vl2_box> boxes, boxes_of(session));
  if (options.json)
    print_json(reply, boxes, timings);
  else
    std::printf("\n");
  print_notes(session, reply, timings, progress);
  return options.annotate.empty() ? Status{} : annotate(boxes, images.back(), options.annotate);
}

}  // namespace vl2
