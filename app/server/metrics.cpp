#include "app/server/metrics.h"

#include <cstdio>

namespace vl2::server {
namespace {

constexpr std::array kPhaseNames = {"queue", "resize", "encode", "prefill", "decode"};
constexpr std::array kPhaseHelp = {"Waiting for a slot", "Pictures: upload, resize and pad", "Pictures: encoder and projector",
                                   "Reading the prompt", "Choosing the tokens of the answer"};

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.9g", value);
  return text;
}

void head(std::string& out, const std::string& name, const char* type, const char* help) {
  out += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

}  // namespace

void Metrics::count_request(std::string_view path, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(path), status}];
}

void Metrics::add_seconds(Phase phase, double seconds) {
  const std::lock_guard lock(mutex_);
  Histogram& histogram = phases_[static_cast<size_t>(phase)];
  size_t bucket = 0;
  while (bucket < kEdges.size() && seconds > kEdges[bucket])
    ++bucket;
  ++histogram.counts[bucket];
  histogram.sum += seconds;
}

void Metrics::add_tokens(uint32_t prompt, uint32_t cached, uint32_t pictures, uint32_t answer) {
  const std::lock_guard lock(mutex_);
  prompt_tokens_ += prompt;
  cached_tokens_ += cached;
  picture_tokens_ += pictures;
  answer_tokens_ += answer;
}

void Metrics::add_answer_seconds(double seconds) {
  const std::lock_guard lock(mutex_);
  ++answers_;
  answer_seconds_ += seconds;
}

double Metrics::mean_answer_seconds() const {
  const std::lock_guard lock(mutex_);
  return answers_ == 0 ? 0 : answer_seconds_ / static_cast<double>(answers_);
}

std::string Metrics::text(const std::vector<Outside>& outside) const {
  const std::lock_guard lock(mutex_);
  std::string out;
  head(out, "vl2_requests_total", "counter", "Requests by path and status; 499: the client left before the end");
  for (const auto& [key, count] : requests_)
    out += "vl2_requests_total{path=\"" + key.first + "\",status=\"" + std::to_string(key.second) + "\"} " +
           std::to_string(count) + "\n";
  for (size_t i = 0; i < phases_.size(); ++i) {
    const std::string name = std::string("vl2_") + kPhaseNames[i] + "_seconds";
    head(out, name, "histogram", kPhaseHelp[i]);
    uint64_t so_far = 0;
    for (size_t bucket = 0; bucket <= kEdges.size(); ++bucket) {
      so_far += phases_[i].counts[bucket];
      const std::string edge = bucket < kEdges.size() ? number(kEdges[bucket]) : "+Inf";
      out += name + "_bucket{le=\"" + edge + "\"} " + std::to_string(so_far) + "\n";
    }
    out += name + "_sum " + number(phases_[i].sum) + "\n" + name + "_count " + std::to_string(so_far) + "\n";
  }
  const auto counter = [&](const char* name, const char* help, uint64_t value) {
    head(out, name, "counter", help);
    out += std::string(name) + " " + std::to_string(value) + "\n";
  };
  counter("vl2_prompt_tokens_total", "Tokens of prompts, those that were still in a slot included", prompt_tokens_);
  counter("vl2_cached_tokens_total", "Of them, those that were still in a slot", cached_tokens_);
  counter("vl2_picture_tokens_total", "Of them, those of pictures", picture_tokens_);
  counter("vl2_answer_tokens_total", "Tokens of answers", answer_tokens_);
  for (const Outside& one : outside) {
    head(out, one.name, one.type, one.help);
    out += one.name + " " + number(one.value) + "\n";
  }
  return out;
}

}  // namespace vl2::server
