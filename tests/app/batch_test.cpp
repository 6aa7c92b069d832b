// app/batch: which pages there are, what is kept of results, and how they are handed on; no model.
#include <atomic>
#include <csignal>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

#include "app/batch/child_process.h"
#include "app/batch/journal.h"
#include "app/batch/page_list.h"
#include "app/batch/page_loader.h"
#include "app/batch/pdf.h"
#include "app/batch/report_format.h"
#include "app/batch/result_writer.h"
#include "app/batch/retry.h"
#include "tests/support/pdf.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

using namespace vl2;
using namespace vl2::batch;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

bool never() {
  return false;
}

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

constexpr JobKey kJob = {1, 2, 0xfedcba98, 4, 5};

PageResult result_of(uint64_t index) {
  PageResult result;
  result.index = index;
  result.path = "page " + std::to_string(index) + ".png";
  result.text = result.tagged_text = "answer\n\"" + std::to_string(index) + "\" é";
  result.stop = "eos";
  result.prompt_tokens = 430;
  result.answer_tokens = 7;
  return result;
}

// The lines of a journal of pages 0 .. count - 1.
std::string lines_of(uint64_t count, const Shard& shard = {}) {
  std::string text;
  for (uint64_t k = 0; k < count; ++k)
    text += to_line({kJob, shard, result_of(shard.page_index(k))}) + "\n";
  return text;
}

std::string open_refusal(const std::string& path, const JobKey& job, const Shard& shard = {}) {
  const std::string before = read_file(path);
  const auto journal = Journal::open(path, job, shard, false);
  CHECK(read_file(path) == before);
  return journal.ok() ? "accepted" : journal.message();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
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

  TEST_CASE("batch records: come back as they were, and other lines are refused") {
    PageResult result = result_of(3);
    result.number = 2;
    result.text = "a\tb \\ \x01";
    result.tagged_text = "<|ref|>a<|/ref|>";
    result.boxes = {{"a cat", {1, 2, 3, 999}, {10, 20, 30, 4000000000u}}};
    result.notes = {"odd"};
    const Shard shard = {2, 3};
    const std::string line = to_line({kJob, shard, result});
    CHECK(line.find('\n') == std::string::npos);
    const auto back = parse_line(line);
    REQUIRE_MESSAGE(back.ok(), line);
    CHECK(back->job == kJob);
    CHECK(back->shard == shard);
    CHECK(back->result.text == result.text);
    CHECK(back->result.tagged_text == result.tagged_text);
    CHECK(back->result.number == 2);
    CHECK(back->result.boxes[0].pixels[3] == 4000000000u);
    CHECK(back->result.notes == result.notes);
    CHECK(to_line(*back) == line);
    PageResult failed;
    failed.index = 4, failed.path = "x\xff.png", failed.error = "no";  // a name that is no UTF-8
    const auto failure = parse_line(to_line({kJob, {}, failed}));
    REQUIRE(failure.ok());
    CHECK(failure->result.error == "no");
    const auto json = nlohmann::json::parse(to_line({kJob, {}, failed}));
    CHECK(json["file"] == "x\xef\xbf\xbd.png");
    CHECK_FALSE(json.contains("text"));
    const std::string key = "{\"job\":\"" + kJob.text() + "\",";
    for (const std::string& bad :
         {std::string(), std::string("{}"), std::string("[1]"), line.substr(0, line.size() - 1), line + "}", key + "\"index\":0}",
          key + "\"index\":5,\"of\":5,\"file\":\"a\"}", key + "\"index\":-1,\"of\":5,\"file\":\"a\"}",
          key + "\"index\":1,\"of\":5,\"file\":7}", key + "\"index\":1,\"of\":5,\"file\":\"a\",\"boxes\":[7]}",
          key + "\"index\":1,\"of\":5,\"file\":\"a\",\"shard\":\"3/2\"}",
          std::string("{\"job\":\"x\",\"index\":0,\"of\":5,\"file\":\"a\"}")})
      CHECK_MESSAGE(!parse_line(bad).ok(), bad);
    CHECK(parse_line(key + "\"index\":1,\"of\":5,\"file\":\"a\"}").ok());  // so that it was not the beginning that they lacked
  }

  TEST_CASE("batch shards: every page is in one of them") {
    for (const uint64_t pages : {0u, 1u, 7u, 8u, 9u})
      for (const uint64_t count : {1u, 2u, 3u, 8u, 20u}) {
        std::multiset<uint64_t> seen;
        for (uint64_t number = 1; number <= count; ++number) {
          const auto shard = Shard::parse(std::to_string(number) + "/" + std::to_string(count));
          REQUIRE(shard.ok());
          for (uint64_t k = 0; k < shard->page_count(pages); ++k) {
            seen.insert(shard->page_index(k));
            CHECK(shard->page_index(k) % count == number - 1);
          }
        }
        CHECK(seen.size() == pages);
        CHECK(std::set(seen.begin(), seen.end()).size() == pages);
        CHECK((pages == 0 || *seen.rbegin() == pages - 1));
      }
    for (const char* bad : {"0/2", "3/2", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1/0", "1/2x"})
      CHECK_MESSAGE(!Shard::parse(bad).ok(), bad);
  }

  TEST_CASE("batch journal: cut anywhere, it goes on as if nothing had happened") {
    const TemporaryFolder folder;
    const std::string path = folder / "out.jsonl", whole = lines_of(5);
    for (size_t bytes = 0; bytes <= whole.size(); ++bytes) {
      const auto full_lines = static_cast<uint64_t>(std::count(whole.begin(), whole.begin() + static_cast<long>(bytes), '\n'));
      write_file(path, whole.substr(0, bytes));
      auto journal = Journal::open(path, kJob, {}, false);
      REQUIRE_MESSAGE(journal.ok(), journal.message());
      REQUIRE(journal->result_count() == full_lines);
      if (bytes % 17 == 0 || bytes == whole.size()) {  // each append waits for the disk
        for (uint64_t i = full_lines; i < 5; ++i)
          REQUIRE(journal->append(result_of(i)).ok());
        REQUIRE(read_file(path) == whole);
      }
    }
    write_file(path, lines_of(2) + std::string(100, '\0'));  // a machine that died may leave zeros
    CHECK(Journal::open(path, kJob, {}, false)->result_count() == 2);
    CHECK(read_file(path) == lines_of(2));
  }

  TEST_CASE("batch journal: what is of another command, or of nobody, is refused and left as it is") {
    const TemporaryFolder folder;
    const std::string path = folder / "out.jsonl";
    write_file(path, lines_of(2));
    JobKey other = kJob;
    other.prompt = 7;
    CHECK(contains(open_refusal(path, other), "out.jsonl holds results of another command (another prompt): name another file"));
    other.model = 8;
    CHECK(contains(open_refusal(path, other), "(another model, another prompt)"));
    other = kJob;
    other.page_count = 6;
    CHECK(contains(open_refusal(path, other), "(other inputs)"));
    CHECK(contains(open_refusal(path, kJob, {2, 3}), "holds results of --shard 1/1"));
    for (const std::string& text : {std::string("my thesis"), std::string("my thesis\n"), std::string("\n"),
                                    lines_of(1) + "note\n", lines_of(1) + "note", "{\"job\":\n" + lines_of(1)}) {
      write_file(path, text);
      CHECK(contains(open_refusal(path, kJob), "is no result of vl2 batch"));
    }
    write_file(path, lines_of(1) + lines_of(1));
    CHECK(contains(open_refusal(path, kJob), "line 2 is of page 0, wanted 1"));
    CHECK(Journal::open(path, kJob, {}, true)->result_count() == 0);
    CHECK(read_file(path).empty());
  }

  TEST_CASE("batch journal: one process at a time, regular files only, and a file that nothing was written to goes") {
    const TemporaryFolder folder;
    const std::string path = folder / "out.jsonl";
    {
      auto first = Journal::open(path, kJob, {}, false);
      REQUIRE(first.ok());
      CHECK(contains(Journal::open(path, kJob, {}, false).message(), "another process is writing it"));
      first->discard_if_new();
    }
    CHECK_FALSE(fs::exists(path));
    {
      auto journal = Journal::open(path, kJob, {}, false);
      REQUIRE(journal->append(result_of(0)).ok());
      journal->discard_if_new();
    }
    CHECK(read_file(path) == lines_of(1));
    CHECK(contains(Journal::open("/dev/full", kJob, {}, false).message(), "/dev/full: cannot be written: it is no regular file"));
    CHECK(contains(Journal::open(folder.path(), kJob, {}, false).message(), "it is a folder"));
    CHECK(contains(Journal::open(folder / "no/out", kJob, {}, false).message(), "is no folder"));
  }

  TEST_CASE("batch journal: a full disk is an error by name, and what was written before stays whole") {
    const TemporaryFolder folder;
    const std::string path = folder / "out.jsonl";
    auto journal = Journal::open(path, kJob, {}, false);
    REQUIRE(journal.ok());
    REQUIRE(journal->append(result_of(0)).ok());
    rlimit before{};
    getrlimit(RLIMIT_FSIZE, &before);
    const rlimit tight = {lines_of(2).size() - 10, before.rlim_max};  // the second line fits all but its end
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &tight);
    const Status status = journal->append(result_of(1));
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(status.message() == path + ": cannot be written: File too large");
    CHECK(journal->result_count() == 1);
    CHECK(read_file(path) == lines_of(1));
    REQUIRE(journal->append(result_of(1)).ok());
    CHECK(read_file(path) == lines_of(2));
  }

  TEST_CASE("batch reports: every format, errors and odd names included") {
    const TemporaryFolder folder;
    PageResult page = result_of(1), failed;
    page.path = "a\nb.pdf", page.number = 3, page.text = page.tagged_text = "two\nlines\n\n";
    failed.index = 2, failed.path = "c.png", failed.error = "c.png: bad";
    write_file(folder / "j", lines_of(1) + to_line({kJob, {}, page}) + "\n" + to_line({kJob, {}, failed}) + "\n");
    const auto report = [&](Format format) {
      const auto counts = write_report(folder / "j", format, folder / "out");
      REQUIRE_MESSAGE(counts.ok(), counts.message());
      CHECK(counts->pages == 3);
      CHECK(counts->failed == 1);
      CHECK_FALSE(fs::exists(folder / "out.part"));
      return read_file(folder / "out");
    };
    CHECK(report(Format::Text) ==
          "== page 0.png ==\nanswer\n\"0\" é\n\n== a b.pdf, page 3 ==\ntwo\nlines\n\n== c.png ==\nerror: c.png: bad\n");
    CHECK(report(Format::Markdown) ==
          "## page 0.png\n\nanswer\n\"0\" é\n\n## a b.pdf, page 3\n\ntwo\nlines\n\n## c.png\n\n> error: c.png: bad\n");
    CHECK(report(Format::JsonLines) == read_file(folder / "j"));
    const auto json = nlohmann::json::parse(report(Format::Json));
    REQUIRE(json.size() == 3);
    CHECK(json[1]["file"] == "a\nb.pdf");
    CHECK(json[1]["page"] == 3);
    CHECK(json[2]["error"] == "c.png: bad");
    CHECK_FALSE(json[0].contains("job"));
    CHECK(*format_of("", "x.md") == Format::Markdown);
    CHECK(*format_of("", "x.out") == Format::Text);
    CHECK(*format_of("jsonl", "x.md") == Format::JsonLines);
    CHECK(contains(format_of("xml", "x.md").message(), "--format xml: wanted text, md, json or jsonl"));
  }

  TEST_CASE("batch merge: the journals of shards make that of the whole, or nothing is written") {
    const TemporaryFolder folder;
    const std::string out = folder / "all.jsonl";
    const Words shards = {folder / "3", folder / "1", folder / "2", folder / "7"};  // any order; more shards than pages
    const auto write_shards = [&] {
      for (uint64_t number : {1u, 2u, 3u})
        write_file(folder / std::to_string(number), lines_of(Shard{number, 3}.page_count(5), {number, 3}));
      write_file(folder / "7", "");
    };
    const auto refused = [&](const Words& files) {
      const auto merged = merge_shards(files, Format::JsonLines, out);
      CHECK_FALSE(fs::exists(out));
      CHECK_FALSE(fs::exists(out + ".part"));
      return merged.ok() ? "accepted" : merged.message();
    };
    write_shards();
    CHECK(contains(refused({shards[0], shards[1]}),
                   "page 2 of 5 is missing: shard 2/3 is not among the files, or is not finished"));
    CHECK(contains(refused({shards[0], shards[1], shards[2], shards[1]}), "is there twice"));
    CHECK(contains(refused({shards[3]}), "no results"));
    CHECK(contains(refused({folder / "no"}), "No such file"));
    write_file(folder / "1", read_file(folder / "1").substr(0, read_file(folder / "1").size() - 5));  // killed in its last line
    CHECK(contains(refused(shards), "page 4 of 5 is missing: shard 1/3"));
    write_file(folder / "1", "my thesis\n");
    CHECK(contains(refused(shards), "is no result of vl2 batch"));
    JobKey other = kJob;
    other.options = 1;
    write_file(folder / "1", to_line({other, {1, 3}, result_of(0)}) + "\n");
    CHECK(contains(refused(shards), "are of different batches (other options)"));
    write_shards();
    CHECK(contains(merge_shards(shards, Format::JsonLines, shards[1]).message(), "one of the shards"));
    const auto merged = merge_shards(shards, Format::JsonLines, out);
    REQUIRE_MESSAGE(merged.ok(), merged.message());
    CHECK(merged->pages == 5);
    CHECK(read_file(out) == lines_of(5));
    CHECK(Journal::open(out, kJob, {}, false)->result_count() == 5);  // as if it had been written in one piece
  }

  TEST_CASE("batch retry: failed pages are put in their places, whatever they have become, and nothing else changes") {
    const TemporaryFolder folder;
    const std::string path = folder / "out.jsonl";
    for (const char* name : {"a.png", "b.png", "c.pdf", "d.png"})
      write_file(folder / name, "broken");
    const auto list_now = [&] {
      auto list = PageList::make({.inputs = {folder.path() + "/?.p*"}}, never);
      REQUIRE_MESSAGE(list.ok(), list.message());
      return list.take();
    };
    const auto job_of = [](const PageList& list) {
      JobKey job = kJob;
      job.inputs = list.signature();
      job.page_count = list.size();
      return job;
    };
    // b and c failed, a and d did not.
    const auto line = [&](const PageList& list, uint64_t index, const Shard& shard = {}, const std::string& error = "") {
      PageResult result = result_of(index);
      const Page page = list.at(index);
      result.path = page.path;
      result.number = page.number;
      result.error = error;
      if (!error.empty())
        result.file_bytes = page.file_bytes;
      return to_line({job_of(list), shard, result}) + "\n";
    };
    const PageList broken = list_now();
    REQUIRE(broken.size() == 4);
    const std::string before = line(broken, 0) + line(broken, 1, {}, "bad") + line(broken, 2, {}, "worse") + line(broken, 3);
    write_file(path, before + "{\"job\":\"");  // killed in a line
    write_file(folder / "b.png", "mended, and longer");
    write_file(folder / "c.pdf", pdf_of({"one", "two"}));
    const PageList mended = list_now();
    REQUIRE(mended.size() == 5);
    const auto find = [&](const PageList& list, const Shard& shard = {}) { return Retry::find(path, job_of(list), shard, list); };
    {
      auto given_up = find(mended);
      REQUIRE_MESSAGE(given_up.ok(), given_up.message());
      REQUIRE(given_up->has_value());
      REQUIRE((*given_up)->page_count() == 3);
      for (uint64_t k = 0; k < 3; ++k)
        CHECK((*given_up)->page_index(k) == k + 1);
      CHECK(contains(Journal::open(path, job_of(mended), {}, false).message(), "another process is writing it"));
      PageResult result = result_of(1);
      REQUIRE((*given_up)->put(result).ok());
    }
    CHECK(read_file(path) == before);  // but for the piece of a line
    CHECK_FALSE(fs::exists(path + ".part"));

    auto retry = find(mended);
    REQUIRE(retry.ok());
    for (uint64_t index = 1; index < 4; ++index) {
      const auto record = parse_line(line(mended, index, {}, index == 3 ? "still bad" : ""));
      REQUIRE(record.ok());
      REQUIRE((*retry)->put(record->result).ok());
    }
    CHECK(read_file(path) == before);
    REQUIRE((*retry)->commit().ok());
    PageResult moved = result_of(3);  // it was page 3, and is now page 4
    moved.index = 4;
    moved.path = broken.at(3).path;
    CHECK(read_file(path) == line(mended, 0) + line(mended, 1) + line(mended, 2) + line(mended, 3, {}, "still bad") +
                                 to_line({job_of(mended), {}, moved}) + "\n");
    retry.value().reset();
    CHECK(Journal::open(path, job_of(mended), {}, false)->failed_count() == 1);

    write_file(path, before);
    write_file(folder / "d.png", "another picture");  // of which there is an answer
    CHECK(contains(find(list_now()).message(), "holds results of other inputs, not only where pages failed"));
    JobKey other = job_of(mended);
    other.prompt = 7;
    write_file(folder / "d.png", "broken");
    CHECK(contains(Retry::find(path, other, {}, mended).message(), "results of another command (another prompt)"));
    CHECK(read_file(path) == before);

    const Shard second = {1, 2};  // pages 0 and 2: the PDF's other pages belong to other shards
    write_file(path, line(broken, 0, second) + line(broken, 2, second, "worse"));
    write_file(folder / "b.png", "broken");
    CHECK(contains(find(list_now(), second).message(), "--merge them, then --retry-failed without --shard"));
    write_file(folder / "c.pdf", "mended?");
    const PageList same_count = list_now();
    auto shard = find(same_count, second);
    REQUIRE_MESSAGE(shard.ok(), shard.message());
    CHECK((*shard)->page_count() == 1);
    CHECK((*shard)->page_index(0) == 2);
    CHECK_FALSE(Retry::find(folder / "none", kJob, {}, mended)->has_value());
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
