#include "runtime/recorder.h"

#include <cmath>

#include "runtime/ops/expert_schedule.h"
#include "runtime/ops/rms_norm.h"
#include "shaders/interface/decode_latent.h"
#include "shaders/interface/decode_state.h"
#include "shaders/interface/rms_norm.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

TEST_CASE_FIXTURE(GpuTest, "recorder: a barrier stands where one dispatch reads what another wrote, and only there") {
  const auto values = random_floats(64, 1);
  const TensorView a = upload({1, 64}, values), b = tensor({1, 64}), c = tensor({1, 64}), w = upload({64}, values);
  REQUIRE(rms_norm(rec, a, w, b, 1e-6f).ok());
  REQUIRE(rms_norm(rec, a, w, c, 1e-6f).ok());
  CHECK(rec.barrier_count() == 0);  // both only read a
  REQUIRE(rms_norm(rec, b, w, c, 1e-6f).ok());
  CHECK(rec.barrier_count() == 1);  // reads b, writes c again
  REQUIRE(rms_norm(rec, a, w, b, 1e-6f).ok());
  CHECK(rec.barrier_count() == 2);  // writes b, which was read
  REQUIRE(rec.finish().ok());
}

TEST_CASE_FIXTURE(GpuTest, "recorder: copies and fills are ordered with dispatches") {
  const TensorView a = upload({1, 64}, random_floats(64, 1)), w = upload({64}, random_floats(64, 2));
  const TensorView b = tensor({1, 64}), c = tensor({1, 64});
  REQUIRE(rms_norm(rec, a, w, b, 1e-6f).ok());
  REQUIRE(rec.copy(b, c).ok());
  REQUIRE(rec.fill(b, 0).ok());
  REQUIRE(rms_norm(rec, b, w, a, 1e-6f).ok());
  const std::vector<float> zeros(64, 0.0f);
  CHECK(download(b) == zeros);
  CHECK(download(a) == zeros);
  CHECK(download(c) != zeros);
}

namespace {
// rms_norm of the first rows of a, as many as `command` says.
Status norm_rows(Recorder& rec, const TensorView& a, const TensorView& w, const TensorView& y, const TensorView& command) {
  const RmsNormParams params{.width = a.dim(1), .x_row_stride = a.stride(0), .y_row_stride = y.stride(0), .eps = 1e-6f};
  return rec.dispatch(ShaderId::rms_norm_f32, {a, w, y}, params, Groups{.x = a.dim(0), .command = command});
}

size_t rows_written(GpuTest& test, const TensorView& y) {
  size_t rows = 0;
  const std::vector<float> values = test.download(y);
  for (size_t at = 0; at < values.size(); at += y.dim(1))
    rows += !std::isnan(values[at]) ? 1 : 0;
  return rows;
}
}  // namespace

TEST_CASE_FIXTURE(GpuTest, "recorder: an indirect dispatch has as many groups as the device says when it comes there") {
  const TensorView a = upload({8, 64}, random_floats(8 * 64, 1)), w = upload({64}, random_floats(64, 2)), y = tensor({8, 64}),
                   z = tensor({8, 64});
  const TensorView wanted = upload_u32({2, 3}, {3, 1, 1, 5, 1, 1}), room = tensor({4}, DType::U32);
  const TensorView command = make_view(*room.buffer, DType::U32, {3}, 1);
  REQUIRE(rec.copy(wanted.rows(0, 1).reshaped({3}), command).ok());
  uint64_t barriers = rec.barrier_count();
  REQUIRE(norm_rows(rec, a, w, y, command).ok());
  CHECK(rec.barrier_count() == barriers + 1);
  REQUIRE(norm_rows(rec, a, w, z, command).ok());
  CHECK(rec.barrier_count() == barriers + 1);  // it was shown to such dispatches before
  REQUIRE(rec.copy(wanted.rows(1, 1).reshaped({3}), command).ok());
  REQUIRE(norm_rows(rec, a, w, z, command).ok());
  CHECK(rows_written(*this, y) == 3);
  CHECK(rows_written(*this, z) == 5);

  // Written by a dispatch, with a barrier in between that is none of its own.
  const TensorView ids = upload_u32({7, 1}, {0, 1, 2, 2, 2, 2, 0}), pairs = tensor({7}, DType::U32),
                   slots = tensor({7}, DType::U32);
  ExpertSchedule schedule{
      pairs, slots, tensor({4}, DType::U32), tensor({2, 3}, DType::U32), {ExpertTiles{2, 1}, ExpertTiles{1, 7}}};
  const TensorView last = tensor({8, 64}), before = tensor({8, 64});
  REQUIRE(rms_norm(rec, a, w, before, 1e-6f).ok());
  REQUIRE(expert_schedule(rec, ids, 3, schedule).ok());
  REQUIRE(rms_norm(rec, before, w, before, 1e-6f).ok());
  barriers = rec.barrier_count();
  REQUIRE(norm_rows(rec, a, w, last, schedule.command({1, 7})).ok());
  CHECK(rec.barrier_count() == barriers + 1);
  CHECK(rows_written(*this, last) == 7);

  // In a replay, behind what was recorded before it.
  const TensorView again = tensor({8, 64});
  REQUIRE(rec.copy(wanted.rows(0, 1).reshaped({3}), command).ok());
  REQUIRE(rec.begin_capture().ok());
  REQUIRE(norm_rows(rec, a, w, again, command).ok());
  auto replay = rec.end_capture();
  REQUIRE(replay.ok());
  REQUIRE(rec.replay(**replay, 2).ok());
  CHECK(rows_written(*this, again) == 3);

  CHECK(norm_rows(rec, a, w, y, upload_u32({2}, {3, 1})).code() == Code::BadShape);
  CHECK(norm_rows(rec, a, w, y, make_view(*room.buffer, DType::U32, {3}, 2)).code() == Code::BadShape);
}

TEST_CASE_FIXTURE(GpuTest, "recorder: an array of buffers has each view in its place, and each is seen by barriers") {
  constexpr uint32_t kWidth = 16, kPitch = 64;
  if (!device.caps().storage_buffer_arrays || device.caps().max_storage_buffers < 16) {
    MESSAGE("this device has no arrays of buffers");
    return;
  }
  // y[i][0] = rms_norm(x[i], w), of as many rows as there are views of y.
  const auto values = random_floats(8 * kPitch, 1);
  const TensorView x = upload({8, kPitch}, values), w = upload({kWidth}, random_floats(kWidth, 2)), unread = tensor({1}),
                   state = upload_u32({8, DECODE_STATE_PITCH}, std::vector<uint32_t>(8 * DECODE_STATE_PITCH, 0));
  const auto norm_each = [&](const Binding& y) {
    const DecodeLatentParams params{.latent = kWidth, .rope = 0, .eps = 1e-6f, .kv_a_stride = kPitch};
    return rec.dispatch(ShaderId::decode_latent_batched_f32, {x, w, unread, state, y}, params,
                        Groups{.z = static_cast<uint32_t>(y.size())});
  };
  std::vector<TensorView> y, z;
  for (uint32_t i = 0; i < 3; ++i) {
    y.push_back(tensor({1, kWidth}));
    z.push_back(tensor({1, kWidth}));
  }
  REQUIRE(norm_each(y).ok());
  REQUIRE(norm_each(z).ok());
  CHECK(rec.barrier_count() == 0);
  const TensorView twice = tensor({1, kWidth});
  REQUIRE(rms_norm(rec, y[2], w, twice, 1e-6f).ok());
  CHECK(rec.barrier_count() == 1);  // reads the last of them
  REQUIRE(norm_each(std::span<const TensorView>(z).last(1)).ok());
  CHECK(rec.barrier_count() == 1);  // which wait for nothing any more
  for (uint32_t i = 0; i < 3; ++i) {
    const TensorView wanted = tensor({1, kWidth});
    REQUIRE(rms_norm(rec, make_view(*x.buffer, DType::F32, {1, kWidth}, uint64_t{i} * kPitch), w, wanted, 1e-6f).ok());
    // Seen: 1.2e-7. Planted fault, the view before it: 1.1.
    CHECK(max_abs_diff(download(y[i]), download(wanted)) < 1e-6);
    CHECK(max_abs_diff(download(y[i]), download(y[(i + 1) % 3])) > 0.1);
  }

  REQUIRE(rec.begin_capture().ok());
  REQUIRE(norm_each(y).ok());
  auto replay = rec.end_capture();
  REQUIRE(replay.ok());
  for (const TensorView& view : y)
    REQUIRE(rec.fill(view, 0).ok());
  REQUIRE(rec.replay(**replay, 1).ok());
  CHECK(download(y[1]) == download(z[1]));

  const uint64_t before = rec.dispatch_count();
  CHECK(norm_each(std::vector<TensorView>(9, y[0])).message() ==
        "decode_latent_batched_f32: 9 tensors for binding 4, it takes 8");
  CHECK(norm_each(std::span<const TensorView>{}).ok());  // no groups
  CHECK(rec.dispatch(ShaderId::decode_latent_batched_f32, {x, w, unread, state, std::span<const TensorView>{}},
                     DecodeLatentParams{}, Groups{})
            .message() == "decode_latent_batched_f32: no tensor for binding 4");
  TensorView past = y[1];
  past.offset = 64;
  CHECK(norm_each(std::vector<TensorView>{y[0], past}).code() == Code::BadShape);
  CHECK(rec.dispatch_count() == before);
}

TEST_CASE_FIXTURE(GpuTest, "recorder: refuses a view that is misaligned, too large or past its buffer") {
  const TensorView a = upload({1, 64}, random_floats(64, 1)), w = upload({64}, random_floats(64, 2));
  TensorView past = tensor({1, 64});
  past.offset = 64;
  CHECK(rms_norm(rec, a, w, past, 1e-6f).code() == Code::BadShape);
  rec.set_max_binding_bytes(128);
  CHECK(rms_norm(rec, a, w, tensor({1, 64}), 1e-6f).code() == Code::BadShape);
  CHECK(rec.dispatch_count() == 0);
}

TEST_CASE_FIXTURE(GpuTest, "recorder: every dispatch is timed once") {
  const TensorView a = upload({1, 64}, random_floats(64, 1)), w = upload({64}, random_floats(64, 2)), b = tensor({1, 64});
  rec.enable_timing(true);
  for (int i = 0; i < 5000; ++i)  // more than one frame holds queries for
    REQUIRE(rms_norm(rec, a, w, b, 1e-6f).ok());
  REQUIRE(rec.finish().ok());
  const auto times = rec.take_times();
  CHECK(times.size() == (device.caps().timestamp_period_ns > 0 ? 5000 : 0));
  for (const DispatchTime& time : times)
    CHECK(time.shader == ShaderId::rms_norm_f32);
}

TEST_CASE_FIXTURE(GpuTest, "recorder: a store beyond f16 saturates and is counted") {
  if (act_types().size() < 2) {
    CHECK(device.saturated_stores() == 0);  // a device without f16 stores none
    return;
  }
  const uint64_t before = device.saturated_stores();
  const TensorView y = tensor({1, 4}, DType::F16);
  REQUIRE(rms_norm(rec, upload({1, 4}, {1, 1, 1, 1}), upload({4}, {1e6f, -1e6f, 2, 65504}), y, 0.0f).ok());
  CHECK(download(y) == std::vector<float>{65504, -65504, 2, 65504});
  CHECK(device.saturated_stores() - before == 2);
}
