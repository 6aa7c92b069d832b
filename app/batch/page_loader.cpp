#include "app/batch/page_loader.h"

#include <chrono>
#include <new>

#include "app/batch/pdf.h"

namespace vl2::batch {

namespace {

constexpr auto kLookAgain = std::chrono::milliseconds(50);  // whether to stop: a signal handler can wake nobody

}  // namespace

PagesToDo rest_of_shard(const Shard& shard, uint64_t all_pages, uint64_t done) {
  return {shard.page_count(all_pages) - done, [shard, done](uint64_t k) { return shard.page_index(done + k); }};
}

PageLoader::PageLoader(const PageList& list, PagesToDo pages, uint32_t pdf_long_side, std::function<bool()> stop)
    : list_(list), pages_(std::move(pages)), pdf_long_side_(pdf_long_side), stop_(std::move(stop)) {
  for (size_t i = 0; i < kThreads; ++i)
    threads_.emplace_back([this] { work(); });
}

PageLoader::~PageLoader() {
  {
    const std::lock_guard lock(mutex_);
    stop_asked_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_)
    thread.join();
}

std::optional<LoadedPage> PageLoader::next() {
  std::unique_lock lock(mutex_);
  while (taken_ < pages_.count && !ready_[taken_ % kAhead] && !stopped())
    changed_.wait_for(lock, kLookAgain);
  if (taken_ == pages_.count || stopped())
    return std::nullopt;
  std::optional<LoadedPage> page = std::exchange(ready_[taken_ % kAhead], std::nullopt);
  ++taken_;
  changed_.notify_all();
  return page;
}

void PageLoader::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    while (!stopped() && begun_ < pages_.count && begun_ >= taken_ + kAhead)
      changed_.wait_for(lock, kLookAgain);
    if (stopped() || begun_ == pages_.count)
      return;
    const uint64_t position = begun_++;
    lock.unlock();
    LoadedPage page = load(position);
    lock.lock();
    ready_[position % kAhead] = std::move(page);
    changed_.notify_all();
  }
}

LoadedPage PageLoader::load(uint64_t position) const {
  LoadedPage loaded{.position = position, .page = list_.at(pages_.index(position)), .status = {}, .image = {}, .note = {}};
  const Page& page = loaded.page;
  const auto take = [&](auto result, auto&& keep) {
    if (result.ok())
      keep(result.take());
    else
      loaded.status = result.status();
  };
  try {
    if (!page.problem.empty())
      loaded.status = fail(Code::BadFile, page.problem);
    else if (page.number == 0)
      take(read_image_file(page.path), [&](Image image) { loaded.image = std::move(image); });
    else
      take(draw_pdf_page(page.path, page.number, pdf_long_side_, [this] { return stopped(); }), [&](PdfPage drawn) {
        loaded.image = std::move(drawn.image);
        loaded.note = std::move(drawn.warning);
      });
  } catch (const std::bad_alloc&) {
    loaded.status = fail(Code::OutOfMemory, page.path, ": no memory for this picture");
  }
  return loaded;
}

}  // namespace vl2::batch
