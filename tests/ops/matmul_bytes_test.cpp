// matmul by dot products of bytes: gemm_dot.
#include <algorithm>

#include "runtime/ops/matmul.h"
#include "runtime/ops/quantize_rows.h"
#include "tests/reference/matmul.h"
#include "tests/reference/quantize_rows.h"
#include "tests/support/gemm_tiles.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

// Seen on lavapipe: 3.7e-7, and 4.1e-4 in f16. Worked out for faults, at the least: the scale of the next block 9.4e-3, a block of 32
// that is lost 0.19.
constexpr double kSameBytes = 2e-6, kSameBytesF16 = 1e-3;
// Of x that was not rounded first, a share of the result. Seen: 3.8e-3. Worked out, at the least: the scale of the next block 4.0e-2, a
// block that is lost 0.14.
constexpr double kRounding = 1e-2;

constexpr DType kBlockFormats[] = {DType::Q8_0, DType::Q4_0, DType::Q4_K, DType::Q6_K};

class ByteMatmulTest : public GpuTest {
 public:
  // Whether the device has what gemm_dot needs, fast or not.
  bool has_bytes() const {
    const bool has = device.caps().packed_dot && act_types().size() > 1;
    if (!has)
      MESSAGE("this device has no dot products of bytes, or no f16");
    return has;
  }
  TensorView words_for(uint32_t rows, uint32_t k) {
    return tensor({static_cast<uint32_t>(byte_rows_words(rows, k))}, DType::U32);
  }
};

MatmulPlan plan_of(const GemmTile& tile) {
  return {.kernel = MatmulKernel::GemmDot, .tile = tile, .group = {}};
}

}  // namespace

TEST_CASE_FIXTURE(ByteMatmulTest,
                  "matmul: products of bytes agree with the reference of the same bytes, in every format and tile") {
  if (!has_bytes())
    return;
  // Rows and columns: one beyond a tile, one in all, and a part. K: a block, blocks that no step divides, several steps.
  for (const GemmTile& tile : dot_tiles_to_test(device.caps(), device.quirks()))
    for (const DType format : kBlockFormats)
      for (const auto& [rows, columns, least_k] :
           {std::tuple{tile.rows() + 1, tile.columns() + 1, 96u}, {1u, 3u, 32u}, {7u, 37u, 544u}}) {
        const uint32_t k = whole_blocks(least_k, format);
        const DType act = rows == 1 ? DType::F32 : DType::F16;
        CAPTURE(gemm_tile_name(tile));
        CAPTURE(dtype_name(format));
        CAPTURE(rows);
        CAPTURE(k);
        const auto x = reference::without_ties(rounded(random_floats(size_t{rows} * k, rows + 100), act));
        const auto exact = random_floats(size_t{columns} * k, 7, 1 / std::sqrt(static_cast<float>(k)));
        const auto wanted = reference::matmul(reference::values_of(reference::in_bytes(x)), rounded(exact, format), k);
        const MatmulPlan plan = plan_of(tile);
        const TensorView y = tensor({rows, columns}, act), y32 = tensor({rows, columns}), words = words_for(rows, k);
        const TensorView xs = upload({rows, k}, x, act), w = upload_weight({columns, k}, exact, format);
        REQUIRE(matmul(rec, xs, w, y, {.bytes = words, .plan = &plan}).ok());
        REQUIRE(matmul(rec, xs, w, y32, {.bytes = words, .plan = &plan}).ok());
        CHECK(max_abs_diff(download(y32), wanted) < kSameBytes);
        CHECK(max_abs_diff(download(y), wanted) < kSameBytesF16);
      }
}

TEST_CASE_FIXTURE(ByteMatmulTest, "matmul: products of bytes agree with x itself but for its rounding") {
  if (!has_bytes())
    return;
  const uint32_t rows = 37, columns = 70;
  const MatmulPlan plan = plan_of(dot_tiles_to_test(device.caps(), device.quirks())[0]);
  for (const DType format : kBlockFormats)
    for (const uint32_t least_k : {32u, 1408u}) {
      const uint32_t k = whole_blocks(least_k, format);
      CAPTURE(dtype_name(format));
      CAPTURE(k);
      const auto x = rounded(random_floats(size_t{rows} * k, 1), DType::F16);
      const auto exact = random_floats(size_t{columns} * k, 7, 1 / std::sqrt(static_cast<float>(k)));
      const TensorView y = tensor({rows, columns});
      REQUIRE(matmul(rec, upload({rows, k}, x, DType::F16), upload_weight({columns, k}, exact, format), y,
                     {.bytes = words_for(rows, k), .plan = &plan})
                  .ok());
      CHECK(relative_l2(download(y), reference::matmul(x, rounded(exact, format), k)) < kRounding);
    }
}

TEST_CASE_FIXTURE(ByteMatmulTest, "matmul: products of bytes get bias, activation and residual, of x and y that start anywhere") {
  if (!has_bytes())
    return;
  const uint32_t rows = 20, columns = 70, k = 256, x_stride = k + 3, y_stride = columns + 5;
  const MatmulPlan plan = plan_of(dot_tiles_to_test(device.caps(), device.quirks())[0]);
  for (const DType format : {DType::Q8_0, DType::Q4_K})
    for (const Activation activation : {Activation::None, Activation::GeluTanh, Activation::GeluErf}) {
      CAPTURE(dtype_name(format));
      CAPTURE(static_cast<int>(activation));
      const auto x = reference::without_ties(rounded(random_floats(rows * k, 1), DType::F16)),
                 y_all = random_floats(5 + rows * y_stride, 2);
      std::vector<float> x_all(3 + rows * x_stride, 9.0f);
      for (uint32_t row = 0; row < rows; ++row)
        std::copy_n(&x[row * k], k, &x_all[3 + row * x_stride]);
      const auto exact = random_floats(columns * k, 3, 0.1f), bias = random_floats(columns + 1, 4);
      const TensorView x_flat = upload({3 + rows * x_stride}, x_all, DType::F16), y_flat = upload({5 + rows * y_stride}, y_all);
      const TensorView y = make_strided_view(*y_flat.buffer, DType::F32, {rows, columns}, y_stride, 5);
      const TensorView bias_flat = upload({columns + 1}, bias);
      REQUIRE(matmul(rec, make_strided_view(*x_flat.buffer, DType::F16, {rows, k}, x_stride, 3),
                     upload_weight({columns, k}, exact, format), y,
                     {.bias = make_view(*bias_flat.buffer, DType::F32, {columns}, 1),
                      .activation = activation,
                      .residual = y,
                      .bytes = words_for(rows, k),
                      .plan = &plan})
                  .ok());
      const auto sums = reference::matmul(reference::values_of(reference::in_bytes(x)), rounded(exact, format), k);
      std::vector<double> wanted(y_all.begin(), y_all.end());  // the gaps stay as they were
      for (uint32_t i = 0; i < rows * columns; ++i) {
        const double sum = sums[i] + bias[i % columns + 1];
        wanted[5 + i / columns * y_stride + i % columns] += activation == Activation::None       ? sum
                                                            : activation == Activation::GeluTanh ? reference::gelu_tanh(sum)
                                                                                                 : reference::gelu_erf(sum);
      }
      CHECK(max_abs_diff(download(y_flat), wanted) < kSameBytes);
    }
}

TEST_CASE_FIXTURE(ByteMatmulTest, "matmul: products of bytes by a weight larger than one binding go by pieces of its rows") {
  if (!has_bytes())
    return;
  const uint32_t rows = 12, columns = 301, k = 256;
  const MatmulPlan plan = plan_of(dot_tiles_to_test(device.caps(), device.quirks())[0]);
  for (const DType format : {DType::Q4_0, DType::Q6_K}) {
    CAPTURE(dtype_name(format));
    const auto x = reference::without_ties(random_floats(rows * k, 1)), exact = random_floats(columns * k, 3, 0.1f);
    const TensorView y = tensor({rows, columns}), xs = upload({rows, k}, x), w = upload_weight({columns, k}, exact, format);
    const TensorView words = words_for(rows, k);
    rec.set_max_binding_bytes(16384);  // the weight's codes have 38528
    const uint64_t before = rec.dispatch_count();
    REQUIRE(matmul(rec, xs, w, y, {.bytes = words, .plan = &plan}).ok());
    CHECK(rec.dispatch_count() - before >= 4);  // one of them rounds x
    CHECK(max_abs_diff(download(y), reference::matmul(reference::values_of(reference::in_bytes(x)), rounded(exact, format), k)) <
          kSameBytes);
    rec.set_max_binding_bytes(device.caps().max_storage_buffer_bytes);
  }
}

TEST_CASE_FIXTURE(ByteMatmulTest, "matmul: products of bytes refuse what does not fit, and record nothing") {
  if (!has_bytes())
    return;
  const MatmulPlan plan = plan_of(dot_tiles_to_test(device.caps(), device.quirks())[0]);
  const TensorView x = tensor({16, 64}), y = tensor({16, 8}), words = words_for(16, 64);
  const TensorView f16 = upload_weight({8, 64}, random_floats(512, 1), DType::F16),
                   q8 = upload_weight({8, 64}, random_floats(512, 1), DType::Q8_0);
  CHECK(matmul(rec, x, f16, y, {.bytes = words, .plan = &plan}).message() ==
        "matmul: weight [8, 64] f16 must be in blocks for products of bytes");
  CHECK(matmul(rec, x, q8, y, {.plan = &plan}).code() == Code::BadShape);
  CHECK(matmul(rec, x, q8, y, {.bytes = words_for(15, 64), .plan = &plan}).code() == Code::BadShape);
  CHECK(rec.dispatch_count() == 0);
  CHECK(matmul(rec, x, q8, y, {.bytes = words, .plan = &plan}).ok());
}

TEST_CASE_FIXTURE(ByteMatmulTest, "matmul: asks for memory for bytes where it multiplies them, and rounds nothing elsewhere") {
  const TensorView x = tensor({16, 64}, device.act()), few = tensor({8, 64}, device.act()), y = tensor({16, 8});
  const TensorView f16 = upload_weight({8, 64}, random_floats(512, 1), DType::F16),
                   q8 = upload_weight({8, 64}, random_floats(512, 1), DType::Q8_0);
  CHECK(matmul_bytes_words(rec, x, f16) == 0);
  CHECK(matmul_bytes_words(rec, few, q8) == 0);
  const bool bytes = device.tier() == 2 && !device.quirks().byte_products_are_slow;
  CHECK(matmul_bytes_words(rec, x, q8) == (bytes ? byte_rows_words(16, 64) : 0));
  const TensorView words = words_for(16, 64);
  uint64_t before = rec.dispatch_count();
  REQUIRE(matmul(rec, x, q8, y, {.bytes = words}).ok());
  CHECK(rec.dispatch_count() - before == (bytes ? 2 : 1));
  before = rec.dispatch_count();
  REQUIRE(matmul(rec, x, q8, y).ok());
  CHECK(rec.dispatch_count() - before == 1);
}
