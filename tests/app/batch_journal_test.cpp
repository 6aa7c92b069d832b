// app/batch: what is kept of results, and how they are put together; no model.
#include <csignal>
#include <doctest/doctest.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <sys/resource.h>

#include "app/batch/journal.h"
#include "app/batch/page_list.h"
#include "app/batch/report_format.h"
#include "app/batch/retry.h"
#include "tests/support/batch_pages.h"
#include "tests/support/pdf.h"
#include "tests/support/program.h"

using namespace vl2;
using namespace vl2::batch;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

constexpr JobKey kJob = {1, 2, 0xfedcba98, 4, 5};

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

}  // namespace

TEST_SUITE("cpu") {
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
}
