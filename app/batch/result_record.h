// What a batch says of one page, as one line of JSON: the journal's unit, and the format jsonl.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace vl2::batch {

struct ResultBox {
  std::string label;
  std::array<uint32_t, 4> thousandths{};
  std::array<uint32_t, 4> pixels{};  // left, top, right, bottom
};

struct PageResult {
  uint64_t index = 0;  ///< in the batch, from 0
  std::string path;
  uint32_t number = 0;                 ///< of a PDF's page, from 1; 0: a picture file
  std::string error;                   ///< empty: there is an answer
  std::optional<uint64_t> file_bytes;  ///< with an error: of the file then, by which a later start knows that no other changed
  std::string text, tagged_text;
  std::vector<ResultBox> boxes;
  std::string stop;  ///< vl2_stop_reason_name()
  uint32_t prompt_tokens = 0, answer_tokens = 0;
  std::vector<std::string> notes;  ///< what was odd, although there is an answer
};

/// "a.png", "report.pdf, page 2": for headings.
std::string title_of(const PageResult& result);

/// Part `number` of `count`: the pages whose index modulo count is number - 1.
struct Shard {
  uint64_t number = 1, count = 1;

  /// Errors  BadArgument: not "I/N" with 1 <= I <= N; "" is 1/1
  static Result<Shard> parse(const std::string& text);
  uint64_t page_count(uint64_t all_pages) const { return all_pages < number ? 0 : (all_pages - number) / count + 1; }
  uint64_t page_index(uint64_t k) const { return number - 1 + k * count; }
  bool operator==(const Shard&) const = default;
};

/// Which command a result is of: four hashes as text, of model, prompt, options and inputs. And the pages of all shards together.
struct JobKey {
  uint32_t model = 0, prompt = 0, options = 0, inputs = 0;
  uint64_t page_count = 0;

  std::string text() const;  ///< "0123abcd-0123abcd-0123abcd-0123abcd", page_count left out
  bool operator==(const JobKey&) const = default;
};

/// What differs, for a message: "another model, other inputs".
std::string difference(const JobKey& a, const JobKey& b);

struct Record {
  JobKey job;
  Shard shard;
  PageResult result;
};

/// One line, without its end. The same record gives the same bytes.
std::string to_line(const Record& record);

/// Errors  BadFile: not a line that to_line() made
Result<Record> parse_line(const std::string& line);

/// How every line begins, up to the key: tells a journal from any other file.
inline constexpr const char* kLineStart = "{\"job\":\"";

}  // namespace vl2::batch
