// Values at the ends of the numbers that choose an answer, and what each door says of them: command line, server, C API.
#pragma once

#include <string>
#include <vector>

namespace vl2 {

struct ReplyNumberCase {
  const char* field;   ///< of vl2_reply_options, and the member of a request
  const char* option;  ///< of the command line
  const char* value;
  const char* wanted;  ///< nullptr: it is taken
};

inline std::vector<ReplyNumberCase> reply_number_cases() {
  constexpr const char *kTemperature = "a number from 0 to 100", *kShare = "a number from 0 to 1",
                       *kPenalty = "0 or a number from 0.01 to 100", *kWhole = "a whole number from 0 to 4294967295",
                       *kSeed = "a whole number of 64 bits";
  return {{"temperature", "--temp", "0", nullptr},
          {"temperature", "--temp", "100", nullptr},
          {"temperature", "--temp", "-0.5", kTemperature},
          {"temperature", "--temp", "100.5", kTemperature},
          {"top_p", "--top-p", "0", nullptr},
          {"top_p", "--top-p", "1", nullptr},
          {"top_p", "--top-p", "-0.5", kShare},
          {"top_p", "--top-p", "1.5", kShare},
          {"min_p", "--min-p", "0", nullptr},
          {"min_p", "--min-p", "1", nullptr},
          {"min_p", "--min-p", "-0.5", kShare},
          {"min_p", "--min-p", "1.5", kShare},
          {"repeat_penalty", "--repeat-penalty", "0", nullptr},
          {"repeat_penalty", "--repeat-penalty", "0.01", nullptr},
          {"repeat_penalty", "--repeat-penalty", "100", nullptr},
          {"repeat_penalty", "--repeat-penalty", "0.005", kPenalty},
          {"repeat_penalty", "--repeat-penalty", "-1", kPenalty},
          {"repeat_penalty", "--repeat-penalty", "101", kPenalty},
          {"top_k", "--top-k", "0", nullptr},
          {"top_k", "--top-k", "4294967295", nullptr},
          {"top_k", "--top-k", "4294967296", kWhole},
          {"top_k", "--top-k", "1099511627776", kWhole},
          {"top_k", "--top-k", "-1", kWhole},
          {"top_k", "--top-k", "1.5", kWhole},
          {"max_tokens", "--predict", "0", nullptr},
          {"max_tokens", "--predict", "4294967295", nullptr},
          {"max_tokens", "--predict", "4294967296", kWhole},
          {"max_tokens", "--predict", "-1", kWhole},
          {"seed", "--seed", "-9223372036854775808", nullptr},
          {"seed", "--seed", "18446744073709551615", nullptr},
          {"seed", "--seed", "1.5", kSeed}};
}

/// "top_p: got 1.5, wanted a number from 0 to 1"
inline std::string refusal_of(const ReplyNumberCase& one, const std::string& called) {
  return called + ": got " + one.value + ", wanted " + one.wanted;
}

}  // namespace vl2
