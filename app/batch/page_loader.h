// Pictures of the pages to come, decoded by threads of their own while the model works; handed out in order.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "app/batch/page_list.h"
#include "app/batch/result_record.h"
#include "app/image_file.h"

namespace vl2::batch {

/// Which pages of a list are done by one start of the command, in which order.
struct PagesToDo {
  uint64_t count = 0;
  std::function<uint64_t(uint64_t k)> index;  ///< of the k-th, k < count; any thread
};

/// Those of a shard but for the first `done`.
PagesToDo rest_of_shard(const Shard& shard, uint64_t all_pages, uint64_t done);

struct LoadedPage {
  uint64_t position = 0;  ///< among the pages to do, from 0
  Page page;
  Status status;  ///< ok: there is an image
  Image image;
  std::string note;  ///< what was odd about the file; mostly empty
};

/// Memory   kAhead pictures, decoded
/// Threads  next() on any
class PageLoader {
 public:
  static constexpr size_t kAhead = 3;    ///< pages that are decoded, or being decoded, and not handed out
  static constexpr size_t kThreads = 2;  ///< a page takes far longer to answer than to decode, but for a CPU's pdftoppm

  /// list  outlives the loader
  /// stop  asked now and then by several threads; the loader has no more pages when it says yes
  PageLoader(const PageList& list, PagesToDo pages, uint32_t pdf_long_side, std::function<bool()> stop);
  PageLoader(const PageLoader&) = delete;
  PageLoader& operator=(const PageLoader&) = delete;
  ~PageLoader();

  /// The next page in order, waiting for it; none after the last one, and once stopped.
  std::optional<LoadedPage> next();

 private:
  void work();
  LoadedPage load(uint64_t position) const;
  bool stopped() const { return stop_asked_ || stop_(); }

  const PageList& list_;
  const PagesToDo pages_;
  const uint32_t pdf_long_side_;
  const std::function<bool()> stop_;
  std::atomic<bool> stop_asked_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t begun_ = 0, taken_ = 0;                       // positions
  std::array<std::optional<LoadedPage>, kAhead> ready_;  // of position p: element p % kAhead
  std::vector<std::thread> threads_;
};

}  // namespace vl2::batch
