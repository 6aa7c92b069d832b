#include "model/gguf.h"

#include <cmath>
#include <csignal>
#include <cstring>
#include <doctest/doctest.h>
#include <filesystem>
#include <limits>
#include <sys/resource.h>

#include "model/gguf_write.h"
#include "tests/support/program.h"
#include "tests/support/random.h"

using namespace vl2;

namespace {

namespace fs = std::filesystem;

// A GGUF file written by hand, so that nothing here comes from the writer under test.
struct RawFile {
  std::string bytes;

  template <typename T>
  RawFile& number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  RawFile& u32(uint32_t value) { return number(value); }
  RawFile& u64(uint64_t value) { return number(value); }
  RawFile& text(const std::string& value) {
    u64(value.size());
    bytes += value;
    return *this;
  }
  RawFile& front(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    bytes += "GGUF";
    return u32(version).u64(tensors).u64(keys);
  }
  // Dimensions in the file's order: the row's length first.
  RawFile& tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset) {
    text(name).u32(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims)
      u64(dim);
    return u32(type).u64(offset);
  }
  RawFile& data(uint64_t count) {
    bytes.resize((bytes.size() + 31) / 32 * 32);
    bytes.append(count, 'x');
    return *this;
  }
};

Result<Gguf> parse(const std::string& bytes) {
  return parse_gguf(std::as_bytes(std::span(bytes)), "m.gguf");
}

void check_refused(const RawFile& file, const std::string& message) {
  const auto parsed = parse(file.bytes);
  REQUIRE(!parsed.ok());
  CHECK(parsed.code() == Code::BadFile);
  CHECK(parsed.message() == "m.gguf: " + message);
}

// A key of every type and tensors of three types.
RawFile small_file() {
  RawFile file;
  file.front(3, 15);
  file.text("a.u8").u32(0).number(uint8_t{200});
  file.text("a.i8").u32(1).number(int8_t{-100});
  file.text("a.u16").u32(2).number(uint16_t{60000});
  file.text("a.i16").u32(3).number(int16_t{-30000});
  file.text("a.u32").u32(4).u32(4000000000u);
  file.text("a.i32").u32(5).number(int32_t{-2000000000});
  file.text("a.f32").u32(6).number(1.5f);
  file.text("a.bool").u32(7).number(uint8_t{1});
  file.text("a.string").u32(8).text("two words");
  file.text("a.u64").u32(10).u64(1ull << 60);
  file.text("a.i64").u32(11).number(int64_t{-(1ll << 60)});
  file.text("a.f64").u32(12).number(-2.25);
  file.text("a.strings").u32(9).u32(8).u64(2).text("x").text("");
  file.text("a.i16s").u32(9).u32(3).u64(2).number(int16_t{-1}).number(int16_t{7});
  file.text("a.f32s").u32(9).u32(6).u64(1).number(0.5f);
  file.tensor("first", {64, 3}, 8, 0);          // Q8_0: 3 rows of 2 blocks of 34 bytes
  file.tensor("second", {256, 2, 5}, 14, 224);  // Q6_K: 10 rows of a block of 210 bytes
  file.tensor("third", {3}, 0, 224 + 2112);     // f32
  return file.data(224 + 2112 + 12);
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("gguf: reads a value of every type, and places tensors") {
    const RawFile file = small_file();
    const auto parsed = parse(file.bytes);
    REQUIRE_MESSAGE(parsed.ok(), parsed.message());
    const auto value = [&](const char* key) { return parsed->find(key)->data; };
    CHECK(std::get<uint64_t>(value("a.u8")) == 200);
    CHECK(std::get<int64_t>(value("a.i8")) == -100);
    CHECK(std::get<uint64_t>(value("a.u16")) == 60000);
    CHECK(std::get<int64_t>(value("a.i16")) == -30000);
    CHECK(std::get<uint64_t>(value("a.u32")) == 4000000000u);
    CHECK(std::get<int64_t>(value("a.i32")) == -2000000000);
    CHECK(std::get<double>(value("a.f32")) == 1.5);
    CHECK(std::get<uint64_t>(value("a.bool")) == 1);
    CHECK(std::get<std::string>(value("a.string")) == "two words");
    CHECK(std::get<uint64_t>(value("a.u64")) == 1ull << 60);
    CHECK(std::get<int64_t>(value("a.i64")) == -(1ll << 60));
    CHECK(std::get<double>(value("a.f64")) == -2.25);
    CHECK(std::get<std::vector<std::string>>(value("a.strings")) == std::vector<std::string>{"x", ""});
    CHECK(std::get<std::vector<int64_t>>(value("a.i16s")) == std::vector<int64_t>{-1, 7});
    CHECK(std::get<std::vector<double>>(value("a.f32s")) == std::vector<double>{0.5});
    CHECK(parsed->find("a.strings")->count() == 2);
    CHECK(parsed->find("a.u7") == nullptr);

    REQUIRE(parsed->tensors.size() == 3);
    const uint64_t start = file.bytes.size() - (224 + 2112 + 12);
    CHECK(parsed->data_start == start);
    const GgufTensor* second = parsed->find_tensor("second");
    REQUIRE(second != nullptr);
    CHECK(second->shape == std::vector<uint64_t>{5, 2, 256});
    CHECK(second->type == 14);
    CHECK(second->first_byte == start + 224);
    CHECK(second->byte_count == 2100);
    CHECK(parsed->tensors[0].byte_count == 204);
    CHECK(parsed->tensors[2].byte_count == 12);
    CHECK(parsed->find_tensor("fourth") == nullptr);
  }

  TEST_CASE("gguf: keys that have to be there say what is wrong with them") {
    const auto parsed = parse(small_file().bytes);
    REQUIRE(parsed.ok());
    CHECK(*parsed->count("a.u8", "m") == 200);
    CHECK(*parsed->number("a.f32", "m") == 1.5);
    CHECK(*parsed->text("a.string", "m") == "two words");
    CHECK(parsed->count("b", "m").message() == "m: key b is missing");
    CHECK(parsed->number("b", "m").message() == "m: key b is missing");
    CHECK(parsed->text("b", "m").message() == "m: key b is missing");
    CHECK(parsed->count("a.u64", "m").message() == "m: key a.u64: got a value of type u64, wanted a count below 2^32");
    CHECK(parsed->count("a.i8", "m").message() == "m: key a.i8: got a value of type i8, wanted a count below 2^32");
    CHECK(parsed->number("a.u8", "m").message() == "m: key a.u8: got a value of type u8, wanted a finite number");
    CHECK(parsed->text("a.strings", "m").message() == "m: key a.strings: got a value of type array, wanted a string");
  }

  TEST_CASE("gguf: wrong magic, version and counts are named") {
    RawFile file;
    file.bytes = "GGML";
    check_refused(file.u32(3).u64(0).u64(0), "does not begin with GGUF: no GGUF file");
    check_refused(RawFile().front(0, 0, 1), "GGUF version 1, wanted 2 or 3");
    check_refused(RawFile().front(0, 0, 4), "GGUF version 4, wanted 2 or 3");
    check_refused(RawFile().front(0, 0, 0x03000000), "a big-endian GGUF file, wanted a little-endian one");
    CHECK(parse(RawFile().front(0, 0, 2).bytes).ok());
    check_refused(RawFile().front(0, 5).data(40), "claims 5 keys, a file of 72 bytes holds at most 3");
    check_refused(RawFile().front(5, 0).data(40), "claims 5 tensors, a file of 72 bytes holds at most 1");
    check_refused(RawFile().front(UINT64_MAX, 0), "claims 18446744073709551615 tensors, a file of 24 bytes holds at most 0");
    check_refused(RawFile(), "the magic number wants 4 bytes at byte 0, the file has 0 (truncated?)");
  }

  TEST_CASE("gguf: wrong keys are named") {
    const auto key = [](const std::string& name = "k") { return RawFile().front(0, 1).text(name); };
    check_refused(key().u32(13).data(64), "key k has type 13, wanted 0 to 12");
    check_refused(key("").u32(4).u32(0), "key 0 has no name");
    check_refused(RawFile().front(0, 1).u64(1000).data(64),
                  "the name of key 0 has 1000 bytes, the file has 64 left (truncated?)");
    check_refused(key(std::string(70000, 'k')).u32(4).u32(0), "the name of key 0 has 70000 bytes, wanted at most 65535");
    check_refused(key().u32(8).u64(UINT64_MAX), "key k has 18446744073709551615 bytes, the file has 0 left (truncated?)");
    check_refused(key().u32(9).u32(4).u64(1ull << 62).data(8),
                  "key k is an array of 4611686018427387904 elements, the file has 23 bytes left (truncated?)");
    check_refused(key().u32(9).u32(8).u64(2).u64(1), "key k is an array of 2 elements, the file has 8 bytes left (truncated?)");
    check_refused(key().u32(9).u32(8).u64(1).u64(9), "key k[0] has 9 bytes, the file has 0 left (truncated?)");
    check_refused(key().u32(9).u32(9).u64(0), "key k is an array of arrays, which this program does not read");
    check_refused(key().u32(9).u32(77).u64(0), "key k has type 77, wanted 0 to 12");
    check_refused(key().u32(7).number(uint8_t{2}), "key k is a bool of value 2, wanted 0 or 1");
    check_refused(RawFile().front(0, 2).text("k").u32(4).u32(0).text("k").u32(4).u32(1), "key k is there twice");
    const auto alignment = [](uint32_t value) { return RawFile().front(0, 1).text("general.alignment").u32(4).u32(value); };
    CHECK(parse(alignment(64).bytes).ok());
    for (const uint32_t bad : {0u, 24u, 1u << 21})
      check_refused(alignment(bad), "general.alignment: got " + std::to_string(bad) + ", wanted a power of two up to 1048576");
    check_refused(RawFile().front(0, 1).text("general.alignment").u32(8).text("32"),
                  "general.alignment: got no count, wanted a power of two up to 1048576");
  }

  TEST_CASE("gguf: wrong tensors are named") {
    const auto with = [](const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset, uint64_t data = 64) {
      return RawFile().front(1, 0).tensor("t", dims, type, offset).data(data);
    };
    CHECK(parse(with({16}, 0, 0).bytes).ok());
    check_refused(with({}, 0, 0), "tensor t: 0 dimensions, wanted 1 to 4");
    check_refused(with({1, 1, 1, 1, 1}, 0, 0), "tensor t: 5 dimensions, wanted 1 to 4");
    check_refused(with({16}, 4, 0), "tensor t: type 4 is none that this program knows");
    check_refused(with({16}, 4000000000u, 0), "tensor t: type 4000000000 is none that this program knows");
    check_refused(with({0}, 0, 0), "tensor t: a dimension is 0");
    check_refused(with({1ull << 32, 1ull << 32}, 0, 0), "tensor t: its shape needs more bytes than the file has, 160");
    check_refused(with({UINT64_MAX}, 0, 0), "tensor t: its shape needs more bytes than the file has, 128");
    check_refused(with({48}, 8, 0), "tensor t: rows of 48 elements, Q8_0 wants a multiple of 32");
    check_refused(with({128}, 12, 0), "tensor t: rows of 128 elements, Q4_K wants a multiple of 256");
    check_refused(with({4}, 0, 8), "tensor t: its offset 8 is no multiple of the alignment, 32");
    check_refused(with({17}, 0, 0), "tensor t: 68 bytes at 0, the file has 64 bytes of data (truncated?)");
    check_refused(with({16}, 0, 32), "tensor t: 64 bytes at 32, the file has 64 bytes of data (truncated?)");
    check_refused(with({16}, 0, UINT64_MAX - 31),
                  "tensor t: 64 bytes at 18446744073709551584, the file has 64 bytes of data (truncated?)");
    check_refused(RawFile().front(2, 0).tensor("t", {16}, 0, 0).tensor("u", {8}, 0, 32).data(64), "tensors t and u overlap");
    check_refused(RawFile().front(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(64), "tensor t is there twice");
    check_refused(RawFile().front(1, 0).u64(300).data(400), "the name of tensor 0 has 300 bytes, wanted at most 255");
  }

  TEST_CASE("gguf: every cut of a file is refused, and no flipped byte breaks the reader") {
    const std::string whole = small_file().bytes;
    for (size_t bytes = 0; bytes < whole.size(); ++bytes)
      REQUIRE_MESSAGE(parse(whole.substr(0, bytes)).code() == Code::BadFile, bytes);
    const size_t front = whole.size() - (224 + 2112 + 12);
    int refused = 0;
    for (uint32_t round = 0; round < 20000; ++round) {
      // One to four bytes of the front get other values, often those that lengths and counts break at.
      const std::vector<float> draws = random_floats(12, round);
      std::string spoilt = whole;
      for (size_t k = 0; k <= round % 4; ++k) {
        const auto at = static_cast<size_t>((draws[3 * k] + 1) / 2 * static_cast<float>(front - 1));
        const auto drawn = static_cast<char>(static_cast<int>(draws[3 * k + 1] * 128));
        spoilt[at] = draws[3 * k + 2] < -0.3f ? '\xff' : draws[3 * k + 2] < 0 ? '\0' : drawn;
      }
      if (round % 3 == 0)
        spoilt.resize(static_cast<size_t>((draws[11] + 1) / 2 * static_cast<float>(whole.size())));
      const auto parsed = parse(spoilt);
      if (parsed.ok())
        continue;
      ++refused;
      REQUIRE(parsed.code() == Code::BadFile);
      REQUIRE(parsed.message().starts_with("m.gguf: "));
      REQUIRE(parsed.message().size() < 300);
      REQUIRE(parsed.message().find('\n') == std::string::npos);
    }
    CHECK(refused > 10000);
    CHECK(refused < 20000);  // a changed value or letter of a name is no fault
  }

  TEST_CASE("gguf: the writer's bytes, and what the reader makes of them") {
    const TemporaryFolder folder;
    const std::string path = folder / "out.gguf";
    const GgufKeys keys = {{"n", gguf_u32(7)},     {"f", gguf_f32(1.5f)},          {"b", gguf_bool(true)},
                           {"s", gguf_text("hi")}, {"l", gguf_texts({"a", "bc"})}, {"i", gguf_i32s({-1, 2})}};
    std::vector<GgufTensor> tensors(2);
    tensors[0] = {"t", {2, 32}, 8};
    tensors[1] = {"u", {3}, 0};
    {
      auto writer = GgufWriter::create(path, keys, tensors);
      REQUIRE_MESSAGE(writer.ok(), writer.message());
      GgufWriter& out = **writer;
      const std::string second(12, 'U'), first(34, 'T');
      REQUIRE(out.write(out.tensors()[1], 0, std::as_bytes(std::span(second))).ok());  // in any order
      REQUIRE(out.write(out.tensors()[0], 34, std::as_bytes(std::span(first))).ok());
      REQUIRE(out.write(out.tensors()[0], 0, std::as_bytes(std::span(first))).ok());
      CHECK(out.write(out.tensors()[0], 35, std::as_bytes(std::span(first))).code() == Code::BadArgument);
      CHECK(!fs::exists(path));
      REQUIRE(out.finish().ok());
    }
    RawFile wanted;
    wanted.front(2, 6).text("n").u32(4).u32(7).text("f").u32(6).number(1.5f).text("b").u32(7).number(uint8_t{1});
    wanted.text("s").u32(8).text("hi").text("l").u32(9).u32(8).u64(2).text("a").text("bc");
    wanted.text("i").u32(9).u32(5).u64(2).number(int32_t{-1}).number(int32_t{2});
    wanted.tensor("t", {32, 2}, 8, 0).tensor("u", {3}, 0, 96).data(0);
    wanted.bytes += std::string(68, 'T') + std::string(28, '\0') + std::string(12, 'U') + std::string(20, '\0');
    CHECK(read_file(path) == wanted.bytes);
    const auto back = read_gguf(path);
    REQUIRE_MESSAGE(back.ok(), back.message());
    CHECK(back->keys.size() == 6);
    CHECK(std::get<std::vector<int64_t>>(back->find("i")->data) == std::vector<int64_t>{-1, 2});
    CHECK(back->find_tensor("t")->shape == std::vector<uint64_t>{2, 32});
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
  }

  TEST_CASE("gguf: a file that is not finished leaves nothing, and what was there stays") {
    const TemporaryFolder folder;
    const std::string path = folder / "out.gguf";
    write_file(path, "before");
    std::vector<GgufTensor> tensors(1);
    tensors[0] = {"t", {1 << 20}, 0};
    REQUIRE(GgufWriter::create(path, {}, tensors).ok());  // and given up at once
    CHECK(read_file(path) == "before");
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
    CHECK(GgufWriter::create(folder / "nowhere/out.gguf", {}, tensors).code() == Code::IoError);

    // As good as a full disk: the system refuses more than 1 MB.
    rlimit before{};
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit small{1000000, before.rlim_max};
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    const auto refused = GgufWriter::create(path, {}, tensors);
    setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    CHECK(refused.code() == Code::IoError);
    CHECK(refused.message().starts_with(path + ": cannot be 4194"));
    CHECK(read_file(path) == "before");
    CHECK(std::distance(fs::directory_iterator(folder.path()), {}) == 1);
  }

  TEST_CASE("gguf: files that are none") {
    const TemporaryFolder folder;
    CHECK(read_gguf(folder / "nowhere").code() == Code::NotFound);
    CHECK(read_gguf(folder.path()).code() == Code::BadFile);
    write_file(folder / "a", "GGUFxx");
    write_file(folder / "b.gguf", "");
    write_file(folder / "c", "else");
    CHECK(looks_like_gguf(folder / "a"));
    CHECK(looks_like_gguf(folder / "b.gguf"));
    CHECK(!looks_like_gguf(folder / "c"));
    CHECK(!looks_like_gguf(folder.path()));
    CHECK(read_gguf(folder / "b.gguf").message() ==
          (folder / "b.gguf") + ": the magic number wants 4 bytes at byte 0, the file has 0 (truncated?)");
  }
}
