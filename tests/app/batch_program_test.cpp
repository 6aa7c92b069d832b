// `vl2 batch` as users start it: whole runs with the demo's model, runs that are killed, and input that is wrong.
#include <chrono>
#include <cmath>
#include <doctest/doctest.h>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "app/image_file.h"
#include "tests/support/paths.h"
#include "tests/support/pdf.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

using namespace vl2;
using nlohmann::json;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const std::string kPico = source_dir() + "/app/demo/pico";

std::vector<json> results_in(const std::string& text) {
  std::vector<json> results;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    REQUIRE(end != std::string::npos);
    results.push_back(json::parse(text.substr(at, end - at)));
    at = end + 1;
  }
  return results;
}

// Small pictures that look different from each other: discs of growing size and changing colour.
void write_pictures(const std::string& folder, uint32_t count) {
  fs::create_directories(folder);
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t side = 64;
    Image image{side, side, std::vector<uint8_t>(side * side * 3, 255)};
    for (uint32_t y = 0; y < side; ++y)
      for (uint32_t x = 0; x < side; ++x)
        if (std::hypot(x - 32.0, y - 32.0) < 6 + 3 * i)
          for (uint32_t channel = 0; channel < 3; ++channel)
            image.rgb[(y * side + x) * 3 + channel] = static_cast<uint8_t>((i + 1) * (channel + 1) * 47);
    const std::string name = std::string(2 - std::to_string(i).size(), '0') + std::to_string(i) + ".png";
    REQUIRE(write_png(folder + "/" + name, image).ok());
  }
}

// With few tokens, so that a page takes a fraction of a second; with small_model(), whose answers are noise, less.
Words batch(const Words& more, const std::string& model = kPico) {
  Words words = {"batch", "-m", model, "-p", "What shape is it?", "-n", "4", "--tiles", "1", "-c", "512"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

uint64_t size_of(const std::string& path) {
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  return error ? 0 : bytes;
}

void check_refused(const Words& arguments, const Words& named, const ProgramOptions& options = {}) {
  const ProgramResult result = run_program(arguments, options);
  CAPTURE(result.err);
  CHECK(result.exit_status == 2);
  CHECK(result.out.empty());
  CHECK(result.err.starts_with("vl2: "));
  CHECK(result.err.find('\n') == result.err.size() - 1);
  for (const std::string& part : named)
    CHECK_MESSAGE(result.err.find(part) != std::string::npos, part);
}

}  // namespace

TEST_SUITE("program") {
  TEST_CASE("vl2 batch: four pages at a time and killed at random moments it ends as one at a time and undisturbed does") {
    constexpr uint32_t kPages = 6, kKills = 4;
    const TemporaryFolder folder;
    write_pictures(folder / "in", kPages);
    write_file(folder / "in/03.png", "no picture at all");
    const std::string calm = folder / "calm.jsonl", killed = folder / "killed.jsonl";
    const ProgramResult undisturbed = run_program(batch({folder / "in", "-o", calm, "--slots", "1"}));
    CHECK(undisturbed.exit_status == 1);
    CHECK(undisturbed.err == "vl2: batch: 1 of 6 pages failed: their results say why\n");
    const std::vector<json> results = results_in(read_file(calm));
    REQUIRE(results.size() == kPages);
    for (uint32_t i = 0; i < kPages; ++i) {
      CHECK(results[i]["index"] == i);
      CHECK(results[i].contains("error") == (i == 3));
      CHECK(results[i].contains("text") == (i != 3));
    }
    CHECK(results[3]["error"] == folder / "in/03.png" + ": picture: the file is none of PNG, JPEG, WebP, BMP");

    std::mt19937 random(20261123);
    uint32_t in_the_middle = 0;
    for (uint32_t kill = 0; kill < kKills; ++kill) {
      // When so many more bytes are there, and then up to half a second, in which a page is read, decoded or written.
      const uint64_t bytes = size_of(killed) + (kill == 0 ? 0 : random() % 400);
      const auto delay = std::chrono::milliseconds(random() % 500);
      std::optional<std::chrono::steady_clock::time_point> due;
      const ProgramResult result = run_program(batch({folder / "in", "-o", killed, "--slots", "4"}), {.kill_when = [&] {
                                                 const auto now = std::chrono::steady_clock::now();
                                                 if (!due && size_of(killed) >= bytes)
                                                   due = now + delay;
                                                 return due && now >= *due;
                                               }});
      CHECK((result.exit_status == -9 || result.exit_status == 1));
      const uint64_t now = size_of(killed), all = size_of(calm);
      in_the_middle += result.exit_status == -9 && now > 0 && now < all;
      CHECK(now <= all);
      CHECK(read_file(calm).starts_with(now == 0 ? "" : read_file(killed)));
    }
    CHECK(in_the_middle > 0);
    CHECK(run_program(batch({folder / "in", "-o", killed, "--slots", "4"})).exit_status == 1);
    CHECK(read_file(killed) == read_file(calm));  // complete, in order, nothing twice, the same texts

    const auto written = fs::last_write_time(killed);
    const ProgramResult again = run_program(batch({folder / "in", "-o", killed, "-q"}));
    CHECK(again.exit_status == 1);
    CHECK(read_file(killed) == read_file(calm));
    CHECK(fs::last_write_time(killed) == written);  // nothing was asked again
    check_refused({"batch", "-m", kPico, "-p", "Another question", folder / "in", "-o", killed},
                  {"killed.jsonl holds results of another command (another prompt, other options): name another file"});
    CHECK(read_file(killed) == read_file(calm));
  }

  TEST_CASE("vl2 batch: PDF pages and pictures in one report; shards put together are the whole") {
    const TemporaryFolder folder;
    write_pictures(folder / "in", 1);
    write_file(folder / "in/three.pdf", pdf_of({"Total 12", "Total 77", "Total 31"}));
    write_file(folder / "broken.pdf", "%PDF-1.4");
    const Words inputs = {folder / "in", folder / "broken.pdf"};
    const auto run = [&](Words more) {
      more.insert(more.end(), inputs.begin(), inputs.end());
      const ProgramResult result = run_program(batch(more, small_model()));
      CHECK_MESSAGE((result.exit_status == 0 || result.exit_status == 1), result.err);
      return result;
    };
    CHECK(run({"-o", folder / "all.md", "--pages", "1,3"}).exit_status == 1);
    const std::string report = read_file(folder / "all.md"), whole = read_file(folder / "all.md.journal");
    size_t at = 0;
    for (const char* title : {"in/00.png\n", "in/three.pdf, page 1\n", "in/three.pdf, page 3\n", "broken.pdf\n\n> error: "}) {
      at = report.find(title, at);
      REQUIRE_MESSAGE(at != std::string::npos, std::string(title) << " in " << report);
    }
    CHECK(report.find("page 2\n") == std::string::npos);

    CHECK(results_in(whole).size() == 4);
    Words merge = {"batch", "--merge", folder / "merged.jsonl"};
    for (const char* number : {"1", "2"}) {
      const std::string out = folder / "shard" + number + ".jsonl";
      run({"-o", out, "--pages", "1,3", "--shard", std::string(number) + "/2"});
      CHECK(results_in(read_file(out)).size() == 2);
      merge.push_back(out);
    }
    const ProgramResult merged = run_program(merge);
    CHECK(merged.exit_status == 1);
    CHECK(merged.err == "vl2: batch: 1 of 4 pages failed: their results say why\n");
    CHECK(read_file(folder / "merged.jsonl") == whole);
    merge.pop_back();
    merge[2] = folder / "too_few.jsonl";
    check_refused(merge, {"page 2 of 4 is missing: shard 2/2"});
    CHECK_FALSE(fs::exists(folder / "too_few.jsonl"));
  }

  TEST_CASE("vl2 batch: Ctrl-C keeps what is done, and the same command goes on") {
    const TemporaryFolder folder;
    write_pictures(folder / "in", 3);
    const ProgramResult whole = run_program(batch({folder / "in", "--format", "json"}));
    CHECK(whole.exit_status == 0);
    CHECK(json::parse(whole.out).size() == 3);
    const ProgramResult cut =
        run_program(batch({folder / "in", "--format", "jsonl", "--slots", "1"}), {.interrupt_after_bytes = 1});
    CHECK(cut.exit_status == 130);
    CHECK(cut.err.find("of 3 pages are done") != std::string::npos);
    CHECK(results_in(cut.out).size() < 3);
    CHECK_FALSE(results_in(cut.out).empty());
    write_file(folder / "out.jsonl", cut.out);  // what was printed is a journal, too
    CHECK(run_program(batch({folder / "in", "-o", folder / "out.jsonl"})).exit_status == 0);
    const std::vector<json> results = results_in(read_file(folder / "out.jsonl"));
    REQUIRE(results.size() == 3);
    for (size_t i = 0; i < 3; ++i)
      CHECK(results[i]["text"] == json::parse(whole.out)[i]["text"]);
  }

  TEST_CASE("vl2 batch: --retry-failed mends the results in every format as if the files had never been broken") {
    const TemporaryFolder folder;
    write_pictures(folder / "in", 3);
    const std::string whole_picture = read_file(folder / "in/01.png");
    write_file(folder / "in/01.png", whole_picture.substr(0, 60));
    write_file(folder / "in/011.pdf", "%PDF-1.4");
    const auto run = [&](const std::string& out, Words more = {}, const ProgramOptions& options = {}) {
      more.insert(more.end(), {folder / "in", "-o", folder / out, "--slots", "2"});
      return run_program(batch(more, small_model()), options);
    };
    const Words outs = {"a.jsonl", "a.txt", "a.md", "a.json"};
    const auto share_journal = [&](const std::string& from, const std::string& name) {  // results are the same in all
      for (size_t i = 1; i < outs.size(); ++i)
        fs::copy_file(folder / from, folder / (name + fs::path(outs[i]).extension().string() + ".journal"));
    };
    CHECK(run("a.jsonl", {"--retry-failed"}).exit_status == 1);  // nothing to try again yet
    share_journal("a.jsonl", "a");
    for (const std::string& out : outs)
      CHECK(run(out).exit_status == 1);
    const std::string broken = read_file(folder / "a.jsonl");
    CHECK(results_in(broken).size() == 4);

    write_file(folder / "in/01.png", whole_picture);
    write_file(folder / "in/011.pdf", pdf_of({"Total 12", "Total 77"}));
    check_refused(batch({folder / "in", "-o", folder / "a.jsonl"}, small_model()), {"(other inputs)"});
    CHECK(run("fresh.jsonl").exit_status == 0);
    CHECK(results_in(read_file(folder / "fresh.jsonl")).size() == 5);
    share_journal("fresh.jsonl", "fresh");

    const ProgramResult killed =
        run("a.jsonl", {"--retry-failed"}, {.kill_when = [&] { return fs::exists(folder / "a.jsonl.part"); }});
    CHECK(killed.exit_status == -9);
    CHECK(read_file(folder / "a.jsonl") == broken);
    for (const std::string& out : outs) {
      CAPTURE(out);
      const ProgramResult again = run(out, {"--retry-failed"});
      CHECK_MESSAGE(again.exit_status == 0, again.err);
      const std::string fresh = "fresh" + fs::path(out).extension().string();
      CHECK(run(fresh).exit_status == 0);
      CHECK(read_file(folder / out) == read_file(folder / fresh));
      CHECK_FALSE(fs::exists(folder / (out + ".part")));
    }
    fs::remove(folder / "a.md.journal");
    check_refused(batch({folder / "in", "-o", folder / "a.md", "--retry-failed"}, small_model()), {"a.md.journal: is not there"});
  }

  TEST_CASE("vl2 batch --dry-run: pages, tokens as the answers have them, and memory; nothing is asked or written") {
    const TemporaryFolder folder;
    write_pictures(folder / "in", 1);
    write_file(folder / "in/bad.png", "no picture");
    write_file(folder / "in/two.pdf", pdf_of({"Total 12", "Total 77"}));
    const auto dry = [&](const std::string& question, const Words& more) {
      Words words = {"batch",     "-m", small_model(),        "-p",         question, "--tiles", "1", "-c", "512",
                     "--dry-run", "-o", folder / "out.jsonl", folder / "in"};
      words.insert(words.end(), more.begin(), more.end());
      return run_program(words);
    };
    const ProgramResult part = dry("What shape is it?", {"--pages", "2", "--shard", "1/2"});
    CHECK(part.exit_status == 0);
    CHECK(part.out.starts_with(folder / "in/00.png: 64 x 64, canvas 384 x 384, tiles 1 x 1, 421 tokens, "));
    const size_t page = part.out.find("in/two.pdf, page 2: 1760 x ");
    REQUIRE(page != std::string::npos);
    CHECK(part.out.find(", canvas 384 x 384, tiles 1 x 1, 421 tokens, ", page) < part.out.find("pages: "));  // --tiles counts
    CHECK(part.out.find("pages: 2, 0 of them cannot be answered\nmemory: ") != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "out.jsonl"));
    const ProgramResult all = dry("What shape is it?", {});
    CHECK(all.exit_status == 1);
    CHECK(all.out.find("in/bad.png: error: ") != std::string::npos);
    CHECK(all.out.find("pages: 4, 1 of them cannot be answered\n") != std::string::npos);
    CHECK(dry(std::string(100, 'x'), {}).out.find("with the question, which is too many\n") != std::string::npos);

    fs::remove(folder / "in/bad.png");
    fs::remove(folder / "in/two.pdf");
    const std::vector<json> answered = results_in(run_program(batch({folder / "in", "--format", "jsonl"}, small_model())).out);
    REQUIRE(answered.size() == 1);
    CHECK(part.out.find("421 tokens, " + answered[0]["prompt_tokens"].dump() + " with the question\n") != std::string::npos);
  }

  TEST_CASE("vl2 batch: what cannot be done is refused before any work, and leaves nothing behind") {
    const TemporaryFolder folder;
    write_pictures(folder / "in", 1);
    write_file(folder / "a.pdf", pdf_of({"a"}));
    const std::string in = folder / "in";
    const auto refuse = [&](const Words& more, const Words& named, const ProgramOptions& options = {}) {
      check_refused(batch(more), named, options);
    };
    refuse({in, "-o", folder / "no/out.jsonl"}, {"no/out.jsonl: cannot be written", "is no folder"});
    refuse({in, "-o", folder / "in"}, {"cannot be written: it is a folder"});
    refuse({in, "-o", "/dev/full"}, {"/dev/full: cannot be written: it is no regular file"});
    refuse({folder / "nothing.png"}, {"nothing.png: no such file or folder"});
    refuse({in, "--shard", "3/2", "-o", folder / "x.jsonl"}, {"--shard 3/2: wanted I/N"});
    refuse({in, "--pages", "0"}, {"--pages 0"});
    refuse({in, "--format", "xml"}, {"--format xml"});
    refuse({in, "--restart"}, {"--restart is about the file of -o"});
    refuse({in, "--retry-failed"}, {"--retry-failed is about the file of -o"});
    refuse({in, "--retry-failed", "--restart", "-o", folder / "x.jsonl"}, {"wanted one of them"});
    refuse({in, "--merge", folder / "x.jsonl"}, {"--merge FILE SHARD... takes no other option"});
    refuse({}, {"no inputs"});
    refuse({folder / "a.pdf", "-o", folder / "x.jsonl"}, {"pdftoppm", "install poppler-utils"},
           {.environment = {{"PATH", folder.path()}}});
    check_refused({"batch", "-m", folder / "none", "-p", "x", in, "-o", folder / "x.jsonl"}, {"none: No such file"});
    check_refused({"batch", "-m", in, "-p", "x", in, "-o", folder / "x.jsonl"}, {"in/", "no such file"});
    check_refused({"batch", "-m", kPico, in}, {"--prompt is required"});
    check_refused({"batch", "-p", "x", in}, {"--model is required"});
    check_refused({"batch", "-m", kPico, "-p", "<image><image>", in}, {"two marks"});
    write_file(folder / "thesis.jsonl", "my thesis");
    refuse({in, "-o", folder / "thesis.jsonl"}, {"is no result of vl2 batch"});
    CHECK(read_file(folder / "thesis.jsonl") == "my thesis");
    CHECK_FALSE(fs::exists(folder / "x.jsonl"));
  }

  TEST_CASE("vl2 batch: its help names what the guide uses") {
    const ProgramResult help = run_program({"batch", "--help"});
    CHECK(help.exit_status == 0);
    for (const char* option : {"--list", "--recursive", "--pages", "--format", "--shard", "--merge", "--restart"})
      CHECK(help.out.find(option) != std::string::npos);
  }
}
