#include "model/text_size.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <span>
#include <vector>

namespace vl2 {

namespace {

constexpr float kCapitals = 0.72f;  // of the size of a font: 0.66 (Times) to 0.73 (DejaVu, Helvetica)
constexpr float kSoftEdges = 0.4f;  // pixels that are ink for a small part, at the top and the bottom of a letter together
// Heights of capitals that one pass looks for; larger ones are found in the picture at half the size, and so on.
constexpr int kLeastCapital = 5, kMostCapital = 12;
constexpr int kRadius = 20;                          // of the square whose mean is the ground and ink around a pixel
constexpr int kContrast = 28;                        // by which ink differs from that mean: hard to see below
constexpr size_t kMostSpecks = 4000000;              // of a pass; more are grain
constexpr uint64_t kMostPixels = uint64_t{1} << 26;  // of a pass; larger pictures begin at half their size
constexpr uint32_t kLeastLetters = 30;               // of small print in a picture that is worth a warning
constexpr uint32_t kLeastLines = 2;
constexpr size_t kLeastShare = 40;  // percent of the specks that could be letters: in textures few are in lines
constexpr uint32_t kLeastSmall =
    10;                    // percent of the letters that a pass finds: a few of larger ones look small, "on" without tails
constexpr int kCell = 16;  // of the table of places

// Grey values, row by row.
struct Grey {
  int width = 0, height = 0;
  std::vector<uint8_t> values;
  const uint8_t* row(int y) const { return values.data() + static_cast<size_t>(y) * static_cast<size_t>(width); }
};

Grey grey_of(const uint8_t* rgb, uint32_t width, uint32_t height, uint32_t shrink) {
  Grey out{static_cast<int>(std::max(1u, width / shrink)), static_cast<int>(std::max(1u, height / shrink)), {}};
  out.values.resize(static_cast<size_t>(out.width) * static_cast<size_t>(out.height));
  std::vector<uint32_t> sums(static_cast<size_t>(out.width));
  const uint32_t columns = std::min(shrink, width), rows = std::min(shrink, height);
  for (size_t y = 0; y < static_cast<size_t>(out.height); ++y) {
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t inner = 0; inner < rows; ++inner) {
      const uint8_t* from = rgb + (y * rows + inner) * width * 3;
      for (uint32_t& sum : sums)
        for (uint32_t column = 0; column < columns; ++column, from += 3)
          sum += (77u * from[0] + 150u * from[1] + 29u * from[2]) >> 8;
    }
    for (size_t x = 0; x < sums.size(); ++x)
      out.values[y * sums.size() + x] = static_cast<uint8_t>(sums[x] / (columns * rows));
  }
  return out;
}

Grey halved(const Grey& from) {
  Grey out{from.width / 2, from.height / 2, {}};
  out.values.reserve(static_cast<size_t>(out.width) * static_cast<size_t>(out.height));
  for (int y = 0; y < out.height; ++y) {
    const uint8_t *upper = from.row(2 * y), *lower = from.row(2 * y + 1);
    for (int x = 0; x < out.width; ++x, upper += 2, lower += 2)
      out.values.push_back(static_cast<uint8_t>((upper[0] + upper[1] + lower[0] + lower[1] + 2) / 4));
  }
  return out;
}

// ---- Specks: pixels of ink that hang together -----------------------------------------------------------------------------------

struct Speck {
  int left, top, right, bottom;  // the last column and row are its own
  int area = 0;
  int64_t contrast = 0;  // sum of the differences from the mean around
  uint32_t owner = 0;    // itself, or a speck that it is a part of
  bool light = false;

  int height() const { return bottom - top + 1; }
  int width() const { return right - left + 1; }
  int mean_contrast() const { return static_cast<int>(contrast / area); }
};

struct Run {
  int first, end;
  uint32_t speck;
  bool light;
};

class Specks {
 public:
  // False when there are too many to be print.
  bool find(const Grey& grey);
  std::vector<Speck> all;

 private:
  uint32_t root(uint32_t speck) {
    while (all[speck].owner != speck)
      speck = all[speck].owner = all[all[speck].owner].owner;
    return speck;
  }
  void add_row(const Grey& grey, int y);
  void place(Run& run, int y, int64_t contrast);

  std::vector<int> columns_;  // sums over the rows around
  int rows_ = 0;              // that they are of
  std::vector<Run> before_, now_;
};

void Specks::place(Run& run, int y, int64_t contrast) {
  run.speck = UINT32_MAX;
  // Runs of the row before that touch it, corners included. Few: the list is short where ink is.
  auto touching = std::lower_bound(before_.begin(), before_.end(), run.first, [](const Run& r, int x) { return r.end < x; });
  for (; touching != before_.end() && touching->first <= run.end; ++touching) {
    if (touching->light != run.light)
      continue;
    const uint32_t other = root(touching->speck);
    if (run.speck == UINT32_MAX) {
      run.speck = other;
    } else if (other != run.speck) {
      Speck &into = all[run.speck], &from = all[other];
      into.left = std::min(into.left, from.left);
      into.top = std::min(into.top, from.top);
      into.right = std::max(into.right, from.right);
      into.bottom = std::max(into.bottom, from.bottom);
      into.area += from.area;
      into.contrast += from.contrast;
      from.owner = run.speck;
    }
  }
  if (run.speck == UINT32_MAX) {
    run.speck = static_cast<uint32_t>(all.size());
    all.push_back({run.first, y, run.end - 1, y, 0, 0, run.speck, run.light});
  }
  Speck& speck = all[run.speck];
  speck.left = std::min(speck.left, run.first);
  speck.right = std::max(speck.right, run.end - 1);
  speck.bottom = y;
  speck.area += run.end - run.first;
  speck.contrast += contrast;
}

void Specks::add_row(const Grey& grey, int y) {
  const uint8_t* const row = grey.row(y);
  now_.clear();
  int sum = 0, columns = std::min(kRadius, grey.width);
  for (int x = 0; x < columns; ++x)
    sum += columns_[static_cast<size_t>(x)];
  int kind_before = 0, count = 1;
  int64_t contrast = 0;  // times count
  const auto end_run = [&](int x) {
    if (kind_before == 0)
      return;
    now_.back().end = x;
    place(now_.back(), y, contrast / count);
  };
  for (int x = 0; x < grey.width; ++x) {
    if (x + kRadius < grey.width)
      sum += columns_[static_cast<size_t>(x + kRadius)], ++columns;
    if (x - kRadius - 1 >= 0)
      sum -= columns_[static_cast<size_t>(x - kRadius - 1)], --columns;
    count = columns * rows_;
    const int difference = row[x] * count - sum, least = kContrast * count;  // from the mean, without a division a pixel
    const int kind = difference < -least ? -1 : difference > least ? 1 : 0;
    if (kind != kind_before) {
      end_run(x);
      if (kind != 0)
        now_.push_back({x, x, 0, kind > 0});
      contrast = 0;
      kind_before = kind;
    }
    contrast += std::abs(difference);
  }
  end_run(grey.width);
  std::swap(before_, now_);
}

bool Specks::find(const Grey& grey) {
  columns_.assign(static_cast<size_t>(grey.width), 0);
  const auto add = [&](int y, int sign) {
    if (y < 0 || y >= grey.height)
      return;
    const uint8_t* const row = grey.row(y);
    for (int x = 0; x < grey.width; ++x)
      columns_[static_cast<size_t>(x)] += sign * row[x];
    rows_ += sign;
  };
  for (int y = 0; y < kRadius; ++y)
    add(y, 1);
  for (int y = 0; y < grey.height && all.size() < kMostSpecks; ++y) {
    add(y + kRadius, 1);
    add(y - kRadius - 1, -1);
    add_row(grey, y);
  }
  return all.size() < kMostSpecks;
}

// ---- Lines: specks of the size of letters, side by side --------------------------------------------------------------------------

// Specks by the place of the middle of their left edge.
class Places {
 public:
  Places(const Grey& grey, const std::vector<Speck>& specks)
      : columns_(grey.width / kCell + 1),
        rows_(grey.height / kCell + 1),
        first_(static_cast<size_t>(columns_) * static_cast<size_t>(rows_) + 1),
        order_(specks.size()) {
    const auto cell = [&](const Speck& s) { return cell_of(s.left / kCell, (s.top + s.bottom) / 2 / kCell); };
    for (const Speck& speck : specks)
      ++first_[cell(speck) + 1];
    std::partial_sum(first_.begin(), first_.end(), first_.begin());
    std::vector<uint32_t> next(first_.begin(), first_.end() - 1);
    for (uint32_t i = 0; i < specks.size(); ++i)
      order_[next[cell(specks[i])]++] = i;
  }

  // Calls use(index) for each that begins in these columns and rows, and some around.
  template <typename Use>
  void each(int left, int right, int top, int bottom, const Use& use) const {
    for (int row = std::max(top / kCell, 0); row <= std::min(bottom / kCell, rows_ - 1); ++row)
      for (int column = std::max(left / kCell, 0); column <= std::min(right / kCell, columns_ - 1); ++column)
        for (uint32_t i = first_[cell_of(column, row)]; i < first_[cell_of(column, row) + 1]; ++i)
          use(order_[i]);
  }

 private:
  size_t cell_of(int column, int row) const {
    return static_cast<size_t>(row) * static_cast<size_t>(columns_) + static_cast<size_t>(column);
  }
  int columns_, rows_;
  std::vector<uint32_t> first_, order_;
};

bool can_be_letter(const Speck& speck) {
  const int height = speck.height(), width = speck.width();
  if (height < 3 || height > kMostCapital * 3 / 2 || width > 12 * height)
    return false;
  const int box = height * width;
  return speck.area * 8 >= box &&
         (speck.area * 20 <= box * 19 || width * 2 <= height);  // no frame, no block; "l" and "1" are full
}

constexpr uint32_t kNone = UINT32_MAX;

// The letter that follows each one, kNone where there is none.
std::vector<uint32_t> followers(const Grey& grey, const std::vector<Speck>& letters) {
  const Places places(grey, letters);
  std::vector<uint32_t> next(letters.size(), kNone), last(letters.size(), kNone);
  for (uint32_t i = 0; i < letters.size(); ++i) {
    const Speck& a = letters[i];
    int least = INT32_MAX;
    places.each(a.right - 1, a.right + 2 * kMostCapital, a.top, a.bottom, [&](uint32_t j) {
      const Speck& b = letters[j];
      const int gap = b.left - a.right - 1, low = std::min(a.height(), b.height()), high = std::max(a.height(), b.height());
      const int overlap = std::min(a.bottom, b.bottom) - std::max(a.top, b.top) + 1;
      const int darker = std::max(a.mean_contrast(), b.mean_contrast()), lighter = std::min(a.mean_contrast(), b.mean_contrast());
      if (j == i || a.light != b.light || gap < -1 || gap > high * 5 / 4 || overlap * 5 < low * 3 || high * 5 > low * 11 ||
          lighter * 2 < darker || gap >= least)
        return;
      least = gap;
      next[i] = j;
    });
    if (next[i] == kNone)
      continue;
    const uint32_t rival = last[next[i]];  // of two that are followed by one the nearer keeps it
    if (rival != kNone && letters[rival].right >= a.right) {
      next[i] = kNone;
      continue;
    }
    if (rival != kNone)
      next[rival] = kNone;
    last[next[i]] = i;
  }
  return next;
}

struct Line {
  float capital = 0;  // height, in pixels of the pass
  uint32_t letters = 0, specks = 0;
};

// What a row of letters comes to; 0 letters if it is none.
Line line_of(std::span<const Speck* const> row) {
  if (row.size() < 4)
    return {};
  std::vector<int> heights;
  int level = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    heights.push_back(row[i]->height());
    if (i > 0 && std::abs(row[i]->bottom - row[i - 1]->bottom) <= 1 + row[i]->height() / 12)
      ++level;
  }
  if (level * 20 < static_cast<int>(row.size() - 1) * 11)
    return {};  // letters stand on a line, but for those that hang below it
  const size_t at = (heights.size() - 1) * 4 / 5;
  std::nth_element(heights.begin(), heights.begin() + static_cast<std::ptrdiff_t>(at), heights.end());
  const int capital = heights[at];
  Line line{static_cast<float>(capital) - kSoftEdges, 0, static_cast<uint32_t>(row.size())};
  for (const Speck* speck : row)
    line.letters += static_cast<uint32_t>(std::max(1, (2 * speck->width() + capital) / (2 * capital)));  // words that touch
  return line;
}

// The lines of specks of one polarity.
std::vector<Line> lines_of(const Grey& grey, const std::vector<Speck>& letters) {
  const std::vector<uint32_t> next = followers(grey, letters);
  std::vector<bool> follows(letters.size());
  for (const uint32_t i : next)
    if (i != kNone)
      follows[i] = true;
  std::vector<Line> lines;
  std::vector<const Speck*> row;
  for (uint32_t i = 0; i < letters.size(); ++i) {
    if (follows[i])
      continue;
    row.clear();
    for (uint32_t j = i; j != kNone; j = next[j])
      row.push_back(&letters[j]);
    if (const Line line = line_of(row); line.letters > 0)
      lines.push_back(line);
  }
  return lines;
}

// The lines of one pass, with sizes in pixels of the picture; none where most of what could be letters is in no line.
std::vector<Line> lines_in(const Grey& grey, float shrink) {
  Specks specks;
  if (!specks.find(grey))
    return {};
  std::vector<Line> best;
  uint32_t most = 0;
  for (const bool light : {false, true}) {  // holes in dark letters are light: what there is more of is print
    std::vector<Speck> letters;
    for (uint32_t i = 0; i < specks.all.size(); ++i)
      if (const Speck& speck = specks.all[i]; speck.owner == i && speck.light == light && can_be_letter(speck))
        letters.push_back(speck);
    std::vector<Line> lines = lines_of(grey, letters);
    uint32_t in_lines = 0;
    for (const Line& line : lines)
      in_lines += line.specks;
    if (in_lines <= most || in_lines * 100 < letters.size() * kLeastShare)
      continue;
    most = in_lines;
    best = std::move(lines);
  }
  for (Line& line : best)
    line.capital *= shrink;
  return best;
}

uint32_t letters_in(std::span<const Line> lines) {
  return std::accumulate(lines.begin(), lines.end(), 0u, [](uint32_t sum, const Line& line) { return sum + line.letters; });
}

}  // namespace

TextSize find_small_text(const uint8_t* rgb, uint32_t width, uint32_t height, float limit) {
  const float capital_limit = kCapitals * limit;
  uint32_t shrink = 1;
  while (uint64_t{width / shrink} * (height / shrink) > kMostPixels)
    shrink *= 2;
  if (capital_limit <= kLeastCapital)
    return {};
  std::vector<Line> small;
  Grey grey = grey_of(rgb, width, height, shrink);
  for (float least = kLeastCapital;; least = kMostCapital / 2, shrink *= 2, grey = halved(grey)) {
    const auto scale = static_cast<float>(shrink);
    std::vector<Line> lines = lines_in(grey, scale);
    const uint32_t all = letters_in(lines);
    std::erase_if(lines, [&](const Line& line) {
      return line.capital < least * scale - kSoftEdges || line.capital > kMostCapital * scale || line.capital >= capital_limit;
    });
    if (letters_in(lines) * 100 >= all * kLeastSmall)
      small.insert(small.end(), lines.begin(), lines.end());
    if (scale * kMostCapital >= capital_limit || grey.width < 4 * kMostCapital || grey.height < 2 * kMostCapital)
      break;
  }
  const uint32_t letters = letters_in(small);
  if (letters < kLeastLetters || small.size() < kLeastLines)
    return {};
  std::sort(small.begin(), small.end(), [](const Line& a, const Line& b) { return a.capital < b.capital; });
  uint32_t below = 0;
  const auto median =
      std::find_if(small.begin(), small.end(), [&](const Line& line) { return 2 * (below += line.letters) >= letters; });
  return {median->capital / kCapitals, letters};
}

TextSize find_text_lost_by_resize(const uint8_t* rgb, uint32_t width, uint32_t height, uint32_t resized_width) {
  if (resized_width == 0)
    return {};
  return find_small_text(rgb, width, height, kLeastTextPixels * static_cast<float>(width) / static_cast<float>(resized_width));
}

}  // namespace vl2
