// Sessions saved and restored: to the bit, or not at all.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>

#include "tests/support/api.h"
#include "tests/support/gpu_test.h"
#include "tests/support/pictures.h"
#include "tests/support/program.h"

using namespace vl2;

namespace {

namespace fs = std::filesystem;

class SavedSessionTest : public GpuTest {
 public:
  const TemporaryFolder folder;
  const std::string path = folder / "talk.vl2";
};

struct Said {
  std::vector<uint32_t> ids;
  std::vector<float> logprobs;
  uint32_t cached = 0;
  bool operator==(const Said&) const = default;
};

Said said_by(const SessionHandle& session) {
  const vl2_reply reply = reply_of(session);
  REQUIRE(reply.logprobs != nullptr);
  return {{reply.token_ids, reply.token_ids + reply.answer_tokens},
          {reply.logprobs, reply.logprobs + reply.answer_tokens},
          reply.cached_tokens};
}

Said answered(const SessionHandle& session, uint32_t max_tokens, uint64_t seed, uint32_t flags = 0) {
  vl2_reply_options options = drawing(max_tokens, seed);
  options.flags = VL2_REPLY_PROBABILITIES | flags;
  options.repeat_penalty = 1.3f;  // which the tokens so far decide on
  REQUIRE_MESSAGE(vl2_session_reply(session.get(), &options) == VL2_OK, vl2_last_error());
  return said_by(session);
}

void show(const SessionHandle& session, uint32_t width, uint32_t height, uint32_t seed) {
  REQUIRE(vl2_session_add_image(session.get(), test_picture(width, height, seed).data(), width, height) == VL2_OK);
}

void save(const SessionHandle& session, const std::string& path) {
  REQUIRE_MESSAGE(vl2_session_save(session.get(), path.c_str()) == VL2_OK, vl2_last_error());
}

vl2_status try_load(const ModelHandle& model, const std::string& path, SessionHandle& session) {
  auto options = sized<vl2_session_options>();
  options.context_tokens = 1024;
  vl2_session* made = nullptr;
  const vl2_status status = vl2_session_load(model.get(), path.c_str(), &options, &made);
  session.reset(made);
  return status;
}

SessionHandle load(const ModelHandle& model, const std::string& path) {
  SessionHandle session;
  REQUIRE_MESSAGE(try_load(model, path, session) == VL2_OK, vl2_last_error());
  return session;
}

void check_refused(const ModelHandle& model, const std::string& path, vl2_status status, const std::string& part) {
  SessionHandle session;
  CHECK(try_load(model, path, session) == status);
  CHECK(session == nullptr);
  const std::string message = vl2_last_error();
  CHECK_MESSAGE(message.starts_with(path + ": "), message);
  CHECK_MESSAGE(message.find(part) != std::string::npos, message);
}

// A conversation with two pictures, one of them taken back again, whose last answer was cut short.
SessionHandle example(const ModelHandle& model) {
  SessionHandle session = new_session(model);
  say(session, "Be brief.", VL2_ROLE_SYSTEM);
  show(session, 40, 30, 1);
  say(session, "What is this?");
  answered(session, 9, 3);
  show(session, 20, 50, 2);
  say(session, "And this?");
  answered(session, 7, 4);
  REQUIRE(vl2_session_truncate(session.get(), 3) == VL2_OK);
  say(session, "Go on.");
  answered(session, 6, 5);
  return session;
}

// ---- The file, as its documentation describes it ----

constexpr size_t kHead = 32;

uint64_t fnv(const std::string& bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

template <typename Number>
std::string number(Number value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

template <typename Number>
Number number_at(const std::string& bytes, size_t at) {
  Number value;
  REQUIRE(at + sizeof(value) <= bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

struct Section {
  std::string tag, bytes;
};

std::vector<Section> sections_of(const std::string& file) {
  REQUIRE(file.substr(0, 8) == "vl2-talk");
  std::vector<Section> sections;
  for (size_t at = kHead; at < file.size();) {
    const auto size = number_at<uint64_t>(file, at + 8);
    sections.push_back({file.substr(at, 4), file.substr(at + kHead, size)});
    at += kHead + size;
  }
  CHECK(sections.size() == number_at<uint32_t>(file, 12));
  return sections;
}

std::string file_of(const std::vector<Section>& sections, uint32_t version = 1) {
  std::string body;
  for (const Section& section : sections) {
    const std::string head =
        section.tag + number<uint32_t>(0) + number<uint64_t>(section.bytes.size()) + number(fnv(section.bytes));
    body += head + number(fnv(head)) + section.bytes;
  }
  const std::string head =
      "vl2-talk" + number(version) + number(static_cast<uint32_t>(sections.size())) + number<uint64_t>(kHead + body.size());
  return head + number(fnv(head)) + body;
}

}  // namespace

TEST_CASE_FIXTURE(SavedSessionTest, "vl2_session_save: what is restored answers to the bit as what went on") {
  const ModelHandle model = load_model(kPico);
  const SessionHandle session = example(model);
  save(session, path);
  const std::string before = read_file(path);
  const Said last = said_by(session);
  const std::string last_text = reply_of(session).tagged_text;
  CHECK(vl2_session_token_count(session.get()) > 421);

  // In another model, as in another process; vl2_tests' program suite has one of those.
  const ModelHandle other = load_model(kPico);
  {
    const SessionHandle restored = load(other, path);
    CHECK(vl2_session_message_count(restored.get()) == 5);
    CHECK(vl2_session_token_count(restored.get()) == vl2_session_token_count(session.get()));
    CHECK(said_by(restored) == last);
    CHECK(std::string(reply_of(restored).tagged_text) == last_text);
    auto picture = sized<vl2_picture>();
    REQUIRE(vl2_session_picture_count(restored.get()) == 1);
    REQUIRE(vl2_session_get_picture(restored.get(), 0, &picture) == VL2_OK);
    CHECK(std::vector<uint8_t>(picture.rgb, picture.rgb + 40 * 30 * 3) == test_picture(40, 30, 1));
    save(restored, folder / "again.vl2");
    CHECK(read_file(folder / "again.vl2") == before);
  }
  // The answer goes on, the same is asked again, something new is asked.
  const auto go_on = [&](const SessionHandle& talk) {
    std::vector<Said> all = {answered(talk, 8, 6, VL2_REPLY_CONTINUE)};
    REQUIRE(vl2_session_truncate(talk.get(), 4) == VL2_OK);
    all.push_back(answered(talk, 8, 7));
    show(talk, 33, 44, 3);
    say(talk, "<|ref|>this<|/ref|>.");
    all.push_back(answered(talk, 12, 8));
    return all;
  };
  const std::vector<Said> wanted = go_on(session), got = go_on(load(other, path));
  for (size_t i = 0; i < wanted.size(); ++i) {
    CAPTURE(i);
    CHECK(got[i].ids == wanted[i].ids);
    CHECK(got[i].logprobs == wanted[i].logprobs);
    CHECK(got[i].cached == wanted[i].cached);
    CHECK(got[i].cached > 400);  // it was not read again
  }
  // And what the file says is what it goes on with: other numbers in the cache, or in the logits to come, are another answer.
  for (const std::string tag : {"CACH", "NEXT"}) {
    CAPTURE(tag);
    std::vector<Section> sections = sections_of(before);
    for (Section& section : sections)
      if (section.tag == tag)
        std::fill(section.bytes.begin(), section.bytes.end(), '\0');
    write_file(folder / "other.vl2", file_of(sections));
    CHECK(go_on(load(other, folder / "other.vl2"))[0].logprobs != wanted[0].logprobs);
  }
  CHECK(wanted[0].cached == reply_of(load(other, path)).prompt_tokens + last.ids.size());
}

TEST_CASE_FIXTURE(SavedSessionTest, "vl2_session_save: an empty conversation, and one that nothing was answered in") {
  const ModelHandle model = load_model(kPico);
  const SessionHandle session = new_session(model);
  save(session, path);
  CHECK(vl2_session_message_count(load(model, path).get()) == 0);
  say(session, "Hello?");
  save(session, path);
  const SessionHandle restored = load(model, path);
  CHECK(vl2_session_message_count(restored.get()) == 1);
  auto reply = sized<vl2_reply>();
  CHECK(vl2_session_get_reply(restored.get(), &reply) == VL2_ERROR_STATE);
  CHECK(answered(restored, 9, 1) == answered(session, 9, 1));

  // Messages taken back, which only the device still knows: said again, they are not read again.
  const auto ask = [](const SessionHandle& talk) {
    REQUIRE(vl2_session_truncate(talk.get(), 0) == VL2_OK);
    show(talk, 40, 30, 1);
    say(talk, "What is this?");
    return answered(talk, 9, 2);
  };
  ask(session);
  REQUIRE(vl2_session_truncate(session.get(), 0) == VL2_OK);
  save(session, path);
  const SessionHandle cache_alone = load(model, path);
  CHECK(vl2_session_message_count(cache_alone.get()) == 0);
  const Said again = ask(cache_alone);
  CHECK(again == ask(session));
  CHECK(again.cached > 421);
}

TEST_CASE_FIXTURE(SavedSessionTest, "vl2_session_load: a file that is torn or changed anywhere is refused") {
  const ModelHandle model = load_model(small_model());
  save(example(model), path);
  const std::string file = read_file(path);
  REQUIRE(file_of(sections_of(file)) == file);  // so the places below are boundaries
  std::vector<size_t> boundaries = {0, 8, 12, 16, 24, kHead};
  for (const Section& section : sections_of(file)) {
    boundaries.push_back(boundaries.back() + kHead);  // where its bytes begin
    boundaries.push_back(boundaries.back() + section.bytes.size());
  }
  REQUIRE(boundaries.size() > 20);
  REQUIRE(boundaries.back() == file.size());
  const std::string spoilt = folder / "spoilt.vl2";
  int refused = 0;
  const auto check = [&](const std::string& bytes) {
    write_file(spoilt, bytes);
    SessionHandle session;
    const vl2_status status = try_load(model, spoilt, session);
    CHECK(status == VL2_ERROR_FILE);
    CHECK(session == nullptr);
    const std::string message = vl2_last_error();
    CHECK_MESSAGE(message.starts_with(spoilt + ": "), message);
    refused += status == VL2_ERROR_FILE;
  };
  for (const size_t boundary : boundaries) {
    CAPTURE(boundary);
    for (const size_t size : {boundary - 1, boundary, boundary + 1})
      if (size < file.size())
        check(file.substr(0, size));
    for (const size_t at : {boundary - 1, boundary, boundary + 7}) {
      if (at >= file.size())
        continue;
      std::string bytes = file;
      bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
      check(bytes);
    }
  }
  check(file + "x");
  CHECK(refused > 100);
  write_file(spoilt, file);
  load(model, spoilt);
}

TEST_CASE_FIXTURE(SavedSessionTest, "vl2_session_load: contents that make no sense are refused, however well they are signed") {
  const ModelHandle model = load_model(small_model());
  save(example(model), path);
  const std::vector<Section> whole = sections_of(read_file(path));
  const std::string forged = folder / "forged.vl2";
  const auto index_of = [&](const std::string& tag) {
    size_t i = 0;
    while (whole[i].tag != tag)
      ++i;
    return i;
  };
  const auto check = [&](const std::string& tag, const std::function<void(std::string&)>& change, const std::string& named,
                         vl2_status status = VL2_ERROR_FILE) {
    CAPTURE(tag);
    std::vector<Section> sections = whole;
    change(sections[index_of(tag)].bytes);
    write_file(forged, file_of(sections));
    check_refused(model, forged, status, named);
  };
  const auto put32 = [](size_t at, uint32_t value) { return [=](std::string& bytes) { bytes.replace(at, 4, number(value)); }; };
  const auto put64 = [](size_t at, uint64_t value) { return [=](std::string& bytes) { bytes.replace(at, 8, number(value)); }; };
  const auto shorter = [](std::string& bytes) { bytes.pop_back(); };
  const auto longer = [](std::string& bytes) { bytes += '\0'; };
  write_file(forged, file_of(whole, 2));
  check_refused(model, forged, VL2_ERROR_UNSUPPORTED, "of version 2");

  check("KEY ", put64(0, 1), "another model");
  check("KEY ", put64(8, 1), "another model");
  check("KEY ", put32(16, 99), "another number format");
  check("KEY ", put32(20, 99), "another model");
  check("KEY ", put32(40, 4000), "holds 4000 tokens, the context 1024", VL2_ERROR_CONTEXT_FULL);
  check("KEY ", put32(40, 3), "the ids of 3 tokens");
  check("KEY ", put32(44, 99), "wanted PICT");
  check("KEY ", put32(44, 0), "damaged");
  for (const char* tag : {"KEY ", "MSGS", "TOKN", "ANSW", "PICT", "NEXT", "CACH"}) {
    check(tag, shorter, "damaged");
    check(tag, longer, "damaged");
  }
  check("MSGS", put64(0, UINT64_MAX), "damaged");
  check("MSGS", put64(0, 1), "section MSGS");
  check("MSGS", put32(8, 7), "message 0");
  check("MSGS", put64(16, uint64_t{1} << 60), "message 0");
  check(
      "MSGS", [](std::string& bytes) { bytes[24] = '\xff'; }, "UTF-8");
  check("TOKN", put32(8, kSmallModelIds), "the ids of");
  check("TOKN", put64(0, uint64_t{1} << 61), "the ids of");
  const size_t places = 8 + 4 * number_at<uint64_t>(whole[index_of("TOKN")].bytes, 0);
  check("TOKN", put64(places, 1000), "place of picture");
  check("TOKN", put32(places + 8, 5000), "place of picture 0");
  check("TOKN", put32(places + 12, UINT32_MAX), "place of picture 0");
  check("TOKN", put32(places + 24, 2), "place of picture 0");
  check("ANSW", put32(4, 9), "section ANSW");
  check("ANSW", put32(0, 0), "section ANSW");
  check("PICT", put32(0, 0), "picture 0 of 0 x 30 pixels");
  check("PICT", put32(0, 41), "picture 0 of 41 x 30 pixels");
  check("PICT", put32(0, 0x80000000u), "picture 0");
  check(
      "NEXT", [](std::string& bytes) { bytes.resize(8); }, "section NEXT");
  std::vector<Section> sections = whole;
  std::swap(sections[1], sections[2]);
  write_file(forged, file_of(sections));
  check_refused(model, forged, VL2_ERROR_FILE, "got section TOKN, wanted MSGS");
  sections = whole;
  sections.push_back({"MORE", "x"});
  write_file(forged, file_of(sections));
  check_refused(model, forged, VL2_ERROR_FILE, "sections");
  write_file(forged, file_of(whole));
  load(model, forged);
}

TEST_CASE_FIXTURE(SavedSessionTest, "vl2_session_load: a file of another model or format is refused") {
  const ModelHandle model = load_model(small_model());
  save(example(model), path);
  check_refused(load_model(kPico), path, VL2_ERROR_FILE, "saved with another model, of ");

  // Of the same shapes: the lowest bit of every value in the file's data is another.
  const std::string like = copy_small_model(folder / "like");
  std::string bytes = read_file(like + "/model.safetensors");
  for (size_t i = 8 + number_at<uint64_t>(bytes, 0); i < bytes.size(); i += 2)
    bytes[i] = static_cast<char>(bytes[i] ^ 1);
  fs::remove(like + "/model.safetensors");
  write_file(like + "/model.safetensors", bytes);
  check_refused(load_model(like), path, VL2_ERROR_FILE, "saved with another model, or with this one in another format");

  auto options = sized<vl2_load_options>();
  options.quantize = "Q8_0";
  check_refused(load_model(small_model(), options), path, VL2_ERROR_FILE, "in another format");
  load(load_model(copy_small_model(folder / "copy")), path);  // in another place it is the same
}

TEST_CASE_FIXTURE(
    SavedSessionTest,
    "vl2_session_save: an 8-bit cache comes back to the bit, in half the bytes, and only where it is of that type") {
  auto options = sized<vl2_load_options>();
  const ModelHandle f16 = load_model(small_model(), options);
  options.cache_type = VL2_CACHE_Q8_0;
  const ModelHandle q8 = load_model(small_model(), options);
  const SessionHandle session = example(q8);
  save(session, path);
  const std::string before = read_file(path);
  const SessionHandle restored = load(q8, path);
  save(restored, folder / "again.vl2");
  CHECK(read_file(folder / "again.vl2") == before);
  const Said went_on = answered(session, 8, 6, VL2_REPLY_CONTINUE), goes_on = answered(restored, 8, 6, VL2_REPLY_CONTINUE);
  CHECK(goes_on.ids == went_on.ids);
  CHECK(goes_on.logprobs == went_on.logprobs);
  CHECK(goes_on.cached == went_on.cached);
  CHECK(goes_on.cached > 0);
  // Codes and scales are both what it goes on with.
  const std::vector<Section> sections = sections_of(before);
  const auto cached = [](const Section& section) { return section.tag == "CACH"; };
  const auto first = static_cast<size_t>(std::find_if(sections.begin(), sections.end(), cached) - sections.begin());
  for (const size_t plane : {first, first + 1}) {
    std::vector<Section> changed = sections;
    REQUIRE(cached(changed[plane]));
    std::fill(changed[plane].bytes.begin(), changed[plane].bytes.end(), '\0');
    write_file(folder / "other.vl2", file_of(changed));
    CHECK(answered(load(q8, folder / "other.vl2"), 8, 6, VL2_REPLY_CONTINUE).logprobs != went_on.logprobs);
  }
  check_refused(f16, path, VL2_ERROR_FILE, "saved with a cache of type q8_0; this model was loaded for f16");
  const SessionHandle other = example(f16);
  save(other, path);
  check_refused(q8, path, VL2_ERROR_FILE, "saved with a cache of type f16; this model was loaded for q8_0");
  load(f16, path);
  std::vector<Section> later = sections_of(read_file(path));
  REQUIRE(later[0].tag == "KEY ");
  later[0].bytes[17] = 2;  // the second byte of the activation type, behind two u64
  write_file(path, file_of(later));
  check_refused(q8, path, VL2_ERROR_FILE, "saved with a cache of type 2, which this program does not know");
}

TEST_CASE_FIXTURE(SavedSessionTest, "vl2_session_save: what cannot be is refused, and leaves the file that was there") {
  const ModelHandle model = load_model(small_model());
  const SessionHandle session = example(model);
  vl2_session* const s = session.get();
  CHECK(vl2_session_save(nullptr, path.c_str()) == VL2_ERROR_ARGUMENT);
  CHECK(vl2_session_save(s, nullptr) == VL2_ERROR_ARGUMENT);
  CHECK(last_error_has("path is NULL"));
  CHECK(vl2_session_save(s, (folder / "none/talk.vl2").c_str()) == VL2_ERROR_IO);
  CHECK(last_error_has(folder / "none/talk.vl2: cannot be written"));
  fs::create_directory(folder / "is_folder");
  CHECK(vl2_session_save(s, (folder / "is_folder").c_str()) == VL2_ERROR_IO);
  CHECK(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);  // nothing half-written is left

  save(session, path);
  const std::string before = read_file(path);
  show(session, 20, 10, 1);
  CHECK(vl2_session_save(s, path.c_str()) == VL2_ERROR_STATE);
  CHECK(last_error_has("1 pictures were added and no message after them"));
  say(session, "And now?");
  auto options = drawing(5, 1);
  REQUIRE(vl2_session_start(s, &options) == VL2_OK);
  CHECK(vl2_session_save(s, path.c_str()) == VL2_ERROR_STATE);
  CHECK(read_file(path) == before);
  CHECK(vl2_session_end(s) == VL2_OK);
  save(session, path);
  CHECK(read_file(path) != before);
  CHECK((fs::status(path).permissions() & fs::perms::all) == (fs::perms::owner_read | fs::perms::owner_write));

  vl2_session* none = nullptr;
  CHECK(vl2_session_load(nullptr, path.c_str(), nullptr, &none) == VL2_ERROR_ARGUMENT);
  CHECK(vl2_session_load(model.get(), nullptr, nullptr, &none) == VL2_ERROR_ARGUMENT);
  CHECK(vl2_session_load(model.get(), path.c_str(), nullptr, nullptr) == VL2_ERROR_ARGUMENT);
  CHECK(vl2_session_load(load_words().get(), path.c_str(), nullptr, &none) == VL2_ERROR_STATE);
  check_refused(model, folder / "none.vl2", VL2_ERROR_NOT_FOUND, "No such file");
  check_refused(model, folder / "is_folder", VL2_ERROR_FILE, "no regular file");
  write_file(folder / "text", "a file of another kind altogether, longer than a header");
  check_refused(model, folder / "text", VL2_ERROR_FILE, "no saved session");
}
