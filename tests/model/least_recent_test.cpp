// The tables and threads behind experts in a file, without a file or a device.
#include "model/least_recent.h"

#include <atomic>
#include <doctest/doctest.h>
#include <set>

#include "model/worker_pool.h"
#include "runtime/host_memory.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

TEST_SUITE_BEGIN("cpu");

TEST_CASE("least_recent: gives up what a list of uses says was not used for longest") {
  constexpr uint32_t kKeys = 12, kPlaces = 5;
  LeastRecent table(kKeys, kPlaces);
  std::vector<uint32_t> uses;  // keys that are in, used last first
  for (uint32_t step = 0; step < 2000; ++step) {
    const auto key = static_cast<uint32_t>(named_random("least recent", step) % kKeys), what = step % 7;
    const auto held = std::find(uses.begin(), uses.end(), key);
    REQUIRE((table.find(key) >= 0) == (held != uses.end()));
    if (what == 6) {
      table.drop(key);
      std::erase(uses, key);
    } else if (held != uses.end() && what == 5) {
      table.age(static_cast<uint32_t>(table.find(key)));
      std::rotate(held, held + 1, uses.end());
    } else if (held != uses.end()) {
      table.use(static_cast<uint32_t>(table.find(key)));
      std::rotate(uses.begin(), held, held + 1);
    } else {
      CHECK(table.take(key) < kPlaces);
      uses.insert(uses.begin(), key);
      if (uses.size() > kPlaces)
        uses.pop_back();
    }
    std::set<int> places;
    for (uint32_t k = 0; k < kKeys; ++k) {
      const bool in = std::find(uses.begin(), uses.end(), k) != uses.end();
      REQUIRE((table.find(k) >= 0) == in);
      if (in)
        REQUIRE(places.insert(table.find(k)).second);
    }
    REQUIRE(table.full() == (uses.size() == kPlaces));
  }
}

TEST_CASE("worker_pool: every part of one piece of work after another is done once, by more threads than one") {
  WorkerPool pool(3);
  for (const size_t count : {0u, 1u, 2u, 50u, 1000u}) {
    std::vector<std::atomic<int>> done(count);
    pool.run(count, [&](size_t part) { ++done[part]; });
    for (const std::atomic<int>& times : done)
      REQUIRE(times == 1);
  }
  // Two parts that wait for each other end only where they run side by side.
  std::atomic<int> arrived = 0;
  pool.run(2, [&](size_t) {
    ++arrived;
    while (arrived < 2)
      std::this_thread::yield();
  });
  CHECK(arrived == 2);
}

TEST_CASE("host_memory: what is available less a sixteenth of all, and no limit where the system says nothing") {
  CHECK(spare_host_bytes("MemTotal:  16000 kB\nMemFree:  100 kB\nMemAvailable:   9000 kB\n") == 8000ull * 1024);
  CHECK(spare_host_bytes("MemTotal:  16000 kB\nMemAvailable:   900 kB\n") == 0);
  CHECK(spare_host_bytes("MemTotal:  16000 kB\n") == UINT64_MAX);
  CHECK(spare_host_bytes("") == UINT64_MAX);
}

TEST_SUITE_END();
