// Counters in the text format of Prometheus.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace vl2::server {

enum class Phase { Queue, Resize, Encode, Prefill, Decode };

/// What has happened since the server began. Any thread.
class Metrics {
 public:
  /// A request that was answered; 499: its client left before that. `path` is one the server has, or "other".
  void count_request(std::string_view path, int status);
  void add_seconds(Phase phase, double seconds);
  void add_tokens(uint32_t prompt, uint32_t cached, uint32_t pictures, uint32_t answer);
  /// Mean time of an answer, from slot to end; 0 before the first.
  double mean_answer_seconds() const;
  void add_answer_seconds(double seconds);

  /// What is counted elsewhere.
  struct Outside {
    std::string name;
    const char* type;  ///< "gauge", "counter"
    const char* help;  ///< "": none
    double value;
  };
  std::string text(const std::vector<Outside>& outside) const;

 private:
  static constexpr std::array kEdges = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0};  // s
  struct Histogram {
    std::array<uint64_t, kEdges.size() + 1> counts{};
    double sum = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;
  std::array<Histogram, 5> phases_;
  uint64_t prompt_tokens_ = 0, cached_tokens_ = 0, picture_tokens_ = 0, answer_tokens_ = 0;
  uint64_t answers_ = 0;
  double answer_seconds_ = 0;
};

}  // namespace vl2::server
