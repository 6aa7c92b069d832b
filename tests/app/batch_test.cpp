// app/batch: which pages there are, what is kept of results, and how they are handed on; no model.
#include <atomic>
#include <doctest/doctest.h>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <unistd.h>

#include "app/batch/child_process.h"
#include "app/batch/page_list.h"
#include "app/batch/page_loader.h"
#include "app/batch/pdf.h"
#include "app/batch/result_writer.h"
#include "tests/support/batch_pages.h"
#include "tests/support/pdf.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

using namespace vl2;
using namespace vl2::batch;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

Words paths_of(const PageList& list) {
  Words paths;
  for (uint64_t i = 0; i < list.size(); ++i)
    paths.push_back(list.at(i).path);
  return paths;
}

std::string refusal(const PageListOptions& options) {
  const auto list = PageList::make(options, never);
  return list.ok() ? "accepted" : list.message();
}

std::string ranges(const std::string& text, uint32_t pages) {
  const auto parsed = PageRanges::parse(text);
  if (!parsed.ok())
    return "refused";
  std::string out;
  for (uint32_t k = 0; k < parsed->count(pages); ++k)
    out += (k > 0 ? " " : "") + std::to_string(parsed->nth(k, pages));
  return out;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("batch pages: ranges are put in order, clipped to the document, and checked") {
    CHECK(ranges("", 3) == "1 2 3");
    CHECK(ranges("2", 3) == "2");
    CHECK(ranges("2-", 4) == "2 3 4");
    CHECK(ranges("7,1-3,2-4,9-", 10) == "1 2 3 4 7 9 10");
    CHECK(ranges("1-3,7", 2) == "1 2");
    CHECK(ranges("5", 4).empty());
    CHECK(ranges("3,1", 2) == "1");
    for (const char* bad : {"0", "a", "3-1", "1,", ",1", "1-2-3", "1 2", "-3", "1;2", "99999999999", "1-x"})
      CHECK_MESSAGE(ranges(bad, 3) == "refused", bad);
  }

  TEST_CASE("batch inputs: files in their order, folders sorted and without hidden files, patterns, lists") {
    const TemporaryFolder folder;
    fs::create_directories(folder / "in/deep/deeper");
    for (const char* name :
         {"in/b.png", "in/a.JPG", "in/c.txt", "in/.hidden.png", "in/deep/d.webp", "in/deep/deeper/e.bmp", "z.png"})
      write_file(folder / name, "x");
    fs::create_directory_symlink("..", folder / "in/deep/up");  // must not be followed: it has no end
    const auto list = [&](const PageListOptions& options) {
      auto pages = PageList::make(options, never);
      REQUIRE_MESSAGE(pages.ok(), pages.message());
      Words paths = paths_of(*pages);
      for (std::string& path : paths)
        path = fs::path(path).lexically_relative(folder.path()).string();
      return paths;
    };
    CHECK(list({.inputs = {folder / "z.png", folder / "in"}}) == Words{"z.png", "in/a.JPG", "in/b.png"});
    CHECK(list({.inputs = {folder / "in"}, .recursive = true}) ==
          Words{"in/a.JPG", "in/b.png", "in/deep/d.webp", "in/deep/deeper/e.bmp"});
    CHECK(list({.inputs = {folder / "in/[ab].*"}}) == Words{"in/a.JPG", "in/b.png"});
    write_file(folder / "list", folder / "z.png" + "\r\n\n" + (folder / "in") + "\n" + (folder / "gone.png"));
    CHECK(list({.inputs = {folder / "in/b.png"}, .list = folder / "list"}) ==
          Words{"in/b.png", "z.png", "in/a.JPG", "in/b.png", "gone.png"});
    auto pages = PageList::make({.inputs = {}, .list = folder / "list"}, never);
    REQUIRE(pages.ok());
    CHECK(pages->at(3).problem == folder / "gone.png" + ": no such file");
    CHECK(pages->at(0).problem.empty());
    write_file(folder / "x[1].png", "x");  // a name that is a pattern, too, is a name
    CHECK(list({.inputs = {folder / "x[1].png"}}) == Words{"x[1].png"});
  }

  TEST_CASE("batch inputs: what is not there is refused by name") {
    const TemporaryFolder folder;
    fs::create_directory(folder / "empty");
    write_file(folder / "zero", std::string("a\0b\n", 4));
    CHECK(refusal({.inputs = {folder / "no.png"}}) == folder / "no.png" + ": no such file or folder");
    CHECK(refusal({.inputs = {folder / "*.png"}}) == folder / "*.png" + ": no file or folder has such a name");
    CHECK(refusal({.inputs = {folder / "empty"}}) == "batch: no pictures and no PDF files there");
    CHECK(contains(refusal({.inputs = {}, .list = folder / "nolist"}), "nolist: the list cannot be read: No such file"));
    CHECK(contains(refusal({.inputs = {}, .list = folder / "empty"}), "it is a folder"));
    CHECK(contains(refusal({.inputs = {}, .list = folder / "zero"}), "zero byte"));
    CHECK(contains(refusal({.inputs = {"/dev/null"}}), "no regular file"));
  }

  TEST_CASE("batch inputs: a folder that cannot be read is refused, however deep it lies") {
    const TemporaryFolder folder;
    fs::create_directories(folder / "in/locked");
    write_file(folder / "in/a.png", "x");
    fs::permissions(folder.path(), fs::perms(0755));
    fs::permissions(folder / "in/locked", fs::perms(0));
    const bool root = geteuid() == 0;  // who may read everything
    if (root)
      REQUIRE(seteuid(65534) == 0);
    const std::string deep = refusal({.inputs = {folder / "in"}, .recursive = true}), flat = refusal({.inputs = {folder / "in"}}),
                      itself = refusal({.inputs = {folder / "in/locked"}});
    if (root)
      REQUIRE(seteuid(0) == 0);
    fs::permissions(folder / "in/locked", fs::perms(0755));
    CHECK(deep == folder / "in/locked" + ": the folder cannot be read: Permission denied");
    CHECK(itself == deep);
    CHECK(flat == "accepted");
  }

  TEST_CASE("batch inputs: pages of PDF files, and a signature that follows what matters") {
    const TemporaryFolder folder;
    write_file(folder / "a.pdf", pdf_of({"one", "two", "three"}));
    write_file(folder / "b.png", "x");
    write_file(folder / "document", pdf_of({"only"}));  // told by its first bytes
    write_file(folder / "broken.pdf", "%PDF-1.4 and no more");
    const Words inputs = {folder / "a.pdf", folder / "b.png", folder / "document", folder / "broken.pdf"};
    const auto pages = PageList::make({.inputs = inputs}, never);
    REQUIRE_MESSAGE(pages.ok(), pages.message());
    REQUIRE(pages->size() == 6);
    for (uint64_t i = 0; i < 6; ++i)
      CHECK(pages->at(i).number == std::vector<uint32_t>{1, 2, 3, 0, 1, 0}[i]);
    CHECK(contains(pages->at(5).problem, "broken.pdf: pdfinfo: "));
    CHECK(pages->at(4).problem.empty());
    const auto some = PageList::make({.inputs = inputs, .pages = "2-3"}, never);
    REQUIRE(some.ok());
    REQUIRE(some->size() == 4);  // the document of one page has none of these
    CHECK(some->at(0).number == 2);
    CHECK(some->at(2).path == folder / "b.png");
    CHECK(some->at(3).path == folder / "broken.pdf");
    CHECK(contains(refusal({.inputs = {folder / "a.pdf"}, .pages = "4"}), "--pages 4: none"));

    std::set<uint32_t> signatures = {pages->signature(), some->signature()};
    const auto again = PageList::make({.inputs = inputs}, never);
    CHECK(again->signature() == pages->signature());
    write_file(folder / "b.png", "xy");
    signatures.insert(PageList::make({.inputs = inputs}, never)->signature());
    signatures.insert(PageList::make({.inputs = {inputs[1], inputs[0], inputs[2], inputs[3]}}, never)->signature());
    CHECK(signatures.size() == 4);
  }

  TEST_CASE("batch pdf: a page is drawn with the longer side asked for, and says why it cannot be") {
    const TemporaryFolder folder;
    const std::string path = folder / "-a.pdf";
    write_file(path, pdf_of({"Hello", ""}));
    const auto page = draw_pdf_page(path, 1, 300, never), blank = draw_pdf_page(path, 2, 300, never);
    REQUIRE_MESSAGE(page.ok(), page.message());
    CHECK(page->image.width == 300);
    CHECK(page->image.height == 150);
    const auto dark = [](const Image& image) {
      return std::count_if(image.rgb.begin(), image.rgb.end(), [](uint8_t c) { return c < 64; });
    };
    CHECK(dark(page->image) > 500);  // letters; measured 3 000
    CHECK(dark(blank->image) == 0);
    CHECK(contains(draw_pdf_page(path, 3, 300, never).message(), path + ", page 3: pdftoppm: "));
    CHECK(draw_pdf_page(path, 1, 300, [] { return true; }).code() == Code::Cancelled);
  }

  TEST_CASE("batch pdf: a PPM is read to the byte or refused") {
    const auto image = decode_ppm(std::string("P6\n2 1\n255\n\x01\x02\x03\n\x05\x06", 17));
    REQUIRE_MESSAGE(image.ok(), image.message());
    CHECK(image->rgb == std::vector<uint8_t>{1, 2, 3, '\n', 5, 6});
    for (const char* bad :
         {"", "P5\n1 1\n255\nabc", "P6\n1 1\n255\nab", "P6\n1 1\n255\nabcd", "P6\n0 1\n255\n", "P6\n1 1\n65535\nabcabc",
          "P6\n4294967295 4294967295\n255\nabc", "P6", "P6\n1 1\n255", "P6\nx 1\n255\nabc"})
      CHECK_MESSAGE(!decode_ppm(bad).ok(), bad);
  }

  TEST_CASE("batch child: its output and errors come back; limits and stops end it") {
    const auto shell = [](const std::string& line, const ChildLimits& limits = {}) {
      return run_child({"sh", "-c", line}, limits, never);
    };
    const auto both = shell("echo out; echo err >&2; exit 3");
    REQUIRE(both.ok());
    CHECK(both->out == "out\n");
    CHECK(both->err == "err\n");
    CHECK(both->exit_status == 3);
    CHECK(shell("kill -9 $$")->exit_status == -9);
    CHECK(shell("head -c 5000 /dev/zero >&2; head -c 200000 /dev/zero; cat")->out.size() == 200000);  // its input is empty
    CHECK(contains(shell("yes", {.out_bytes = 1000}).message(), "more than 1000 bytes"));
    CHECK(contains(shell("sleep 60 & wait", {.seconds = 0}).message(), "took longer"));
    CHECK(run_child({"vl2-no-such-program"}, {}, never).code() == Code::NotFound);
    CHECK(run_child({"sleep", "60"}, {}, [] { return true; }).code() == Code::Cancelled);
    CHECK(find_program("sh"));
    CHECK_FALSE(find_program("vl2-no-such-program"));
  }

  TEST_CASE("batch loader: pages come in order, bad ones alone fail, and few are held at a time") {
    const TemporaryFolder folder;
    Words inputs;
    for (uint32_t i = 0; i < 12; ++i) {
      inputs.push_back(folder / std::to_string(i) + ".png");
      const uint32_t side = i % 2 == 0 ? 700 : 3;  // the slow ones must not be overtaken
      REQUIRE(write_png(inputs.back(), Image{side, i + 1, test_picture(side, i + 1, i)}).ok());
    }
    write_file(inputs[5], "no picture");
    const auto list = PageList::make({.inputs = inputs}, never);
    REQUIRE(list.ok());
    const Shard shard = {2, 3};  // pages 1, 4, 7, 10
    PageLoader part(*list, rest_of_shard(shard, list->size(), 1), 100, never);
    for (const uint64_t index : {4u, 7u, 10u}) {
      const auto page = part.next();
      REQUIRE(page);
      CHECK(page->page.index == index);
    }
    CHECK_FALSE(part.next());
    PageLoader all(*list, rest_of_shard({}, list->size(), 0), 100, never);
    for (uint32_t i = 0; i < 12; ++i) {
      const auto page = all.next();
      REQUIRE(page);
      CHECK(page->page.index == i);
      CHECK(page->status.ok() == (i != 5));
      CHECK((i == 5 || page->image.height == i + 1));
    }
    CHECK_FALSE(all.next());
    PageLoader stopped(*list, rest_of_shard({}, list->size(), 0), 100, [] { return true; });
    CHECK_FALSE(stopped.next());
    PageLoader forgotten(*list, rest_of_shard({}, list->size(), 0), 100, never);  // ends without being asked for anything
  }

  TEST_CASE("batch loader: several threads get each page once") {
    const TemporaryFolder folder;
    Words inputs;
    for (uint32_t i = 0; i < 12; ++i) {
      inputs.push_back(folder / std::to_string(i) + ".png");
      REQUIRE(write_png(inputs.back(), Image{3, i + 1, test_picture(3, i + 1, i)}).ok());
    }
    const auto list = PageList::make({.inputs = inputs}, never);
    REQUIRE(list.ok());
    const std::vector<uint64_t> wanted = {1, 2, 5, 7, 11};  // any pages, as those that failed before
    PageLoader loader(*list, {wanted.size(), [&](uint64_t k) { return wanted[k]; }}, 100, never);
    std::mutex mutex;
    std::map<uint64_t, uint64_t> got;  // index by position
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
      threads.emplace_back([&] {
        while (const auto page = loader.next()) {
          const std::lock_guard guard(mutex);
          got[page->position] = page->image.height == page->page.index + 1 ? page->page.index : UINT64_MAX;
        }
      });
    for (std::thread& thread : threads)
      thread.join();
    REQUIRE(got.size() == wanted.size());
    for (uint64_t k = 0; k < wanted.size(); ++k)
      CHECK(got[k] == wanted[k]);
  }

  TEST_CASE("batch writer: everything in order, however far pages overtake each other, and few are kept") {
    constexpr uint32_t kSlots = 3;
    constexpr uint64_t kPages = 60, kMost = kSlots * ResultWriter::kWaiting;
    std::vector<uint64_t> written;
    std::atomic<uint64_t> next{0};
    ResultWriter writer(kSlots, [&](const PageResult& result) {
      written.push_back(result.index);
      return Status();
    });
    std::mutex first;  // page 0 takes until the others can go no further
    first.lock();
    std::vector<std::thread> slots;
    for (uint32_t slot = 0; slot < kSlots; ++slot)
      slots.emplace_back([&] {
        for (uint64_t page = next++; page < kPages; page = next++) {
          if (page == 0)
            const std::lock_guard guard(first);
          CHECK(writer.push(page, result_of(page)));
        }
      });
    // Pages 1 to kMost - 1 find room; the two other slots then wait with one each, the last of which is kMost + 1.
    while (next < kMost + 2)
      std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    CHECK(next == kMost + 2);
    CHECK(written.empty());
    first.unlock();
    for (std::thread& slot : slots)
      slot.join();
    CHECK(writer.finish().ok());
    REQUIRE(written.size() == kPages);
    for (uint64_t i = 0; i < kPages; ++i)
      CHECK(written[i] == i);
  }

  TEST_CASE("batch writer: after an error, or a page that never comes, nothing more") {
    uint64_t calls = 0, pushed = 0;
    ResultWriter writer(1, [&](const PageResult&) { return ++calls == 3 ? fail(Code::IoError, "full") : Status(); });
    while (writer.push(pushed, result_of(pushed)))
      REQUIRE(++pushed < 100);
    CHECK(writer.finish().message() == "full");
    CHECK(calls == 3);
    CHECK(pushed <= 3 + ResultWriter::kWaiting);

    std::vector<uint64_t> written;
    ResultWriter gap(1, [&](const PageResult& result) {
      written.push_back(result.index);
      return Status();
    });
    CHECK(gap.push(0, result_of(0)));
    CHECK(gap.push(2, result_of(2)));
    std::thread waits([&] { CHECK_FALSE(gap.push(50, result_of(50))); });
    gap.give_up();
    waits.join();
    CHECK(gap.finish().ok());
    CHECK(written == std::vector<uint64_t>{0});  // what comes after the gap is done again another time
  }
}
