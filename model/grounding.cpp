#include "model/grounding.h"

#include <optional>
#include <sstream>

namespace vl2 {

namespace {

constexpr uint32_t kBoxScale = 999;

enum class Piece { Text, RefOpen, RefClose, DetOpen, DetClose, Grounding };

constexpr struct {
  Piece piece;
  std::string_view text;
} kTags[] = {
    {Piece::RefOpen, "<|ref|>"},   {Piece::RefClose, "<|/ref|>"},       {Piece::DetOpen, "<|det|>"},
    {Piece::DetClose, "<|/det|>"}, {Piece::Grounding, "<|grounding|>"},
};

// A tag, or the text between two tags.
struct Span {
  Piece piece = Piece::Text;
  size_t begin = 0;  // bytes into the whole text
  std::string_view text;
};

struct Label {
  size_t begin;
  std::string text;
};

// Four numbers, and the bytes that they stand in.
struct Box {
  std::array<uint32_t, 4> values;
  size_t begin = 0, end = 0;
};

struct BoxList {
  size_t begin;
  std::vector<Box> boxes;
};

std::vector<Span> split(std::string_view text) {
  std::vector<Span> spans;
  size_t text_begin = 0, at = 0;
  const auto end_text = [&] {
    if (at > text_begin)
      spans.push_back({Piece::Text, text_begin, text.substr(text_begin, at - text_begin)});
  };
  while (at < text.size()) {
    const auto* tag = std::begin(kTags);
    while (tag != std::end(kTags) && !text.substr(at).starts_with(tag->text))
      ++tag;
    if (tag == std::end(kTags)) {
      ++at;
      continue;
    }
    end_text();
    spans.push_back({tag->piece, at, tag->text});
    text_begin = at += tag->text.size();
  }
  end_text();
  return spans;
}

// Walks over the inside of a box list.
class BoxReader {
 public:
  explicit BoxReader(std::string_view text) : text_(text) {}

  size_t position() const { return at_; }

  bool eat(char wanted) {
    skip_spaces();
    if (at_ == text_.size() || text_[at_] != wanted)
      return false;
    ++at_;
    return true;
  }

  bool at_end() {
    skip_spaces();
    return at_ == text_.size();
  }

  // A number above any picture's scale stays there, so that a long one cannot wrap around.
  bool number(uint32_t& value) {
    skip_spaces();
    const size_t begin = at_;
    value = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      if (value <= kBoxScale)
        value = value * 10 + static_cast<uint32_t>(text_[at_] - '0');
      ++at_;
    }
    return at_ > begin;
  }

  bool box(Box& box) {
    skip_spaces();
    box.begin = at_;
    for (size_t i = 0; i < 4; ++i)
      if (!eat(i == 0 ? '[' : ',') || !number(box.values[i]))
        return false;
    const bool closed = eat(']');
    box.end = at_;
    return closed;
  }

  // "[" box {"," box} "]"
  bool list(std::vector<Box>& boxes) {
    if (!eat('['))
      return false;
    do {
      if (!box(boxes.emplace_back()))
        return false;
    } while (eat(','));
    return eat(']') && at_end();
  }

 private:
  void skip_spaces() {
    while (at_ < text_.size() && text_[at_] == ' ')
      ++at_;
  }

  std::string_view text_;
  size_t at_ = 0;
};

class Parser {
 public:
  Parser(std::string_view text, uint32_t width, uint32_t height) : spans_(split(text)), width_(width), height_(height) {}

  Grounding parse() {
    for (at_ = 0; at_ < spans_.size(); ++at_)
      read_span(spans_[at_]);
    pair();
    return std::move(result_);
  }

 private:
  template <typename... Parts>
  void problem(size_t begin, const Parts&... parts) {
    std::ostringstream out;
    out << "byte " << begin + 1 << ": ";
    (out << ... << parts);
    result_.problems.push_back(out.str());
  }

  void read_span(const Span& span) {
    switch (span.piece) {
      case Piece::Text: result_.text += span.text; break;
      case Piece::Grounding: break;
      case Piece::RefOpen: read_label(span); break;
      case Piece::DetOpen: read_boxes(span); break;
      case Piece::RefClose:
      case Piece::DetClose: problem(span.begin, span.text, " closes nothing"); break;
    }
  }

  // What stands between this tag and its closing one, and steps onto that; nothing when the closing one is not next on this line.
  std::optional<std::string_view> inside(Piece close) {
    const bool has_text = at_ + 1 < spans_.size() && spans_[at_ + 1].piece == Piece::Text;
    const size_t close_at = at_ + (has_text ? 2 : 1);
    const std::string_view text = has_text ? spans_[at_ + 1].text : std::string_view();
    if (close_at >= spans_.size() || spans_[close_at].piece != close || text.find('\n') != std::string_view::npos)
      return std::nullopt;
    at_ = close_at;
    return text;
  }

  void read_label(const Span& open) {
    const auto text = inside(Piece::RefClose);
    if (!text)
      return problem(open.begin, "<|ref|> is not closed on its line");
    labels_.push_back({open.begin, std::string(*text)});
    result_.text += *text;
  }

  void read_boxes(const Span& open) {
    const auto text = inside(Piece::DetClose);
    if (!text) {
      problem(open.begin, "<|det|> is not closed on its line");
      drop_rest_of_line();
      return;
    }
    BoxList list{open.begin, {}};
    BoxReader reader(*text);
    if (!reader.list(list.boxes)) {
      problem(open.begin + open.text.size() + reader.position(), "wanted [[x1, y1, x2, y2], ..] between <|det|> and <|/det|>");
      list.boxes.clear();  // the list still takes its label
    }
    for (Box& box : list.boxes) {
      box.begin += open.begin + open.text.size();
      box.end += open.begin + open.text.size();
    }
    lists_.push_back(std::move(list));
  }

  // Half a box list is nothing to read: an answer that was cut short ends in one.
  void drop_rest_of_line() {
    if (at_ + 1 >= spans_.size() || spans_[at_ + 1].piece != Piece::Text)
      return;
    const std::string_view text = spans_[++at_].text;
    const size_t line_end = text.find('\n');
    if (line_end != std::string_view::npos)
      result_.text += text.substr(line_end);
  }

  void pair() {
    const bool in_order = labels_.size() == lists_.size();
    std::vector<bool> taken(labels_.size(), false);
    size_t next_label = 0;
    for (size_t i = 0; i < lists_.size(); ++i) {
      while (next_label < labels_.size() && labels_[next_label].begin < lists_[i].begin)
        ++next_label;  // the first label behind the list
      size_t label = in_order ? i + 1 : next_label;
      if (!in_order && (label == 0 || taken[label - 1]))
        label = 0;
      if (label == 0) {
        problem(lists_[i].begin, "<|det|> without a <|ref|> before it");
        continue;
      }
      taken[label - 1] = true;
      for (const Box& box : lists_[i].boxes)
        add_box(labels_[label - 1].text, box, lists_[i].begin);
    }
    for (size_t i = 0; i < labels_.size(); ++i)
      if (!taken[i])
        problem(labels_[i].begin, "<|ref|> without a <|det|> of its own");
  }

  void add_box(const std::string& label, const Box& box, size_t begin) {
    const auto& [x1, y1, x2, y2] = box.values;
    if (x1 > kBoxScale || y1 > kBoxScale || x2 > kBoxScale || y2 > kBoxScale)
      return problem(begin, "a box reaches over ", kBoxScale);
    if (x1 > x2 || y1 > y2)
      return problem(begin, "the box [", x1, ", ", y1, ", ", x2, ", ", y2, "] ends before it starts");
    const auto pixel = [](uint32_t value, uint32_t side) {
      return static_cast<uint32_t>(static_cast<double>(value) / kBoxScale * side);
    };
    result_.boxes.push_back(
        {label, box.values, {pixel(x1, width_), pixel(y1, height_), pixel(x2, width_), pixel(y2, height_)}, box.begin, box.end});
  }

  const std::vector<Span> spans_;
  const uint32_t width_, height_;
  size_t at_ = 0;
  std::vector<Label> labels_;
  std::vector<BoxList> lists_;
  Grounding result_;
};

}  // namespace

Grounding parse_grounding(std::string_view text, uint32_t width, uint32_t height) {
  return Parser(text, width, height).parse();
}

}  // namespace vl2
