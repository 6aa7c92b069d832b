// Experts that neither memory holds, by the C API: the option, what a model says of itself, and what a spoilt file does to a reply.
#include <filesystem>

#include "tests/support/api.h"
#include "tests/support/gpu_test.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

class ApiExpertsTest : public GpuTest {};

std::string answer_of(const ModelHandle& model) {
  const SessionHandle session = new_session(model);
  say(session, "Who are you?");
  return pulled(session, drawing(8, 3));
}

}  // namespace

TEST_CASE_FIXTURE(ApiExpertsTest,
                  "vl2_api experts: from the file they answer the same, and a file that was cut short is an error") {
  const TemporaryFolder folder;
  std::filesystem::copy(kPico, folder.path(), std::filesystem::copy_options::recursive);
  auto options = sized<vl2_load_options>();
  options.context_tokens = 256;
  options.flags = VL2_LOAD_TEXT_ONLY;
  auto plan = sized<vl2_plan>();
  REQUIRE(vl2_plan_load(kPico.c_str(), &options, &plan) == VL2_OK);
  CHECK(plan.file_weight_bytes == 0);
  const std::string wanted = answer_of(load_model(kPico, options));

  options.memory_bytes = plan.needed_bytes - (2 << 20);
  options.host_memory_bytes = 3 << 20;
  REQUIRE(vl2_plan_load(folder.path().c_str(), &options, &plan) == VL2_OK);
  CHECK(plan.fits == 1);
  CHECK(plan.file_weight_bytes == 5ull * 8 * 3 * 160 * 256 * 2);
  CHECK(plan.host_weight_bytes <= options.host_memory_bytes);
  const ModelHandle model = load_model(folder.path(), options);
  auto info = sized<vl2_model_info>();
  REQUIRE(vl2_model_get_info(model.get(), &info) == VL2_OK);
  CHECK(info.file_weight_bytes == plan.file_weight_bytes);
  CHECK(info.host_weight_bytes == plan.host_weight_bytes);
  CHECK(info.expert_slots == plan.expert_slots);
  CHECK(std::string(info.notice).find(" in the file (9.8 MB), behind a window of ") != std::string::npos);
  CHECK(answer_of(model) == wanted);

  // The struct of an older caller ends before the size, which counts as 0 then: all of what is free.
  options.struct_size = offsetof(vl2_load_options, host_memory_bytes);
  REQUIRE(vl2_plan_load(folder.path().c_str(), &options, &plan) == VL2_OK);
  CHECK(plan.file_weight_bytes == 0);
  CHECK(plan.host_weight_bytes == info.file_weight_bytes);

  const SessionHandle session = new_session(model);
  say(session, "Who are you, and what is on the other pages of this book?");
  std::filesystem::resize_file(folder / "model.safetensors", 1 << 20);
  const vl2_reply_options drawn = drawing(8, 3);
  CHECK(vl2_session_reply(session.get(), &drawn) == VL2_ERROR_IO);
  CHECK(last_error_has("model.safetensors: ends at byte "));
  CHECK(vl2_session_clear(session.get()) == VL2_OK);
}
