// The store on the test device, its files in a folder of its own.
#include "runtime/pipeline.h"

#include <atomic>
#include <doctest/doctest.h>
#include <thread>

#include "runtime/recorder.h"
#include "tests/support/gpu_test.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

const ShaderId kShaders[] = {ShaderId::rms_norm_f32, ShaderId::add_rows, ShaderId::embed_tokens_f32, ShaderId::mark_seen};

std::unique_ptr<PipelineStore> open_store(Device& device, const std::string& folder) {
  auto store = PipelineStore::create(device.instance(), device.handle(), device.caps(), {.cache_dir = folder});
  REQUIRE_MESSAGE(store.ok(), store.message());
  return store.take();
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "pipeline: threads that ask for one pipeline get the same one, made once") {
  const TemporaryFolder folder;
  const auto store = open_store(device, folder.path());
  std::vector<const Pipeline*> got(8);
  std::vector<std::thread> threads;
  for (const Pipeline*& slot : got)
    threads.emplace_back([&] {
      for (const ShaderId shader : kShaders)
        if (auto pipeline = store->get(shader, {}); pipeline.ok())
          slot = *pipeline;
    });
  for (std::thread& thread : threads)
    thread.join();
  for (const Pipeline* pipeline : got) {
    REQUIRE(pipeline != nullptr);
    CHECK(pipeline == got[0]);
    CHECK(pipeline->handle != VK_NULL_HANDLE);
  }
  CHECK(store->made_in_get() == std::size(kShaders));
}

TEST_CASE_FIXTURE(GpuTest, "pipeline: the next run makes what this model used, and nothing that another did") {
  const TemporaryFolder folder;
  {
    const auto store = open_store(device, folder.path());
    CHECK(!store->warm());
    store->prebuild(11);
    for (const ShaderId shader : kShaders)
      REQUIRE(store->get(shader, {}).ok());
    CHECK(store->made_in_get() == std::size(kShaders));
  }
  {
    const auto store = open_store(device, folder.path());
    CHECK(store->warm());
    store->prebuild(11);
    CHECK(store->wait_for_prebuilt() == std::size(kShaders));
    for (const ShaderId shader : kShaders)
      REQUIRE(store->get(shader, {}).ok());
    CHECK(store->made_in_get() == 0);
  }
  const auto store = open_store(device, folder.path());
  store->prebuild(12);
  CHECK(store->wait_for_prebuilt() == 0);
}
