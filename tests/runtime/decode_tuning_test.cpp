#include "runtime/decode_tuning.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <tuple>

#include "runtime/weight_format.h"

using namespace vl2;

TEST_SUITE_BEGIN("cpu");

namespace {

DeviceCaps caps_of(uint32_t subgroup_size, uint32_t most = 1024) {
  DeviceCaps caps;
  caps.type = DeviceType::Discrete;
  caps.subgroup_size = subgroup_size;
  caps.max_workgroup_invocations = most;
  caps.max_shared_bytes = 48 * 1024;
  return caps;
}

struct Shape {
  const char* what;
  uint32_t rows, k;
  DType weight;
  bool pairs;
};

// Of Tiny and Small, f16 but for the router; the toy model's; and the extremes.
constexpr Shape kShapes[] = {{"small q", 3072, 2048, DType::F16, false},
                             {"small kv_a", 576, 2048, DType::F16, false},
                             {"small router", 64, 2048, DType::F32, false},
                             {"small experts gate_up", 16896, 2048, DType::F16, true},
                             {"small experts down", 2048, 8448, DType::F16, false},
                             {"small lm_head", 102400, 2048, DType::F16, false},
                             {"tiny qkv", 3840, 1280, DType::F16, false},
                             {"tiny experts gate_up", 10752, 1280, DType::F16, true},
                             {"tiny experts down", 1280, 5376, DType::F16, false},
                             {"toy", 24, 40, DType::F32, true},
                             {"one", 1, 8, DType::F16, false},
                             {"one pair", 2, 8, DType::F32, true},
                             {"small experts down, Q8_0", 2048, 8448, DType::Q8_0, false},
                             {"tiny experts gate_up, Q4_0", 10752, 1280, DType::Q4_0, true},
                             {"a block", 3, 32, DType::Q4_0, false},
                             {"wide", 8, 1u << 20, DType::F16, false}};

}  // namespace

TEST_CASE("decode tuning: every workgroup that may be tried is one that decode_gemv can run") {
  for (const Shape& shape : kShapes)
    for (const uint32_t subgroup : {4u, 8u, 16u, 32u, 64u, 128u})
      for (const uint32_t most : {128u, 256u, 1024u}) {
        CAPTURE(shape.what);
        CAPTURE(subgroup);
        CAPTURE(most);
        const auto groups = decode_gemv_candidates(caps_of(subgroup, most), shape.rows, shape.k, shape.weight, shape.pairs);
        REQUIRE(!groups.empty());
        for (const DecodeGemvGroup& group : groups) {
          CHECK(group.threads % subgroup == 0);
          CHECK(group.threads <= std::min(256u, most));
          CHECK(group.threads / std::max(subgroup, 4u) <= 64);  // MAX_SUBGROUPS of gemv_core.glsl
          CHECK(group.rows <= std::min(8u, group.threads));     // an invocation stores a row
          CHECK((!shape.pairs || group.rows % 2 == 0));
          CHECK(group.rows * group.unroll * (shape.weight == DType::F32 ? 32 : 16) <= 128);  // registers
          CHECK_FALSE(group.one_subgroup);
          CHECK((group.unroll == 1 ||
                 (group.unroll - 1) * group.threads < shape.k / weight_chunk(shape.weight)));  // no load that none needs
        }
        auto all = groups;
        const auto same = [](const DecodeGemvGroup& a, const DecodeGemvGroup& b) { return a == b; };
        std::sort(all.begin(), all.end(), [](const DecodeGemvGroup& a, const DecodeGemvGroup& b) {
          return std::tie(a.threads, a.rows, a.unroll) < std::tie(b.threads, b.rows, b.unroll);
        });
        CHECK(std::adjacent_find(all.begin(), all.end(), same) == all.end());
        CHECK(decode_gemv_group(caps_of(subgroup, most), Quirks{}, shape.rows, shape.k, shape.weight, shape.pairs) == groups[0]);
      }
}

TEST_CASE("decode tuning: at the published shapes, the groups that were fastest on an H200, or within 6 % of them") {
  const auto group = [](uint32_t rows, uint32_t k, bool pairs = false) {
    return decode_gemv_group(caps_of(32), Quirks{}, rows, k, DType::F16, pairs);
  };
  const auto is = [](const DecodeGemvGroup& got, uint32_t threads, uint32_t rows, uint32_t unroll) {
    return got == DecodeGemvGroup{.threads = threads, .rows = rows, .unroll = unroll, .one_subgroup = false};
  };
  CHECK(is(group(3072, 2048), 128, 2, 2));
  CHECK(is(group(576, 2048), 256, 1, 1));
  CHECK(is(group(2048, 2048), 128, 2, 2));
  CHECK(is(group(16896, 2048, true), 32, 4, 2));
  CHECK(is(group(5632, 2048, true), 64, 2, 2));
  CHECK(is(group(2048, 8448), 192, 2, 2));
  CHECK(is(group(102400, 2048), 64, 4, 2));
  CHECK(is(group(3840, 1280), 96, 2, 2));
  CHECK(is(group(1280, 1280), 160, 2, 1));
  CHECK(is(group(10752, 1280, true), 32, 4, 1));
  CHECK(is(group(1280, 5376), 224, 2, 3));
  CHECK(is(group(129280, 1280), 32, 4, 1));
}

TEST_CASE(
    "decode tuning: dot products of bytes, where weights are in blocks and the device has them, by groups that it can run") {
  DeviceCaps caps = caps_of(32);
  CHECK_FALSE(decode_dot_group(caps, 3, 3072, 2048, DType::Q4_0, false));
  caps.integer_dot = caps.packed_dot = true;
  CHECK_FALSE(decode_dot_group(caps, 1, 3072, 2048, DType::Q4_0, false));
  CHECK_FALSE(decode_dot_group(caps, 3, 3072, 2048, DType::F16, false));
  CHECK_FALSE(decode_dot_group(caps, 3, 3072, 1u << 20, DType::Q4_0, false));  // x is more than shared memory holds
  for (const Shape& shape : kShapes)
    for (const DType format : {DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K})
      for (const uint32_t subgroup : {4u, 8u, 16u, 32u, 64u, 128u}) {
        CAPTURE(shape.what);
        CAPTURE(subgroup);
        caps.subgroup_size = subgroup;
        const auto group = decode_dot_group(caps, 2, shape.rows, shape.k, format, shape.pairs);
        CHECK(group.has_value() == (shape.k % 32 == 0 && decode_dot_shared_bytes(shape.k) <= caps.max_shared_bytes));
        if (!group)
          continue;
        CHECK(group->threads % subgroup == 0);
        CHECK(group->threads <= 256);
        CHECK(group->threads / subgroup <= 64);  // MAX_SUBGROUPS
        CHECK(group->rows <= std::min(4u, subgroup));
        CHECK(group->rows >= (shape.pairs ? 2 : 1));
        CHECK(group->sets >= group->threads / subgroup);
      }
}

TEST_CASE("decode tuning: where barriers are slow, a workgroup is one subgroup, whatever is asked for") {
  Quirks quirks;
  quirks.barriers_are_slow = true;
  for (const Shape& shape : kShapes)
    for (const uint32_t subgroup : {4u, 8u, 64u}) {
      const DecodeGemvGroup group = decode_gemv_group(caps_of(subgroup), quirks, shape.rows, shape.k, shape.weight, shape.pairs,
                                                      {.threads = 128, .rows = 2});
      CHECK(group == DecodeGemvGroup{.threads = subgroup, .rows = 4, .unroll = 1, .one_subgroup = true});
    }
}

TEST_CASE("decode tuning: a group asked for by hand still fits the device and the pairs") {
  const DeviceCaps caps = caps_of(64, 128);
  const auto group = [&](const DecodeTuning& tuning) {
    return decode_gemv_group(caps, Quirks{}, 5632, 2048, DType::F16, true, tuning);
  };
  CHECK(group({.threads = 100}).threads == 128);
  CHECK(group({.threads = 1000}).threads == 128);
  CHECK(group({.threads = 1}).threads == 64);
  CHECK(group({.rows = 1}).rows == 2);
  CHECK(group({.rows = 5}).rows == 4);
  CHECK(group({.unroll = 3}).unroll == 3);
}

TEST_CASE("decode tuning: VL2_DECODE_TUNING names fields and numbers, and nothing else") {
  const auto parsed = parse_decode_tuning("threads=128,rows=2,splits=3");
  REQUIRE(parsed.ok());
  CHECK(parsed->threads == 128);
  CHECK(parsed->rows == 2);
  CHECK(parsed->splits == 3);
  CHECK(parsed->unroll == 0);
  CHECK(parse_decode_tuning("").ok());
  for (const char* text :
       {"thread=1", "threads", "threads=", "threads=x", "threads=1x", "threads=-1", "=1", "threads=99999999999"}) {
    CAPTURE(text);
    CHECK_FALSE(parse_decode_tuning(text).ok());
  }
  CHECK(parse_decode_tuning("rows=2,thread=1").message() ==
        "VL2_DECODE_TUNING: got \"thread=1\", wanted name=number of a known name");
}

TEST_CASE("decode tuning: attention on matrix units fits the device, and its blocks the products, whatever is asked for") {
  const MatrixShape kProducts[] = {{8, 8, 8, true}, {16, 8, 16, true}, {16, 16, 16, true}};
  int found = 0;
  for (const MatrixShape& product : kProducts)
    for (const uint32_t shared : {16u << 10, 32u << 10, 48u << 10, 64u << 10})
      for (const uint32_t heads : {1u, 16u, 20u, 40u})
        for (const char* text :
             {"matrix=1", "matrix=1,keys=40,subgroups=3", "matrix=1,keys=64,subgroups=16,splits=1000,tiles=7"}) {
          DeviceCaps caps = caps_of(32);
          caps.max_shared_bytes = shared;
          caps.matrix_shapes = {product, {product.m, product.n, product.k, false}};
          const auto tuning = parse_decode_tuning(text);
          REQUIRE(tuning.ok());
          const auto shape = decode_matrix_shape(caps, Quirks{}, 3, 300, 576, heads, 512, *tuning);
          if (!shape)
            continue;
          ++found;
          CAPTURE(text);
          CAPTURE(shared);
          CAPTURE(heads);
          CHECK(shape->shared_bytes(576, heads) <= shared);
          CHECK(shape->threads() <= caps.max_workgroup_invocations);
          CHECK(shape->keys % product.k == 0);
          CHECK(shape->subgroups % shape->depth_parts() == 0);
          CHECK(shape->keys % (product.n * (shape->subgroups / shape->depth_parts())) == 0);
          CHECK(shape->keys % (8 * shape->row_lanes(heads)) == 0);
          CHECK(shape->splits * shape->keys < 300 + shape->keys);
        }
  CHECK(found > 60);
  DeviceCaps caps = caps_of(32);
  CHECK(!decode_matrix_shape(caps, Quirks{}, 3, 300, 576, 16, 512));  // without shapes
  caps.matrix_shapes = {{16, 8, 16, true}, {16, 8, 16, false}};
  CHECK(decode_matrix_shape(caps, Quirks{}, 3, 300, 576, 16, 512).has_value());
  CHECK(!decode_matrix_shape(caps, Quirks{}, 2, 300, 576, 16, 512));
  CHECK(!decode_matrix_shape(caps, Quirks{}, 3, 300, 584, 16, 512));  // a depth that is no multiple of 16
}

TEST_CASE(
    "decode tuning: attention takes eight conversations a dispatch where a shader may choose among their caches, else one") {
  DeviceCaps caps = caps_of(32);
  caps.storage_buffer_arrays = true;
  caps.max_storage_buffers = 8 * 4 + 8;
  for (const uint32_t bindings : {1u, 2u, 4u})
    CHECK(decode_conversations(caps, bindings) == 8);
  CHECK(decode_conversations(caps, 4, {.conversations = 3}) == 3);
  CHECK(decode_conversations(caps, 4, {.conversations = 9}) == 8);
  caps.max_storage_buffers = 8 * 2 + 8;
  CHECK(decode_conversations(caps, 2) == 8);
  CHECK(decode_conversations(caps, 4) == 1);
  CHECK(decode_conversations(caps, 4, {.conversations = 3}) == 1);
  caps.max_storage_buffers = 8 * 1 + 7;
  CHECK(decode_conversations(caps, 1) == 1);
  caps.max_storage_buffers = 1u << 20;
  caps.storage_buffer_arrays = false;
  CHECK(decode_conversations(caps, 1) == 1);
}

TEST_CASE("decode tuning: conversations share loads of W_UK as far as enough workgroups are left") {
  DeviceCaps caps = caps_of(32);
  caps.cores = 132;
  CHECK(decode_query_tokens(caps, 8, 128) == 2);  // Small: 4 x 128 workgroups; 2 x 128 would be fewer than two a core
  CHECK(decode_query_tokens(caps, 2, 128) == 1);
  caps.cores = 20;
  CHECK(decode_query_tokens(caps, 8, 128) == 8);
  CHECK(decode_query_tokens(caps, 7, 128) == 4);
  CHECK(decode_query_tokens(caps, 1, 128) == 1);
  CHECK(decode_query_tokens(caps, 8, 8) == 1);
  CHECK(decode_query_tokens(caps, 8, 8, {.tokens = 5}) == 4);
  CHECK(decode_query_tokens(caps, 3, 8, {.tokens = 64}) == 2);
}

TEST_SUITE_END();
