#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/annotate.h"
#include "app/commands/commands.h"
#include "app/interrupt.h"
#include "app/model_loading.h"
#include "app/output_path.h"
#include "app/progress.h"
#include "model/conversation.h"
#include "model/grounding.h"
#include "runtime/clock.h"

namespace vl2 {

namespace {

struct Timings {
  double load_ms = 0, prompt_ms = 0, answer_ms = 0;
};

void print_json(const Reply& reply, const Grounding& grounding, uint32_t prompt_tokens, const Timings& timings) {
  nlohmann::json boxes = nlohmann::json::array();
  for (const GroundedBox& box : grounding.boxes)
    boxes.push_back({{"label", box.label}, {"box", box.box}, {"pixels", box.pixels}});
  const nlohmann::json out = {{"text", reply.text},
                              {"tagged_text", reply.tagged_text},
                              {"boxes", boxes},
                              {"stop", stop_reason_name(reply.stop)},
                              {"prompt_tokens", prompt_tokens},
                              {"answer_tokens", reply.ids.size()},
                              {"load_ms", timings.load_ms},
                              {"prompt_ms", timings.prompt_ms},
                              {"answer_ms", timings.answer_ms}};
  std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

Status annotate(const Grounding& grounding, Image& image, const std::string& path) {
  std::vector<LabelledBox> boxes;
  for (const GroundedBox& box : grounding.boxes)
    boxes.push_back({box.label, static_cast<int32_t>(box.pixels[0]), static_cast<int32_t>(box.pixels[1]),
                     static_cast<int32_t>(box.pixels[2]), static_cast<int32_t>(box.pixels[3])});
  draw_boxes(image, boxes);
  return write_png(path, image);
}

ReplyOptions reply_options(const RunOptions& options) {
  ReplyOptions reply;
  reply.sampling = {.temperature = options.temperature,
                    .top_k = options.top_k,
                    .top_p = options.top_p,
                    .min_p = options.min_p,
                    .repetition_penalty = options.repeat_penalty,
                    .seed = options.seed};
  reply.max_tokens = options.max_tokens;
  reply.keep_special = options.special;
  return reply;
}

}  // namespace

Status run_command(const RunOptions& options) {
  if (!options.annotate.empty() && options.images.empty())
    return fail(Code::BadArgument, "run: --annotate draws on a picture, and no --image was given");
  VL2_TRY(check_output_file(options.annotate));
  VL2_ASSIGN(std::vector<Image> images, read_images(options.images));
  VL2_ASSIGN(const Tokenizer tokenizer, load_tokenizer(options.model.model));
  Timings timings;
  auto start = Clock::now();
  VL2_ASSIGN(const auto engine, load_engine(options.model, images));
  VL2_ASSIGN(const auto conversation, Conversation::create(*engine, tokenizer));
  timings.load_ms = ms_since(start);

  Progress progress(wants_progress(options.model.quiet));
  std::vector<OwnedPicture> pictures;
  for (const Image& image : images)
    pictures.push_back({image.width, image.height, image.rgb});
  start = Clock::now();
  VL2_TRY(conversation->ask(options.prompt, std::move(pictures), [&](std::string_view step) { progress.step(step); }));
  timings.prompt_ms = ms_since(start);
  progress.clear();

  const uint32_t prompt_tokens = conversation->token_count();
  ReplyOptions reply_to = reply_options(options);
  catch_interrupts();
  reply_to.on_text = [&](std::string_view piece) {
    if (!options.json) {
      std::fwrite(piece.data(), 1, piece.size(), stdout);
      std::fflush(stdout);
    }
    return !interrupted();
  };
  start = Clock::now();
  VL2_ASSIGN(const Reply reply, conversation->reply(reply_to));
  timings.answer_ms = ms_since(start);
  const uint32_t width = images.empty() ? 1 : images.back().width, height = images.empty() ? 1 : images.back().height;
  const Grounding grounding = parse_grounding(reply.tagged_text, width, height);
  if (options.json)
    print_json(reply, grounding, prompt_tokens, timings);
  else
    std::printf("\n");
  for (const std::string& problem : grounding.problems)
    progress.note(problem);
  char line[160];
  std::snprintf(line, sizeof(line), "%u prompt tokens in %.2f s, %zu answer tokens in %.2f s (%.1f tokens/s)", prompt_tokens,
                timings.prompt_ms * 1e-3, reply.ids.size(), timings.answer_ms * 1e-3,
                static_cast<double>(reply.ids.size()) / (timings.answer_ms * 1e-3));
  progress.note(line);
  return options.annotate.empty() ? Status{} : annotate(grounding, images.back(), options.annotate);
}

}  // namespace vl2
