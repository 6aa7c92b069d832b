#include "runtime/pipeline_list.h"

#include <doctest/doctest.h>

using namespace vl2;

TEST_SUITE("cpu") {
  TEST_CASE("pipeline list: gives back what was packed") {
    const PipelineLists lists = {{uint64_t{5} << 40, {{ShaderId{0}, {}}, {ShaderId{3}, {1, 2, 0xffffffffu}}}},
                                 {7, {{static_cast<ShaderId>(kShaderCount - 1), {9}}}}};
    CHECK(unpack_pipeline_lists(pack_pipeline_lists(lists)) == lists);
    CHECK(unpack_pipeline_lists(pack_pipeline_lists({})).empty());
  }

  TEST_CASE("pipeline list: cut short, lengthened, or with an unknown shader it counts as none") {
    const PipelineLists lists = {{7, {{ShaderId{3}, {1, 2}}, {ShaderId{4}, {5}}}}};
    const std::vector<std::byte> packed = pack_pipeline_lists(lists);
    for (size_t size = 0; size < packed.size(); ++size)
      CHECK(unpack_pipeline_lists(std::span(packed).first(size)).empty());
    std::vector<std::byte> longer = packed;
    longer.resize(packed.size() + 4);
    CHECK(unpack_pipeline_lists(longer).empty());
    CHECK(unpack_pipeline_lists(pack_pipeline_lists({{7, {{static_cast<ShaderId>(kShaderCount), {}}}}})).empty());
    CHECK(unpack_pipeline_lists(pack_pipeline_lists({{7, {{ShaderId{0}, std::vector<uint32_t>(100)}}}})).empty());
  }
}
