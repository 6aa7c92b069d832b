#include "app/batch/page_plans.h"

#include <cstdio>

#include "app/batch/page_loader.h"
#include "app/dry_run.h"
#include "app/interrupt.h"
#include "app/vl2_handles.h"

namespace vl2::batch {

namespace {

// A page's line; whether it could be answered.
Result<bool> print_page(const vl2_model* model, const std::string& prompt, uint32_t context, const LoadedPage& page) {
  PageResult named;
  named.path = page.page.path;
  named.number = page.page.number;
  const std::string title = title_of(named);
  if (page.status.code() == Code::Cancelled)
    return page.status;
  const Result<vl2_picture_plan> plan =
      page.status.ok() ? plan_picture(model, page.image, 1) : Result<vl2_picture_plan>(page.status);
  if (!plan.ok()) {
    std::printf("%s: error: %s\n", title.c_str(), plan.message().c_str());
    return false;
  }
  VL2_ASSIGN(const uint32_t tokens, count_prompt(model, prompt, {*plan}));
  print_picture(title, page.image, *plan);
  std::printf(", %u with the question%s\n", tokens, tokens > context ? ", which is too many" : "");
  return tokens <= context;
}

}  // namespace

Result<uint64_t> print_page_plans(const BatchOptions& options, const PageList& list, const Shard& shard) {
  PageLoader loader(list, rest_of_shard(shard, list.size(), 0), options.pdf_long_side, interrupted);
  VL2_ASSIGN(const ModelHandle model, open_model(options.model, VL2_LOAD_NO_WEIGHTS));
  VL2_ASSIGN(const vl2_plan memory, plan_model(options.model, VL2_LOAD_NEEDS_EYES | VL2_LOAD_NO_PICTURE_CACHE));
  uint64_t bad = 0;
  while (const std::optional<LoadedPage> page = loader.next()) {
    VL2_ASSIGN(const bool good, print_page(model.get(), options.prompt, memory.context_tokens, *page));
    bad += good ? 0 : 1;
  }
  if (interrupted())
    return fail(Code::Cancelled, "batch: stopped");
  std::printf("pages: %llu, %llu of them cannot be answered\n", static_cast<unsigned long long>(shard.page_count(list.size())),
              static_cast<unsigned long long>(bad));
  print_memory(memory);
  std::printf("slots: %.2f GB more for every further page at a time\n", static_cast<double>(memory.cache_bytes) * 1e-9);
  return bad;
}

}  // namespace vl2::batch
