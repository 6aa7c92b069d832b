#include "runtime/ops/sample.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <set>

#include "shaders/interface/sample.h"
#include "tests/reference/philox.h"
#include "tests/reference/sample.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

// How far outside a token's share of [0, 1) the random number may lie that gave it: by the error of exp() on the device, summed
// up. Seen: never outside on lavapipe. Planted fault, a temperature off by a tenth: 0.005 to 0.017, and ids outside the set.
constexpr double kShareTolerance = 1e-6;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class SampleTest : public GpuTest {
 public:
  SampleScratch scratch{tensor({sample_scratch_words()}, DType::U32)};

  /// Tokens of steps 0 .. count - 1, each in its place of a ring.
  std::vector<uint32_t> tokens(const std::vector<float>& logits, SampleOptions options, uint32_t count,
                               const TensorView& seen = {}) {
    const TensorView view = upload({static_cast<uint32_t>(logits.size())}, logits), ring = tensor({count}, DType::U32);
    for (options.step = 0; options.step < count; ++options.step) {
      const Status s = sample(rec, view, seen, options, scratch, make_view(*ring.buffer, DType::U32, {1}, options.step));
      REQUIRE_MESSAGE(s.ok(), s.message());
    }
    return download_u32(ring);
  }

  uint32_t token(const std::vector<float>& logits, const SampleOptions& options, const TensorView& seen = {}) {
    return tokens(logits, options, 1, seen)[0];
  }

  TensorView upload_seen(size_t vocab_size, const std::set<uint32_t>& ids) {
    std::vector<uint32_t> words(seen_words(static_cast<uint32_t>(vocab_size)));
    for (const uint32_t id : ids)
      words[id / 32] |= 1u << (id % 32);
    return upload_u32({static_cast<uint32_t>(words.size())}, words);
  }
};

reference::Filters filters_of(const SampleOptions& options) {
  return {.temperature = options.temperature,
          .top_k = options.top_k,
          .top_p = options.top_p,
          .min_p = options.min_p,
          .repetition_penalty = options.repetition_penalty};
}

/// The float of an ordered key, as the shaders write one.
float key_to_float(uint32_t key) {
  return std::bit_cast<float>((key >> 31) != 0 ? key & 0x7fffffffu : ~key);
}

/// Random logits; with `steps` > 0 rounded to that many a unit, so that there are many ties.
std::vector<float> random_logits(size_t count, uint32_t seed, float scale, float steps = 0) {
  auto logits = random_floats(count, seed, scale);
  if (steps > 0)
    for (float& logit : logits)
      logit = std::round(logit * steps) / steps;
  return logits;
}

/// What can be drawn when only some ids are allowed: the reference of those alone.
reference::Candidates candidates_of(const std::vector<float>& logits, const std::set<uint32_t>& seen,
                                    const SampleOptions& options, const std::set<uint32_t>& allowed) {
  const std::vector<uint32_t> ids(allowed.begin(), allowed.end());
  std::vector<float> some;
  std::set<uint32_t> some_seen;
  for (const uint32_t id : ids) {
    if (seen.contains(id))
      some_seen.insert(static_cast<uint32_t>(some.size()));
    some.push_back(logits[id]);
  }
  auto found = reference::candidates(some, some_seen, filters_of(options));
  for (uint32_t& id : found.ids)
    id = ids[id];
  return found;
}

/// Every id whose place in a random stream is below `share`, and `at_least`.
std::set<uint32_t> random_ids(uint32_t vocab_size, uint32_t seed, float share, uint32_t at_least) {
  std::set<uint32_t> ids = {at_least};
  const auto draws = random_floats(vocab_size, seed, 1);
  for (uint32_t id = 0; id < vocab_size; ++id)
    if (draws[id] < 2 * share - 1)
      ids.insert(id);
  return ids;
}

}  // namespace

TEST_CASE_FIXTURE(SampleTest, "sample: greedy takes the highest logit, the lowest id on a tie, in two dispatches") {
  for (const uint32_t vocab_size : {1u, 2u, 31u, 33u, 1000u, 1024u, 1025u, 102400u, 129280u}) {
    CAPTURE(vocab_size);
    auto logits = random_logits(vocab_size, vocab_size, 3);
    const auto best = static_cast<uint32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    const uint64_t before = rec.dispatch_count();
    CHECK(token(logits, {}) == best);
    CHECK(rec.dispatch_count() - before == 2);
    for (const uint32_t first : {vocab_size - 1, vocab_size / 2, vocab_size / 3}) {  // ties in one block and in several
      logits[first] = 4.0f;
      CHECK(token(logits, {}) == first);
    }
  }
  CHECK(token({-0.0f, 0.0f}, {}) == 0);  // -0 and +0 tie
  CHECK(token({0.0f, -0.0f}, {}) == 0);
  CHECK(token({-3.0f, -2.0f, -2.5f}, {}) == 1);
}

TEST_CASE_FIXTURE(SampleTest, "sample: NaN never wins, and all NaN gives 0") {
  for (const float temperature : {0.0f, 0.7f}) {
    const SampleOptions plain{.temperature = temperature};
    const SampleOptions filtered{.temperature = temperature, .top_k = 3, .top_p = 0.9f, .min_p = 0.1f};
    for (const SampleOptions& options : {plain, filtered}) {
      CHECK(token({kNan, kNan, -5.0f, kNan}, options) == 2);
      CHECK(token({kNan, -kNan, kNan, kNan, kNan}, options) == 0);
      CHECK(token(std::vector<float>(3000, kNan), options) == 0);
      CHECK(token({kNan, -kInfinity, kNan}, options) == 1);
      CHECK(token({1.0f, kInfinity, 3e38f, kNan}, options) == 1);
      CHECK(token({-3.4e38f, 3.4e38f, kNan}, options) == 1);  // their difference is no float
    }
  }
}

TEST_CASE_FIXTURE(SampleTest,
                  "sample: the penalty divides positive logits and multiplies the others, once an id, also when greedy") {
  const SampleOptions options{.repetition_penalty = 1.2f};
  CHECK(token({1.0f, 0.9f}, options, upload_seen(2, {0})) == 1);    // 0.83 < 0.9
  CHECK(token({1.0f, 0.8f}, options, upload_seen(2, {0})) == 0);    // 0.83 > 0.8; applied twice it would be 0.69
  CHECK(token({-1.0f, -1.1f}, options, upload_seen(2, {0})) == 1);  // -1.2 < -1.1; divided it would be -0.83
  CHECK(token({-1.0f, -1.3f}, options, upload_seen(2, {0})) == 0);  // -1.2 > -1.3; applied twice it would be -1.44
  CHECK(token({1.0f, 0.9f}, options, upload_seen(2, {})) == 0);     // nothing seen
  CHECK(token({1.0f, 0.9f}, {}, upload_seen(2, {0})) == 0);         // penalty off
  CHECK(token({0.0f, -0.1f}, options, upload_seen(2, {0})) == 0);   // 0 stays
  CHECK(token({1.0f, 0.9f}, {.repetition_penalty = 0.8f}, upload_seen(2, {1})) == 1);  // below 1 it rewards

  // At its place in the order: before the temperature and the filters.
  const auto logits = random_logits(1000, 5, 4);
  std::set<uint32_t> seen;
  for (uint32_t id = 0; id < 1000; id += 3)
    seen.insert(id);
  const SampleOptions drawn{.temperature = 0.7f, .top_k = 40, .top_p = 0.95f, .repetition_penalty = 1.5f, .seed = 8};
  const auto wanted = reference::candidates(logits, seen, filters_of(drawn));
  const auto got = tokens(logits, drawn, 300, upload_seen(1000, seen));
  for (uint32_t step = 0; step < got.size(); ++step)
    CHECK(reference::share_of(wanted, got[step]).holds(reference::sample_random(8, step), kShareTolerance));
}

TEST_CASE_FIXTURE(SampleTest, "sample: top_k and top_p keep the reference's set, ties included") {
  struct Filter {
    uint32_t top_k;
    float top_p;
  };
  for (const uint32_t vocab_size : {1u, 2u, 31u, 33u, 1000u, 102400u, 129280u})
    for (const float steps : {0.0f, 4.0f})
      for (const auto& [top_k, top_p] : {Filter{1, 1}, Filter{50, 1}, Filter{20000, 1}, Filter{0, 0}, Filter{0, 0.3f},
                                         Filter{0, 0.9f}, Filter{0, 0.9999f}, Filter{7, 0.5f}, Filter{1000, 0.9f}}) {
        CAPTURE(vocab_size);
        CAPTURE(steps);
        CAPTURE(top_k);
        CAPTURE(top_p);
        const auto logits = random_logits(vocab_size, 17, 5, steps);
        const SampleOptions options{.temperature = 0.8f, .top_k = top_k, .top_p = top_p, .seed = 3};
        const auto wanted = reference::candidates(logits, {}, filters_of(options));
        const auto got = tokens(logits, options, 2);
        for (uint32_t step = 0; step < got.size(); ++step)
          CHECK(reference::share_of(wanted, got[step]).holds(reference::sample_random(3, step), kShareTolerance));

        // Both keep a beginning of one order, so its last member says which: the limit's logit, and how many of that logit stay.
        if (options.top_p == 1 && options.top_k >= vocab_size)
          continue;  // no limit
        const float last = logits[wanted.ids.back()];
        const auto ties = std::count_if(wanted.ids.begin(), wanted.ids.end(), [&](uint32_t id) { return logits[id] == last; });
        const auto words = download_u32(scratch.words);
        CHECK(key_to_float(words[SAMPLE_LIMIT]) == last);
        CHECK(words[SAMPLE_LIMIT + 1] == ties);
      }
}

TEST_CASE_FIXTURE(SampleTest, "sample: what is drawn is exactly the set that the filters leave") {
  const SampleOptions sets[] = {{.temperature = 3, .top_k = 20},
                                {.temperature = 0.15f, .top_p = 0.9f},
                                {.temperature = 0.3f, .min_p = 0.3f},
                                {.temperature = 2, .min_p = 1},
                                {.temperature = 1, .top_k = 30, .top_p = 0.8f, .min_p = 0.5f},
                                {.temperature = 1e-30f},
                                {.temperature = 2, .top_p = 0}};
  for (const float steps : {0.0f, 2.0f})
    for (const SampleOptions& options : sets) {
      CAPTURE(steps);
      CAPTURE(options.temperature);
      const auto logits = random_logits(1000, 23, 5, steps);
      const auto wanted = reference::candidates(logits, {}, filters_of(options));
      const auto got = tokens(logits, options, static_cast<uint32_t>(10 * wanted.ids.size()));
      CAPTURE(wanted.ids.size());
      REQUIRE(wanted.ids.size() <= 60);
      const std::set<uint32_t> drawn(got.begin(), got.end()), all(wanted.ids.begin(), wanted.ids.end());
      CHECK(drawn == all);
    }
}

TEST_CASE_FIXTURE(SampleTest, "sample: the random numbers are Philox4x32-10 of seed and step") {
  using Words = std::array<uint32_t, 4>;
  // Known answers, from the authors' Random123 library.
  CHECK(reference::philox4x32({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(reference::philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}) ==
        Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
  // With equal logits the token is the random number itself, in steps of one over the size of the vocabulary.
  for (const uint64_t seed : {uint64_t{0}, uint64_t{1}, uint64_t{1} << 32, ~uint64_t{0}}) {
    const auto got = tokens(std::vector<float>(102400, 1.5f), {.temperature = 1, .seed = seed}, 20);
    for (uint32_t step = 0; step < got.size(); ++step)
      CHECK(got[step] == static_cast<uint32_t>(reference::sample_random(seed, step) * 102400));
  }
}

TEST_CASE_FIXTURE(SampleTest, "sample: draws as often as the probabilities say") {
  const auto logits = random_logits(50, 31, 2);
  const SampleOptions options{.temperature = 0.9f, .seed = 42};
  const auto wanted = reference::candidates(logits, {}, filters_of(options));
  const uint32_t draws = 4000;
  std::vector<double> counts(50);
  for (const uint32_t id : tokens(logits, options, draws))
    counts[id] += 1;
  double chi_squared = 0;
  for (size_t i = 0; i < wanted.ids.size(); ++i) {
    const double expected = wanted.probabilities[i] * draws;
    chi_squared += (counts[wanted.ids[i]] - expected) * (counts[wanted.ids[i]] - expected) / expected;
  }
  // Seen: 32.3; planted fault: a temperature off by a tenth 80.3. The limit is the 95 % point of 49 degrees of freedom; the seed
  // is fixed.
  CHECK(chi_squared < 66.3);
}

TEST_CASE_FIXTURE(SampleTest, "sample: the same seed and step give the same token, others another") {
  const auto logits = random_logits(5000, 3, 1);
  const SampleOptions options{.temperature = 1, .top_k = 2000, .top_p = 0.95f, .seed = 77};
  const auto first = tokens(logits, options, 12);
  CHECK(tokens(logits, options, 12) == first);
  CHECK(std::set<uint32_t>(first.begin(), first.end()).size() >= 11);
  SampleOptions other = options;
  other.seed = 78;
  CHECK(tokens(logits, other, 12) != first);
  other.seed = options.seed + (uint64_t{1} << 32);  // the upper word counts
  CHECK(tokens(logits, other, 12) != first);
}

TEST_CASE_FIXTURE(SampleTest, "sample: sets the bit of its token in seen when asked, and no other") {
  for (const float temperature : {0.0f, 1.0f}) {
    auto logits = random_logits(100, 1, 1);
    logits[70] = 50;
    const TensorView seen = upload_seen(100, {3, 64});
    CHECK(token(logits, {.temperature = temperature}, seen) == 70);
    CHECK(download_u32(seen) == std::vector<uint32_t>{8, 0, 1, 0});
    CHECK(token(logits, {.temperature = temperature, .update_seen = true}, seen) == 70);
    CHECK(download_u32(seen) == std::vector<uint32_t>{8, 0, 1 | 64, 0});
  }
  // So that a strong penalty walks down the logits, without the host.
  const auto walked = tokens({5, 1, 4, 2, 3}, {.repetition_penalty = 100, .update_seen = true}, 5, upload_seen(5, {}));
  CHECK(walked == std::vector<uint32_t>{0, 2, 4, 3, 1});
}

TEST_CASE_FIXTURE(SampleTest, "sample: takes logits, seen and token at any offset") {
  auto values = random_logits(1003, 4, 2);
  values[2] = values[1002] = 100;  // outside
  const TensorView room = upload({1003}, values), seen_room = upload_u32({34}, std::vector<uint32_t>(34, 0)),
                   ring = tensor({3}, DType::U32);
  const TensorView logits = make_view(*room.buffer, DType::F32, {999}, 3),
                   seen = make_view(*seen_room.buffer, DType::U32, {32}, 1);
  const std::vector<float> inside(values.begin() + 3, values.begin() + 1002);
  const SampleOptions options{.temperature = 0.5f, .top_k = 50, .top_p = 0.9f, .repetition_penalty = 1.1f, .update_seen = true};
  REQUIRE(sample(rec, logits, seen, options, scratch, make_view(*ring.buffer, DType::U32, {1}, 1)).ok());
  const auto got = download_u32(ring);
  CHECK((got[0] == 0xdeadbeefu && got[2] == 0xdeadbeefu));
  const auto wanted = reference::candidates(inside, {}, filters_of(options));
  CHECK(reference::share_of(wanted, got[1]).holds(reference::sample_random(0, 0), kShareTolerance));
  CHECK(download_u32(seen_room)[1 + got[1] / 32] == 1u << (got[1] % 32));
  CHECK(download(logits) == inside);  // not modified
}

TEST_CASE_FIXTURE(SampleTest, "sample: a vocabulary beyond 65535 groups of 256") {
  const uint32_t vocab_size = 65535 * 256 + 300;
  std::vector<float> logits(vocab_size, -100.0f);
  for (const uint32_t id : {5u, vocab_size / 2, vocab_size - 1})
    logits[id] = 1.0f;
  const TensorView view = upload({vocab_size}, logits), ring = tensor({4}, DType::U32);
  REQUIRE(sample(rec, view, {}, {}, scratch, make_view(*ring.buffer, DType::U32, {1}, 0)).ok());
  for (const uint32_t step : {1u, 2u, 3u})
    REQUIRE(sample(rec, view, {}, {.temperature = 1, .seed = 1, .step = step}, scratch,
                   make_view(*ring.buffer, DType::U32, {1}, step))
                .ok());
  const auto got = download_u32(ring);
  CHECK(got[0] == 5);
  for (const uint32_t step : {1u, 2u, 3u})
    CHECK(got[step] ==
          std::vector<uint32_t>{5, vocab_size / 2, vocab_size - 1}[static_cast<size_t>(reference::sample_random(1, step) * 3)]);
}

TEST_CASE_FIXTURE(SampleTest,
                  "sample: with a mask, greedy takes the highest of the logits that it leaves, the lowest id on a tie") {
  for (const uint32_t vocab_size : {1u, 2u, 31u, 32u, 33u, 1000u, 102400u, 129280u})
    for (const float share : {0.0f, 0.01f, 0.5f}) {
      CAPTURE(vocab_size);
      CAPTURE(share);
      const auto logits = random_logits(vocab_size, vocab_size, 3, share == 0.5f ? 4.0f : 0.0f);  // with ties, too
      const auto allowed = random_ids(vocab_size, 71, share, vocab_size / 2);
      uint32_t best = *allowed.begin();
      for (const uint32_t id : allowed)
        if (logits[id] > logits[best])
          best = id;
      const uint64_t before = rec.dispatch_count();
      CHECK(token(logits, {.mask = upload_seen(vocab_size, allowed)}) == best);
      CHECK(rec.dispatch_count() - before == 2);
    }
}

TEST_CASE_FIXTURE(SampleTest, "sample: with a mask, penalty and filters work on what it leaves") {
  const SampleOptions all[] = {{.temperature = 2},
                               {.temperature = 1, .top_k = 5},
                               {.temperature = 1, .top_k = 100000},
                               {.temperature = 0.8f, .top_p = 0.7f},
                               {.temperature = 1.5f, .top_k = 300, .top_p = 0.9f, .min_p = 0.02f, .repetition_penalty = 1.4f},
                               {.temperature = 2, .min_p = 0.3f, .repetition_penalty = 0.7f}};
  for (const uint32_t vocab_size : {33u, 1000u, 129280u})
    for (const float share : {0.02f, 0.5f})
      for (const SampleOptions& one : all) {
        CAPTURE(vocab_size);
        CAPTURE(share);
        CAPTURE(one.top_k);
        CAPTURE(one.top_p);
        const auto logits = random_logits(vocab_size, 19, 4);
        const auto allowed = random_ids(vocab_size, 5, share, vocab_size - 1), seen = random_ids(vocab_size, 6, 0.3f, 0);
        SampleOptions options = one;
        options.seed = 11;
        options.mask = upload_seen(vocab_size, allowed);
        const auto wanted = candidates_of(logits, seen, options, allowed);
        const auto got = tokens(logits, options, 6, upload_seen(vocab_size, seen));
        for (uint32_t step = 0; step < got.size(); ++step) {
          CHECK(allowed.contains(got[step]));
          CHECK(reference::share_of(wanted, got[step]).holds(reference::sample_random(11, step), kShareTolerance));
        }
      }
}

TEST_CASE_FIXTURE(SampleTest, "sample: with a mask of one, that is the token, however unlikely") {
  auto logits = random_logits(3000, 2, 5);
  logits[7] = logits[2999] = -1e30f;
  logits[31] = -kInfinity;
  for (const uint32_t id : {0u, 7u, 31u, 32u, 63u, 2047u, 2048u, 2999u})
    for (const SampleOptions& one : {SampleOptions{}, SampleOptions{.temperature = 2},
                                     SampleOptions{.temperature = 1, .top_k = 40, .top_p = 0.5f, .min_p = 0.5f},
                                     SampleOptions{.temperature = 0.1f, .repetition_penalty = 3}}) {
      SampleOptions options = one;
      options.mask = upload_seen(3000, {id});
      CHECK(token(logits, options, upload_seen(3000, {id, 5})) == id);
    }
}

TEST_CASE_FIXTURE(SampleTest, "sample: takes a mask at any offset, and leaves it as it is") {
  const auto logits = random_logits(1000, 4, 2);
  const auto allowed = random_ids(1000, 8, 0.1f, 500);
  std::vector<uint32_t> words(37, 0xffffffffu);
  for (uint32_t i = 0; i < 32; ++i)
    words[3 + i] = 0;
  for (const uint32_t id : allowed)
    words[3 + id / 32] |= 1u << (id % 32);
  const TensorView room = upload_u32({37}, words);
  const auto got = tokens(logits, {.temperature = 3, .mask = make_view(*room.buffer, DType::U32, {32}, 3)}, 200);
  for (const uint32_t id : got)
    CHECK(allowed.contains(id));
  CHECK(std::set<uint32_t>(got.begin(), got.end()).size() > allowed.size() / 2);
  CHECK(download_u32(room) == words);
}

TEST_CASE_FIXTURE(SampleTest, "sample: refuses what makes no sense") {
  const TensorView logits = tensor({100}), seen = tensor({4}, DType::U32), ring = tensor({1}, DType::U32);
  const auto code = [&](const SampleOptions& options) { return sample(rec, logits, seen, options, scratch, ring).code(); };
  CHECK(code({.temperature = -1}) == Code::BadArgument);
  CHECK(code({.temperature = kNan}) == Code::BadArgument);
  CHECK(code({.temperature = kInfinity}) == Code::BadArgument);
  CHECK(code({.top_p = 1.5f}) == Code::BadArgument);
  CHECK(code({.top_p = kNan}) == Code::BadArgument);
  CHECK(code({.min_p = -0.1f}) == Code::BadArgument);
  CHECK(code({.repetition_penalty = 0}) == Code::BadArgument);
  CHECK(sample(rec, tensor({0}), seen, {}, scratch, ring).code() == Code::BadShape);
  CHECK(sample(rec, tensor({1, 100}), seen, {}, scratch, ring).code() == Code::BadShape);
  CHECK(sample(rec, logits, {}, {.update_seen = true}, scratch, ring).code() == Code::BadShape);
  CHECK(sample(rec, logits, {}, {.repetition_penalty = 1.1f}, scratch, ring).code() == Code::BadShape);
  CHECK(sample(rec, logits, seen, {}, {tensor({100}, DType::U32)}, ring).code() == Code::BadShape);
  CHECK(sample(rec, logits, seen, {}, scratch, tensor({2}, DType::U32)).code() == Code::BadShape);
  CHECK(sample(rec, tensor({100}, DType::F16), seen, {}, scratch, ring).code() == Code::BadDType);
  CHECK(sample(rec, logits, seen, {.mask = tensor({3}, DType::U32)}, scratch, ring).message() ==
        "sample: mask [3] u32 must be [4], a bit for each of logits [100] f32");
  CHECK(sample(rec, logits, seen, {.mask = tensor({4})}, scratch, ring).code() == Code::BadDType);
  const Status s = sample(rec, logits, tensor({3}, DType::U32), {}, scratch, ring);
  CHECK(s.message() == "sample: seen [3] u32 must be [4], a bit for each of logits [100] f32");
  CHECK(rec.dispatch_count() == 0);
}
