// The pictures that a model keeps, by the C API: shared by its sessions, counted, switched off, and unknown to older callers.
#include "tests/support/api.h"
#include "tests/support/gpu_test.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

class ApiPicturesTest : public GpuTest {};

void show(const SessionHandle& session, const std::vector<uint8_t>& rgb, uint32_t width, uint32_t height) {
  REQUIRE_MESSAGE(vl2_session_add_image(session.get(), rgb.data(), width, height) == VL2_OK, vl2_last_error());
}

vl2_picture_cache cache_of(const ModelHandle& model) {
  auto cache = sized<vl2_picture_cache>();
  REQUIRE_MESSAGE(vl2_model_get_picture_cache(model.get(), &cache) == VL2_OK, vl2_last_error());
  return cache;
}

}  // namespace

TEST_CASE_FIXTURE(ApiPicturesTest,
                  "vl2_api pictures: sessions of a model share what it keeps, and answer as those of a model that keeps none") {
  auto options = sized<vl2_load_options>();
  options.context_tokens = 1024;
  const ModelHandle keeps = load_model(kPico, options);
  options.flags = VL2_LOAD_NO_PICTURE_CACHE;
  const ModelHandle forgets = load_model(kPico, options);
  const std::vector<uint8_t> rgb = toy_picture("a", 400, 300);
  const vl2_reply_options drawn = drawing(12, 3);
  std::string texts[3];
  for (int i = 0; i < 3; ++i) {
    const SessionHandle session = new_session(i < 2 ? keeps : forgets);
    show(session, rgb, 400, 300);
    say(session, "What is it?");
    texts[i] = pulled(session, drawn);
    const vl2_reply reply = reply_of(session);
    CHECK(reply.encoded_views == (i == 1 ? 0 : 3));
    CHECK(reply.kept_pictures == (i == 1 ? 1 : 0));
    CHECK((reply.encode_ms > 0) == (i != 1));
    CHECK(reply.cached_tokens == 0);
  }
  CHECK(texts[0] == texts[1]);
  CHECK(texts[0] == texts[2]);
  const vl2_picture_cache cache = cache_of(keeps);
  CHECK(cache.pictures == 1);
  CHECK(cache.bytes == 617 * 256 * 4);
  CHECK(cache.limit_bytes >= cache.bytes);
  CHECK(cache.limit_bytes <= 256 << 20);
  CHECK(cache.hits == 1);
  CHECK(cache.misses == 1);
  CHECK(cache.evictions == 0);
  const vl2_picture_cache off = cache_of(forgets);
  CHECK(off.limit_bytes == 0);
  CHECK(off.misses == 0);
  const ModelHandle words = load_words();
  CHECK(cache_of(words).limit_bytes == 0);
}

TEST_CASE_FIXTURE(ApiPicturesTest,
                  "vl2_api pictures: an answer that may share begins behind the picture that another session read") {
  auto options = sized<vl2_load_options>();
  options.context_tokens = 1024;
  const ModelHandle model = load_model(kPico, options);
  const std::vector<uint8_t> rgb = toy_picture("a", 90, 40);
  auto shares = sized<vl2_reply_options>();
  shares.max_tokens = 4;
  shares.flags = VL2_REPLY_SHARE_BEGINNING;
  std::string texts[3];
  for (int i = 0; i < 3; ++i) {
    const SessionHandle session = new_session(model);
    show(session, rgb, 90, 40);
    say(session, i == 0 ? "What does it say?" : "Who is that?");
    shares.flags = i < 2 ? VL2_REPLY_SHARE_BEGINNING : 0;
    texts[i] = pulled(session, shares);
    CHECK((reply_of(session).cached_tokens > 421) == (i == 1));
    // Cleared, it is as a new session: what others read is not its own.
    REQUIRE(vl2_session_clear(session.get()) == VL2_OK);
  }
  CHECK(texts[1] == texts[2]);
  const vl2_picture_cache cache = cache_of(model);
  CHECK(cache.beginnings == 1);
  CHECK(cache.beginning_hits == 1);
  CHECK(cache.pictures == 1);
  CHECK(cache.bytes > 421 * 256 * 4);
}

TEST_CASE_FIXTURE(ApiPicturesTest, "vl2_api pictures: the size is an option that older callers do not know, and is in the plan") {
  auto options = sized<vl2_load_options>();
  options.context_tokens = 1024;
  auto plan = sized<vl2_plan>();
  REQUIRE(vl2_plan_load(kPico.c_str(), &options, &plan) == VL2_OK);
  CHECK(plan.picture_cache_bytes > 0);
  const uint64_t needed = plan.needed_bytes;
  options.picture_cache_bytes = 3'000'000;
  REQUIRE(vl2_plan_load(kPico.c_str(), &options, &plan) == VL2_OK);
  CHECK(plan.picture_cache_bytes == 3'000'000);
  CHECK(plan.needed_bytes == needed + 3'000'000);
  CHECK(cache_of(load_model(kPico, options)).limit_bytes == 3'000'000);

  // What the caller's struct does not reach is not read: the size behind it counts as 0.
  options.struct_size = offsetof(vl2_load_options, picture_cache_bytes);
  REQUIRE(vl2_plan_load(kPico.c_str(), &options, &plan) == VL2_OK);
  CHECK(plan.needed_bytes == needed);
  // And what it does not reach of a plan or an answer is not written.
  plan.struct_size = offsetof(vl2_plan, picture_cache_bytes);
  plan.picture_cache_bytes = 99;
  REQUIRE(vl2_plan_load(kPico.c_str(), &options, &plan) == VL2_OK);
  CHECK(plan.picture_cache_bytes == 99);
  CHECK(plan.needed_bytes == needed);
  const ModelHandle model = load_model(kPico, options);
  const SessionHandle session = new_session(model);
  say(session, "Who?");
  pulled(session, drawing(2, 1));
  vl2_reply reply{};
  reply.struct_size = offsetof(vl2_reply, encoded_views);
  reply.encoded_views = 77;
  REQUIRE(vl2_session_get_reply(session.get(), &reply) == VL2_OK);
  CHECK(reply.encoded_views == 77);
  CHECK(reply.prompt_tokens > 0);

  options = sized<vl2_load_options>();
  options.flags = VL2_LOAD_NO_PICTURE_CACHE;
  options.picture_cache_bytes = 1;
  vl2_model* none = nullptr;
  CHECK(vl2_model_load(kPico.c_str(), &options, &none) == VL2_ERROR_ARGUMENT);
  CHECK(last_error_has("picture_cache_bytes is 1"));
  options.flags = 0;
  options.picture_cache_bytes = uint64_t{1} << 60;
  CHECK(vl2_model_load(kPico.c_str(), &options, &none) == VL2_ERROR_ARGUMENT);
  options.picture_cache_bytes = uint64_t{1} << 50;
  CHECK(vl2_model_load(kPico.c_str(), &options, &none) == VL2_ERROR_OUT_OF_MEMORY);
  CHECK(last_error_has("--picture-cache 0"));
  CHECK(vl2_model_get_picture_cache(nullptr, nullptr) == VL2_ERROR_ARGUMENT);
  CHECK(vl2_model_get_picture_cache(model.get(), nullptr) == VL2_ERROR_ARGUMENT);
}
