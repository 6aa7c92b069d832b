#include "runtime/tuning_file.h"

#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/pipeline_file.h"
#include "runtime/shader.h"

namespace vl2 {

namespace {

constexpr std::string_view kTitle = "vl2 tuning ", kVersion = "1", kSum = "sum ";
constexpr size_t kMaxBytes = 1 << 20;
constexpr size_t kMaxTiles = 1000;

// Rates belong to the code that was measured, and so does the verdict that its results are right.
uint64_t kernels_hash() {
  uint64_t hash = fnv1a64(nullptr, 0);
  for (uint32_t id = 0; id < kShaderCount; ++id) {
    const ShaderCode& code = shader_code(static_cast<ShaderId>(id));
    if (std::string_view(code.name).starts_with("gem") ||
        std::string_view(code.name).starts_with("quantize_rows"))  // gemm_*, gemv_*
      hash = fnv1a64(code.words.data(), code.words.size_bytes(), hash);
  }
  return hash;
}

std::string hex64(uint64_t value) {
  char text[17];
  const auto end = std::to_chars(text, text + sizeof(text), value, 16).ptr;
  const std::string digits(text, end);
  return std::string(16 - digits.size(), '0') + digits;
}

// The shortest text that reads back as the same number, whatever the locale.
std::string number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// A number that has to be positive, or at least 0.
std::optional<double> read_number(std::string_view text, bool zero = false) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value) || value < 0 || (value == 0 && !zero))
    return {};
  return value;
}

// The words of a line behind its name as small whole numbers.
std::optional<std::vector<uint32_t>> read_counts(std::span<const std::string_view> words) {
  std::vector<uint32_t> counts;
  for (const std::string_view word : words) {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size() || value > 1u << 20)
      return {};
    counts.push_back(value);
  }
  return counts;
}

bool read_tile(std::span<const std::string_view> words, const DeviceCaps& caps, DeviceTuning& tuning) {
  if (words.size() != 12)
    return false;
  const auto n = read_counts(words.first(11));
  const auto rate = read_number(words[11], true);
  if (!n || !rate)
    return false;
  const auto& c = *n;
  const MatrixTile tile{.rows = c[0],
                        .columns = c[1],
                        .subgroup_rows = c[2],
                        .subgroup_columns = c[3],
                        .k = c[4],
                        .stages = c[5],
                        .shape = {c[6], c[7], c[8], true},
                        .subgroup_size = c[9]};
  if (!tile_fits(caps, tile) || c[10] == 0 || c[10] > 64 || tuning.matrix_tiles.size() == kMaxTiles)
    return false;
  tuning.matrix_tiles.push_back({tile, c[10], *rate});
  return true;
}

// One line of what was measured; false when it makes no sense.
bool read_line(std::string_view line, const DeviceCaps& caps, DeviceTuning& tuning) {
  const std::vector<std::string_view> words = split(line, ' ');
  const auto rest = std::span(words).subspan(1);
  const std::pair<std::string_view, double*> figures[] = {
      {"cores", &tuning.cores}, {"dispatch_us", &tuning.dispatch_us}, {"cache_bytes_per_us", &tuning.cache_bytes_per_us}};
  for (const auto& [name, figure] : figures)
    if (words[0] == name) {
      const auto value = rest.size() == 1 ? read_number(rest[0]) : std::nullopt;
      *figure = value.value_or(0);
      return value.has_value();
    }
  if (words[0] == "matrix_tile")
    return read_tile(rest, caps, tuning);
  const auto counts = read_counts(rest);
  if (words[0] == "gemm_tile" && counts && counts->size() == 5) {
    const auto& c = *counts;
    tuning.gemm_tile = GemmTile{c[0], c[1], c[2], c[3], c[4]};
    return tile_fits(caps, *tuning.gemm_tile);
  }
  if (words[0] == "dot_tile" && counts && counts->size() == 5) {
    const auto& c = *counts;
    tuning.dot_tile = GemmTile{c[0], c[1], c[2], c[3], c[4]};
    return dot_tile_fits(caps, *tuning.dot_tile);
  }
  if (words[0] == "dots" && counts && counts->size() == 1) {
    tuning.dots = (*counts)[0] != 0;
    return (*counts)[0] <= 1;
  }
  if (words[0] == "gemv_group" && counts && counts->size() == 2) {
    const auto& c = *counts;
    tuning.gemv_group = GemvGroup{c[0], c[1], 1};
    return c[0] > 0 && c[0] <= caps.max_workgroup_invocations && c[1] > 0 && c[1] <= 1024;
  }
  return false;
}

ReadTuning refused(TuningState state, const DeviceCaps& caps) {
  return {state, known_tuning(caps), state == TuningState::Damaged ? "is damaged" : ""};
}

}  // namespace

std::string tuning_path(const std::string& cache_dir, const DeviceCaps& caps) {
  return cache_dir + "/tuning-" + caps.uuid + ".txt";
}

std::string format_tuning(const DeviceCaps& caps, const DeviceTuning& tuning) {
  std::string text = std::string(kTitle) + std::string(kVersion) + "\n";
  const auto line = [&](const char* name, const auto&... values) {
    text += name;
    ((text += " " + values), ...);
    text += "\n";
  };
  const auto counts = [](std::initializer_list<uint32_t> values) {
    std::string list;
    for (const uint32_t value : values)
      list += (list.empty() ? "" : " ") + std::to_string(value);
    return list;
  };
  line("device", caps.uuid);
  line("driver", std::to_string(caps.driver_version));
  line("kernels", hex64(kernels_hash()));
  line("cores", number(tuning.cores));
  line("dispatch_us", number(tuning.dispatch_us));
  line("cache_bytes_per_us", number(tuning.cache_bytes_per_us));
  for (const auto& [name, t] : {std::pair{"gemm_tile", &tuning.gemm_tile}, {"dot_tile", &tuning.dot_tile}})
    if (*t)
      line(name, counts({(*t)->threads_along_columns, (*t)->threads_along_rows, (*t)->rows_per_thread, (*t)->columns_per_thread,
                         (*t)->k}));
  if (!tuning.dots)
    line("dots", counts({0}));
  if (const auto& g = tuning.gemv_group)
    line("gemv_group", counts({g->threads, g->columns}));
  for (const TileRate& rate : tuning.matrix_tiles) {
    const MatrixTile& t = rate.tile;
    line("matrix_tile",
         counts({t.rows, t.columns, t.subgroup_rows, t.subgroup_columns, t.k, t.stages, t.shape.m, t.shape.n, t.shape.k,
                 t.subgroup_size, rate.fetch_parts}),
         number(rate.tflop_s));
  }
  return text + std::string(kSum) + hex64(fnv1a64(text.data(), text.size())) + "\n";
}

ReadTuning parse_tuning(std::string_view text, const DeviceCaps& caps) {
  // The checksum first: a file that is not whole says nothing reliable about where it comes from either.
  const size_t sum = text.rfind(kSum);
  if (!text.starts_with(kTitle) || sum == std::string_view::npos ||
      text.substr(sum) != std::string(kSum) + hex64(fnv1a64(text.data(), sum)) + "\n")
    return refused(TuningState::Damaged, caps);
  std::vector<std::string_view> lines = split(text.substr(0, sum), '\n');
  if (lines.size() < 5 || !lines.back().empty())
    return refused(TuningState::Damaged, caps);
  lines.pop_back();
  const std::string head[] = {std::string(kTitle) + std::string(kVersion), "device " + caps.uuid,
                              "driver " + std::to_string(caps.driver_version), "kernels " + hex64(kernels_hash())};
  for (size_t i = 0; i < std::size(head); ++i)
    if (lines[i] != head[i])
      return refused(TuningState::Foreign, caps);
  ReadTuning result{TuningState::Used, {}, ""};
  for (size_t i = std::size(head); i < lines.size(); ++i)
    if (!read_line(lines[i], caps, result.tuning))
      return refused(TuningState::Damaged, caps);
  return result;
}

ReadTuning read_tuning(const std::string& path, const DeviceCaps& caps) {
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return refused(TuningState::None, caps);
  std::string text(kMaxBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  ReadTuning result = parse_tuning(text, caps);
  if (!result.notice.empty())
    result.notice = path + ": " + result.notice + " and not used; `vl2 tune` writes it anew";
  return result;
}

Status write_tuning(const std::string& path, const DeviceCaps& caps, const DeviceTuning& tuning) {
  const std::string text = format_tuning(caps, tuning);
  return replace_file(path, {std::as_bytes(std::span(text))}, "the tuning");
}

}  // namespace vl2
