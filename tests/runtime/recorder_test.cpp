#include "runtime/recorder.h"

#include "runtime/ops/rms_norm.h"
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
