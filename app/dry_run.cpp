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

}  // namespace

Result<vl2_picture_plan> plan_picture(const vl2_model* model, const Image& image, size_t pictures) {
  vl2_picture_plan plan{};
  plan.struct_size = sizeof(plan);
  VL2_TRY(status_of_call(vl2_model_plan_picture(model, image.width, image.height, static_cast<uint32_t>(pictures), &plan)));
  return plan;
}

Result<uint32_t> count_prompt(const vl2_model* model, const std::string& prompt, const std::vector<vl2_picture_plan>& pictures) {
  std::vector<uint32_t> tokens;
  for (const vl2_picture_plan& picture : pictures)
    tokens.push_back(picture.tokens);
  uint32_t count = 0;
  VL2_TRY(status_of_call(
      vl2_model_count_prompt(model, prompt.data(), prompt.size(), tokens.data(), static_cast<uint32_t>(tokens.size()), &count)));
  return count;
}

void print_picture(const std::string& title, const Image& image, const vl2_picture_plan& plan) {
  std::printf("%s: %u x %u, canvas %u x %u, tiles %u x %u, %u tokens", title.c_str(), image.width, image.height,
              plan.canvas_width, plan.canvas_height, plan.tiles_wide, plan.tiles_high, plan.tokens);
}

void print_memory(const vl2_plan& memory) {
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

namespace {

void print_text(const RunOptions& options, const std::vector<Image>& images, const std::vector<vl2_picture_plan>& pictures,
                uint32_t prompt_tokens, const vl2_plan& memory) {
  for (size_t i = 0; i < pictures.size(); ++i) {
    print_picture(options.images[i], images[i], pictures[i]);
    std::printf("\n");
  }
  std::printf("prompt: %u tokens of a context of %u%s\n", prompt_tokens, memory.context_tokens,
              prompt_tokens > memory.context_tokens ? ", which is too many" : "");
  print_memory(memory);
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

Status print_question(const RunOptions& options, const std::vector<Image>& images, uint32_t load_flags) {
  VL2_ASSIGN(const ModelHandle model, open_model(options.model, VL2_LOAD_NO_WEIGHTS));
  std::vector<vl2_picture_plan> pictures;
  for (const Image& image : images) {
    VL2_ASSIGN(pictures.emplace_back(), plan_picture(model.get(), image, images.size()));
  }
  VL2_ASSIGN(const uint32_t prompt_tokens, count_prompt(model.get(), options.prompt, pictures));
  VL2_ASSIGN(const vl2_plan memory, plan_model(options.model, load_flags));
  (options.json ? print_json : print_text)(options, images, pictures, prompt_tokens, memory);
  return {};
}

}  // namespace

Status print_dry_run(const RunOptions& options, const std::vector<Image>& images) {
  return print_question(options, images, images.empty() ? VL2_LOAD_TEXT_ONLY : VL2_LOAD_NEEDS_EYES);
}

Status print_dry_run(const ChatOptions& options) {
  std::vector<Image> images;
  for (const std::string& path : options.images) {
    VL2_ASSIGN(images.emplace_back(), read_image_file(path));
  }
  RunOptions first;  // a message that says nothing yet
  first.model = options.model;
  first.images = options.images;
  return print_question(first, images, images.empty() ? 0 : VL2_LOAD_NEEDS_EYES);
}

}  // namespace vl2
