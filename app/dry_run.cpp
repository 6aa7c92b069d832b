#include "app/dry_run.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/vl2_handles.h"

namespace vl2 {

namespace {

using nlohmann::json;

double gigabytes(uint64_t bytes) {
  return static_cast<double>(bytes) * 1e-9;
}

void print_text(const RunOptions& options, const std::vector<Image>& images, const std::vector<vl2_picture_plan>& pictures,
                uint32_t prompt_tokens, const vl2_plan& memory) {
  for (size_t i = 0; i < pictures.size(); ++i)
    std::printf("%s: %u x %u, canvas %u x %u, tiles %u x %u, %u tokens\n", options.images[i].c_str(), images[i].width,
                images[i].height, pictures[i].canvas_width, pictures[i].canvas_height, pictures[i].tiles_wide,
                pictures[i].tiles_high, pictures[i].tokens);
  std::printf("prompt: %u tokens of a context of %u%s\n", prompt_tokens, memory.context_tokens,
              prompt_tokens > memory.context_tokens ? ", which is too many" : "");
  std::printf("memory: %.2f GB (weights %.2f, cache %.2f, working %.2f) of %.2f GB free on %s: %s\n",
              gigabytes(memory.needed_bytes), gigabytes(memory.weight_bytes), gigabytes(memory.cache_bytes),
              gigabytes(memory.working_bytes), gigabytes(memory.available_bytes), memory.device_name,
              memory.fits != 0 ? "fits" : "does not fit");
  if (memory.file_weight_bytes > 0)
    std::printf("experts: %.2f GB in the file, window of %.2f GB in host memory, %u a layer cached on the device\n",
                gigabytes(memory.file_weight_bytes), gigabytes(memory.host_weight_bytes), memory.expert_slots);
  else if (memory.host_weight_bytes > 0)
    std::printf("experts: %.2f GB in host memory, %u a layer cached on the device\n", gigabytes(memory.host_weight_bytes),
                memory.expert_slots);
}

void print_json(const RunOptions& options, const std::vector<Image>& images, const std::vector<vl2_picture_plan>& pictures,
                uint32_t prompt_tokens, const vl2_plan& memory) {
  json list = json::array();
  for (size_t i = 0; i < pictures.size(); ++i)
    list.push_back({{"file", options.images[i]},
                    {"width", images[i].width},
                    {"height", images[i].height},
                    {"canvas", {pictures[i].canvas_width, pictures[i].canvas_height}},
                    {"tiles", {pictures[i].tiles_wide, pictures[i].tiles_high}},
                    {"tokens", pictures[i].tokens}});
  const json out = {{"pictures", list},
                    {"prompt_tokens", prompt_tokens},
                    {"context_tokens", memory.context_tokens},
                    {"device", memory.device_name},
                    {"weight_bytes", memory.weight_bytes},
                    {"host_weight_bytes", memory.host_weight_bytes},
                    {"file_weight_bytes", memory.file_weight_bytes},
                    {"cache_bytes", memory.cache_bytes},
                    {"working_bytes", memory.working_bytes},
                    {"needed_bytes", memory.needed_bytes},
                    {"available_bytes", memory.available_bytes},
                    {"fits", memory.fits != 0 && prompt_tokens <= memory.context_tokens}};
  std::printf("%s\n", out.dump(2, ' ', false, json::error_handler_t::replace).c_str());
}

}  // namespace

Status print_dry_run(const RunOptions& options, const std::vector<Image>& images) {
  VL2_ASSIGN(const ModelHandle model, open_model(options.model, VL2_LOAD_NO_WEIGHTS));
  std::vector<vl2_picture_plan> pictures;
  std::vector<uint32_t> tokens;
  const auto count = static_cast<uint32_t>(images.size());
  for (const Image& image : images) {
    vl2_picture_plan plan{};
    plan.struct_size = sizeof(plan);
    VL2_TRY(status_of_call(vl2_model_plan_picture(model.get(), image.width, image.height, count, &plan)));
    pictures.push_back(plan);
    tokens.push_back(plan.tokens);
  }
  uint32_t prompt_tokens = 0;
  VL2_TRY(status_of_call(
      vl2_model_count_prompt(model.get(), options.prompt.data(), options.prompt.size(), tokens.data(), count, &prompt_tokens)));
  VL2_ASSIGN(const vl2_plan memory, plan_model(options.model, images.empty() ? VL2_LOAD_TEXT_ONLY : VL2_LOAD_NEEDS_EYES));
  (options.json ? print_json : print_text)(options, images, pictures, prompt_tokens, memory);
  return {};
}

}  // namespace vl2
