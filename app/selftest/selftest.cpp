#include "app/selftest/selftest.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "app/selftest/checks.h"
#include "app/small_font.h"
#include "model/prompt.h"
#include "model/session.h"
#include "runtime/clock.h"

namespace vl2 {

namespace {

constexpr uint32_t kAnswerTokens = 16;
// Logits by which the plain plan's token may be ahead of the fused plan's where they part. Their sums are in another order, and on
// some devices the fused plan rounds activations to bytes: seen 0 on lavapipe. Another prompt's tokens: 5 and more.
constexpr double kNearTie = 0.5;

// The largest difference in root mean squares of what was wanted; infinite where something is no number, or missing.
double error_of(const CheckedNumbers& numbers) {
  if (numbers.got.size() != numbers.wanted.size() || numbers.got.empty())
    return std::numeric_limits<double>::infinity();
  double squares = 0, most = 0;
  for (size_t i = 0; i < numbers.got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(numbers.got[i]) - numbers.wanted[i]);
    if (!(difference < std::numeric_limits<double>::infinity()))
      return std::numeric_limits<double>::infinity();
    most = std::max(most, difference);
    squares += numbers.wanted[i] * numbers.wanted[i];
  }
  return most / std::sqrt(squares / static_cast<double>(numbers.got.size()));
}

Result<double> run_check(Device& device, const Check& check, const SpoilResult& spoil) {
  TestBed bed(device);
  VL2_ASSIGN(CheckedNumbers numbers, check.run(bed));
  if (spoil)
    spoil(check.name, numbers.got);
  return error_of(numbers);
}

// ---- The model -------------------------------------------------------------------------------------------------------------------

// "TOTAL 42" in black on white.
std::vector<uint8_t> drawn_total(uint32_t width, uint32_t height) {
  constexpr std::string_view kText = "TOTAL 42";
  constexpr uint32_t kDot = 4, kLeft = 20, kTop = 24;
  std::vector<uint8_t> rgb(size_t{width} * height * 3, 255);
  for (uint32_t i = 0; i < kText.size(); ++i) {
    const std::string_view dots = glyph(static_cast<unsigned char>(kText[i]));
    for (uint32_t y = 0; y < kGlyphHeight * kDot; ++y)
      for (uint32_t x = 0; x < kGlyphWidth * kDot; ++x)
        if (dots[y / kDot * kGlyphWidth + x / kDot] == '#')
          std::fill_n(&rgb[((kTop + y) * width + kLeft + i * 6 * kDot + x) * 3], 3, uint8_t{0});
  }
  return rgb;
}

struct Answer {
  std::vector<uint32_t> ids;
  std::vector<std::vector<float>> logits;  // that each was chosen from
};

// Each token by itself, so that its logits are there.
Result<Answer> answer(Engine& engine, const Tokenizer& tokenizer, PlanChoice plan) {
  constexpr uint32_t kWidth = 240, kHeight = 80;
  VL2_ASSIGN(const ControlIds control, ControlIds::find(tokenizer));
  VL2_ASSIGN(const auto session, Session::create(engine, plan));
  const std::vector<uint8_t> rgb = drawn_total(kWidth, kHeight);
  Turn question{Role::User, "What is the total?", {}};
  std::vector<EncodedPicture> pictures;
  if (check_sees(engine.config()).ok()) {
    VL2_ASSIGN(EncodedPicture picture, session->encode({kWidth, kHeight, rgb}, 1));
    question.image_tokens.push_back(picture.sequence.dim(0));
    pictures.push_back(std::move(picture));
  }
  VL2_ASSIGN(const Prompt prompt, build_prompt(tokenizer, control, std::span(&question, 1), {}));
  std::vector<PictureRun> runs;
  for (size_t i = 0; i < pictures.size(); ++i)
    runs.push_back({prompt.images[i].first, &pictures[i]});
  VL2_TRY(session->prefill(prompt.ids, runs));
  Answer given;
  while (given.ids.size() < kAnswerTokens && (given.ids.empty() || given.ids.back() != control.eos)) {
    VL2_TRY(session->next_logits(given.logits.emplace_back()));
    VL2_ASSIGN(const std::vector<uint32_t> ids, session->decode(1, {}));
    given.ids.push_back(ids[0]);
  }
  return given;
}

Status compare_plans(Engine& engine, const Tokenizer& tokenizer, const SpoilResult& spoil, CheckRow& row) {
  VL2_ASSIGN(const Answer plain, answer(engine, tokenizer, PlanChoice::Plain));
  const Result<Answer> fused = answer(engine, tokenizer, PlanChoice::Fused);
  if (fused.code() == Code::Unsupported) {
    row.note = "not compared: " + fused.message();
    return {};
  }
  VL2_TRY(fused.status());
  std::vector<float> other(fused->ids.begin(), fused->ids.end());
  if (spoil)
    spoil(row.name, other);
  std::vector<uint32_t> ids(other.begin(), other.end());
  ids.resize(plain.ids.size(), UINT32_MAX);
  const size_t same = static_cast<size_t>(std::mismatch(ids.begin(), ids.end(), plain.ids.begin()).first - ids.begin());
  const std::string text = tokenizer.decode(plain.ids, false);
  row.note = std::to_string(same) + " of " + std::to_string(plain.ids.size()) + " tokens equal; the answer: \"" + text + "\"";
  if (same == plain.ids.size())
    return {};
  const std::vector<float>& logits = plain.logits[same];
  row.error = ids[same] < logits.size() ? static_cast<double>(logits[plain.ids[same]]) - static_cast<double>(logits[ids[same]])
                                        : std::numeric_limits<double>::infinity();
  return {};
}

}  // namespace

Result<std::vector<CheckRow>> check_operators(Device& device, const OnCheck& on_check, const SpoilResult& spoil) {
  if (!device.executes())
    return fail(Code::Unsupported, "selftest: ", device.caps().name, ": this driver compiles and executes nothing");
  std::vector<Check> checks;
  add_product_checks(device, checks);
  add_attention_checks(device, checks);
  add_other_checks(device, checks);
  std::vector<CheckRow> rows;
  bool lost = false;
  for (const Check& check : checks) {
    CheckRow& row = rows.emplace_back();
    row.name = check.name;
    row.limit = check.limit;
    const auto start = Clock::now();
    const Result<double> error =
        lost ? Result<double>(fail(Code::DeviceLost, "not run: the device was lost")) : run_check(device, check, spoil);
    row.seconds = seconds_since(start);
    row.error = error.ok() ? *error : std::numeric_limits<double>::infinity();
    row.problem = error.ok() ? "" : error.message();
    lost = lost || error.code() == Code::DeviceLost;
    if (on_check)
      on_check(row);
  }
  return rows;
}

CheckRow check_plans(Engine& engine, const Tokenizer& tokenizer, const SpoilResult& spoil) {
  CheckRow row{.name = "one question by the plain plan and the fused one", .limit = kNearTie};
  const auto start = Clock::now();
  if (const Status status = compare_plans(engine, tokenizer, spoil, row); !status.ok()) {
    row.problem = status.message();
    row.error = std::numeric_limits<double>::infinity();
  }
  row.seconds = seconds_since(start);
  return row;
}

}  // namespace vl2
