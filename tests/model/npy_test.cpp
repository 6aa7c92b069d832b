#include "model/npy.h"

#include <cstring>
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "tests/support/paths.h"

using namespace vl2;

namespace {

namespace fs = std::filesystem;

std::string golden(const std::string& name) {
  return source_dir() + "/tests/golden/npy/" + name;
}

std::string bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

// A folder of its own, gone afterwards.
struct Folder {
  fs::path path = fs::temp_directory_path() / "vl2_npy_test";
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string file(const std::string& name) const { return (path / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(file(name), std::ios::binary) << bytes;
    return file(name);
  }
};

// A version 1.0 file with this header, padded by nothing.
std::string npy(const std::string& header, const std::string& data, char major = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += major;
  bytes += '\0';
  bytes += static_cast<char>(header.size() & 0xff);
  bytes += static_cast<char>(header.size() >> 8);
  return bytes + header + data;
}

template <typename T>
std::vector<T> values(const NpyArray& array) {
  std::vector<T> result(array.data.size() / sizeof(T));
  if (!result.empty())
    std::memcpy(result.data(), array.data.data(), array.data.size());
  return result;
}

using Shape = std::vector<uint64_t>;

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("npy: reads what NumPy wrote") {
    const auto u8 = read_npy(golden("u8_2x3.npy"));
    REQUIRE_MESSAGE(u8.ok(), u8.message());
    CHECK(u8->dtype == NpyDType::U8);
    CHECK(u8->shape == Shape{2, 3});
    CHECK(values<uint8_t>(*u8) == std::vector<uint8_t>{0, 1, 2, 253, 254, 255});

    const auto i32 = read_npy(golden("i32_3.npy"));
    REQUIRE(i32.ok());
    CHECK(i32->dtype == NpyDType::I32);
    CHECK(i32->shape == Shape{3});
    CHECK(values<int32_t>(*i32) ==
          std::vector<int32_t>{std::numeric_limits<int32_t>::min(), -1, std::numeric_limits<int32_t>::max()});

    const auto i64 = read_npy(golden("i64_1x1x2.npy"));
    REQUIRE(i64.ok());
    CHECK(i64->dtype == NpyDType::I64);
    CHECK(i64->shape == Shape{1, 1, 2});
    CHECK(values<int64_t>(*i64) ==
          std::vector<int64_t>{std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()});

    const auto f32 = read_npy(golden("f32_2x2.npy"));
    REQUIRE(f32.ok());
    CHECK(f32->dtype == NpyDType::F32);
    CHECK(f32->shape == Shape{2, 2});
    CHECK(values<float>(*f32) == std::vector<float>{0.5f, -1.25f, 3e38f, -0.0f});

    const auto scalar = read_npy(golden("f32_scalar.npy"));
    REQUIRE(scalar.ok());
    CHECK(scalar->shape.empty());
    CHECK(values<float>(*scalar) == std::vector<float>{0.1f});

    const auto empty = read_npy(golden("f32_0x4.npy"));
    REQUIRE(empty.ok());
    CHECK(empty->shape == Shape{0, 4});
    CHECK(empty->data.empty());

    const auto version2 = read_npy(golden("f32_version2.npy"));
    REQUIRE(version2.ok());
    CHECK(values<float>(*version2) == std::vector<float>{1.0f, 2.0f});
  }

  TEST_CASE("npy: writes the very bytes that NumPy writes") {
    const Folder folder;
    for (const char* name : {"u8_2x3.npy", "i32_3.npy", "i64_1x1x2.npy", "f32_2x2.npy", "f32_scalar.npy", "f32_0x4.npy"}) {
      CAPTURE(name);
      const auto array = read_npy(golden(name));
      REQUIRE(array.ok());
      const Status written = write_npy(folder.file(name), array->dtype, array->shape, array->data);
      REQUIRE_MESSAGE(written.ok(), written.message());
      CHECK(bytes_of(folder.file(name)) == bytes_of(golden(name)));
    }
    CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 6);  // nothing left beside them
  }

  TEST_CASE("npy: data starts at a multiple of 64 for every length of header") {
    const Folder folder;
    Shape shape;
    for (size_t rank = 0; rank <= 32; ++rank, shape.push_back(1)) {
      REQUIRE(write_npy(folder.file("a.npy"), NpyDType::U8, shape, std::vector<std::byte>(1, std::byte{7})).ok());
      CHECK(fs::file_size(folder.file("a.npy")) % 64 == 1);
      const auto array = read_npy(folder.file("a.npy"));
      REQUIRE_MESSAGE(array.ok(), array.message());
      CHECK(array->shape == shape);
    }
    CHECK(write_npy(folder.file("a.npy"), NpyDType::U8, shape, std::vector<std::byte>(1)).code() == Code::BadArgument);
  }

  TEST_CASE("npy: refuses kinds that it does not read, by name") {
    CHECK(read_npy(golden("f64.npy")).message() == golden("f64.npy") + ": dtype \"<f8\", wanted |u1, <i4, <i8 or <f4");
    CHECK(read_npy(golden("f32_big_endian.npy")).message() ==
          golden("f32_big_endian.npy") + ": dtype \">f4\", wanted |u1, <i4, <i8 or <f4");
    CHECK(read_npy(golden("f32_fortran.npy")).message() == golden("f32_fortran.npy") + ": Fortran order, wanted C order");
    for (const char* name : {"f64.npy", "f32_big_endian.npy", "f32_fortran.npy"})
      CHECK(read_npy(golden(name)).code() == Code::Unsupported);
    CHECK(read_npy(golden("structured.npy")).code() == Code::BadFile);  // its descr is a list
  }

  TEST_CASE("npy: refuses hostile headers") {
    const Folder folder;
    const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
    REQUIRE(read_npy(folder.write("good", npy(good, "1234"))).ok());
    for (const std::string& header : std::vector<std::string>{
             "",
             "\n",
             "{",
             "{}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)",
             "{'descr': '<f4', 'fortran_order': False}",
             "{'descr': '<f4', 'shape': (1,)}",
             "{'fortran_order': False, 'shape': (1,)}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1,,)}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,)}",
             "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
             "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
             "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x",
             "{'descr': '<f4, 'fortran_order': False, 'shape': (1,)}",
             "{'descr': <f4, 'fortran_order': False, 'shape': (1,)}",
             "{descr: '<f4', 'fortran_order': False, 'shape': (1,)}",
         }) {
      CAPTURE(header);
      const std::string path = folder.write("bad", npy(header, "1234"));
      const auto array = read_npy(path);
      CHECK(array.code() == Code::BadFile);
      CHECK(array.message() == path + ": its header is not {'descr': .., 'fortran_order': .., 'shape': (..), }");
    }
    std::string deep = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
    for (int i = 0; i < 33; ++i)
      deep += "1,";
    CHECK(read_npy(folder.write("deep", npy(deep + ")}", "1234"))).code() == Code::BadFile);
    const std::string named =
        folder.write("named", npy("{'descr': '\n\x01\xff', 'fortran_order': False, 'shape': (1,)}", "1234"));
    CHECK(read_npy(named).message() == named + ": dtype \"???\", wanted |u1, <i4, <i8 or <f4");
  }

  TEST_CASE("npy: refuses another size than the header states") {
    const Folder folder;
    const auto with_shape = [&](const std::string& shape, const std::string& data) {
      return read_npy(folder.write("size", npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + "}", data)));
    };
    REQUIRE(with_shape("(2, 1)", "12345678").ok());
    CHECK(with_shape("(2, 1)", "1234567").message() ==
          folder.file("size") + ": 7 bytes of data, wanted as many as its shape says");
    CHECK(with_shape("(2, 1)", "123456789").code() == Code::BadFile);
    CHECK(with_shape("(4611686018427387904,)", "").code() == Code::BadFile);       // 2^64 bytes: wraps to 0
    CHECK(with_shape("(4611686018427387905,)", "1234").code() == Code::BadFile);   // wraps to 4
    CHECK(with_shape("(4294967296, 4294967296, 4)", "").code() == Code::BadFile);  // likewise by factors
    CHECK(with_shape("(1000000000000,)", "1234").code() == Code::BadFile);         // no such allocation is tried
    CHECK(with_shape("(4294967296, 4294967296, 4, 0)", "").ok());                  // empty all the same
  }

  TEST_CASE("npy: refuses a file cut at any byte, or of another format") {
    const Folder folder;
    for (const char* name : {"f32_2x2.npy", "f32_version2.npy"}) {
      const std::string whole = bytes_of(golden(name));
      for (size_t length = 0; length < whole.size(); ++length)
        CHECK(read_npy(folder.write("cut", whole.substr(0, length))).code() == Code::BadFile);
    }
    const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
    CHECK(read_npy(folder.write("v3", npy(good, "1234", 3))).message() ==
          folder.file("v3") + ": .npy format 3.0, wanted 1.0 or 2.0");
    std::string other = npy(good, "1234");
    other[1] = 'M';
    CHECK(read_npy(folder.write("other", other)).message() == folder.file("other") + ": does not start like a .npy file");
    CHECK(read_npy(folder.file("none")).code() == Code::NotFound);
    CHECK(read_npy(folder.path.string()).code() == Code::IoError);
    const std::string long_header = "\x93NUMPY\x02" + std::string(1, '\0') + "\xff\xff\xff\xff";
    CHECK(read_npy(folder.write("long", long_header)).message() ==
          folder.file("long") + ": states a header of 4294967295 bytes, wanted at most 0");
  }

  TEST_CASE("npy: a write that fails leaves the old file") {
    const Folder folder;
    const Shape shape{2};
    const std::string path = folder.write("kept.npy", "old");
    CHECK(write_npy(path, NpyDType::F32, shape, std::vector<std::byte>(7)).message() ==
          path + ": 7 bytes of data, wanted as many as the shape says");
    CHECK(bytes_of(path) == "old");
    CHECK(write_npy(folder.file("missing/a.npy"), NpyDType::F32, shape, std::vector<std::byte>(8)).code() == Code::IoError);
    fs::create_directories(folder.path / "folder" / "full");
    CHECK(write_npy(folder.file("folder"), NpyDType::F32, shape, std::vector<std::byte>(8)).code() == Code::IoError);
    CHECK(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 2);
  }
}
