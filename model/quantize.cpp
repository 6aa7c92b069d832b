#include "model/quantize.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <thread>

#include "model/gguf_keys.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

constexpr uint64_t kPieceElements = 1u << 19;  // 2 MiB of f32, in whole rows
constexpr uint32_t kMostThreads = 16;

// One tensor of the file in the making.
struct Job {
  GgufEntry entry;
  DType target = DType::F32;
  std::vector<const CheckpointTensor*> parts;
  DType source = DType::F32;  // of all parts
  uint64_t rows_a_piece = 1;

  uint64_t row_bytes(DType dtype) const { return dtype_bytes_of(dtype, entry.columns()); }
};

struct Piece {
  size_t job;
  uint64_t first_row, row_count;
};

double bits(DType dtype) {
  return 8.0 * dtype_block_bytes(dtype) / dtype_block(dtype);
}

Status find_parts(const Checkpoint& checkpoint, const std::string& path, Job& job) {
  for (const TensorPart& part : job.entry.parts) {
    const auto found = checkpoint.tensors().find(part.name);
    if (found == checkpoint.tensors().end())
      return fail(Code::BadFile, path, ": tensor ", part.name, " ", shape_text(part.shape), " is missing");
    const CheckpointTensor& tensor = found->second;
    if (tensor.shape != part.shape)
      return fail(Code::BadFile, path, ": tensor ", part.name, " is ", shape_text(tensor.shape), ", config.json wants ",
                  shape_text(part.shape));
    const WeightFormat* format = find_weight_format(tensor.dtype_text);
    if (format == nullptr)
      return fail(Code::Unsupported, path, ": tensor ", part.name, " is ", tensor.dtype_text, ", wanted floats or blocks");
    if (!job.parts.empty() && format->dtype != job.source)
      return fail(Code::BadFile, path, ": tensor ", part.name, " is ", tensor.dtype_text, ", unlike ", job.entry.parts[0].name);
    job.source = format->dtype;
    job.parts.push_back(&tensor);
  }
  return {};
}

// The elements of a row as published: not those of the file where it is transposed, or four-dimensional.
uint64_t published_columns(const Job& job) {
  const std::vector<uint64_t>& shape = job.entry.parts[0].shape;
  return job.entry.order == RowOrder::KeyUp ? shape.back() : job.entry.columns();
}

// Whole rows of the file, as f32. Any thread.
class RowReader {
 public:
  RowReader(const Checkpoint& checkpoint, const LanguageConfig& config) : checkpoint_(checkpoint), config_(config) {}

  Status read(const Job& job, uint64_t first_row, uint64_t row_count, std::vector<float>& values) {
    values.resize(row_count * job.entry.columns());
    switch (job.entry.order) {
      case RowOrder::Published: return read_published(job, first_row, row_count, values);
      case RowOrder::RopePairs: return read_pairs(job, first_row, row_count, values);
      case RowOrder::KeyUp: return read_key_up(job, first_row, row_count, values);
      case RowOrder::ValueUp: return read_value_up(job, first_row, row_count, values);
    }
    return {};
  }

  // The bytes as they are, where the file wants the type that the source has.
  Status read_bytes(const Job& job, uint64_t first_row, uint64_t row_count, std::vector<std::byte>& bytes) const {
    const uint64_t row_bytes = job.row_bytes(job.source);
    bytes.resize(row_count * row_bytes);
    if (job.entry.order == RowOrder::RopePairs) {
      for (uint64_t i = 0; i < row_count; ++i)
        VL2_TRY(checkpoint_.read(*job.parts[0], published_row(job, first_row + i) * row_bytes,
                                 std::span(bytes).subspan(i * row_bytes, row_bytes)));
      return {};
    }
    return each_part(job, first_row, row_count, [&](const CheckpointTensor& part, uint64_t row, uint64_t done, uint64_t count) {
      return checkpoint_.read(part, row * row_bytes, std::span(bytes).subspan(done * row_bytes, count * row_bytes));
    });
  }

 private:
  // Calls read(part, row within it, rows done before, rows) for each part that the rows first_row.. lie in.
  template <typename Read>
  static Status each_part(const Job& job, uint64_t first_row, uint64_t row_count, Read read) {
    const uint64_t rows_each = job.entry.rows() / job.parts.size();
    for (uint64_t done = 0; done < row_count;) {
      const uint64_t row = first_row + done, count = std::min(rows_each - row % rows_each, row_count - done);
      VL2_TRY(read(*job.parts[row / rows_each], row % rows_each, done, count));
      done += count;
    }
    return {};
  }

  // `count` rows of a published tensor.
  Status read_rows(const Job& job, const CheckpointTensor& part, uint64_t row, uint64_t count, std::span<float> values) {
    const uint64_t row_bytes = dtype_bytes_of(job.source, published_columns(job));
    bytes_.resize(count * row_bytes);
    VL2_TRY(checkpoint_.read(part, row * row_bytes, bytes_));
    return dequantize_row(job.source, bytes_, values, job.entry.name);
  }

  Status read_published(const Job& job, uint64_t first_row, uint64_t row_count, std::vector<float>& values) {
    const uint64_t columns = job.entry.columns();
    return each_part(job, first_row, row_count, [&](const CheckpointTensor& part, uint64_t row, uint64_t done, uint64_t count) {
      return read_rows(job, part, row, count, std::span(values).subspan(done * columns, count * columns));
    });
  }

  Status read_pairs(const Job& job, uint64_t first_row, uint64_t row_count, std::vector<float>& values) {
    const uint64_t columns = job.entry.columns();
    for (uint64_t i = 0; i < row_count; ++i)
      VL2_TRY(
          read_rows(job, *job.parts[0], published_row(job, first_row + i), 1, std::span(values).subspan(i * columns, columns)));
    return {};
  }

  // Where a row of the order RopePairs comes from.
  uint64_t published_row(const Job& job, uint64_t row) const {
    const uint64_t width = job.entry.rows() / config_.num_attention_heads, half = row % 2;
    return row / width * width + half * (width / 2) + row % width / 2;
  }

  // Pieces of these are whole heads.
  Status read_key_up(const Job& job, uint64_t first_row, uint64_t row_count, std::vector<float>& values) {
    const uint64_t rank = config_.kv_lora_rank, nope = config_.qk_nope_head_dim, head_rows = nope + config_.v_head_dim;
    std::vector<float> head(nope * rank);
    for (uint64_t done = 0; done < row_count; done += rank) {
      VL2_TRY(read_rows(job, *job.parts[0], (first_row + done) / rank * head_rows, nope, head));
      for (uint64_t k = 0; k < rank; ++k)
        for (uint64_t i = 0; i < nope; ++i)
          values[(done + k) * nope + i] = head[i * rank + k];
    }
    return {};
  }

  Status read_value_up(const Job& job, uint64_t first_row, uint64_t row_count, std::vector<float>& values) {
    const uint64_t rank = config_.kv_lora_rank, nope = config_.qk_nope_head_dim, value = config_.v_head_dim;
    for (uint64_t done = 0; done < row_count; done += value)
      VL2_TRY(read_rows(job, *job.parts[0], (first_row + done) / value * (nope + value) + nope, value,
                        std::span(values).subspan(done * rank, value * rank)));
    return {};
  }

  const Checkpoint& checkpoint_;
  const LanguageConfig& config_;
  std::vector<std::byte> bytes_;
};

// Rows that belong together: a head, where heads are taken apart.
uint64_t row_group(const GgufEntry& entry) {
  const bool by_head = entry.order == RowOrder::KeyUp || entry.order == RowOrder::ValueUp;
  return by_head ? entry.shape[1] : 1;
}

class Conversion {
 public:
  Conversion(const Checkpoint& checkpoint, const Config& config, std::vector<Job> jobs, GgufWriter& writer)
      : checkpoint_(checkpoint), config_(config), jobs_(std::move(jobs)), writer_(writer) {
    for (size_t i = 0; i < jobs_.size(); ++i) {
      const uint64_t rows = jobs_[i].entry.rows();
      for (uint64_t first = 0; first < rows; first += jobs_[i].rows_a_piece)
        pieces_.push_back({i, first, std::min(jobs_[i].rows_a_piece, rows - first)});
      total_bytes_ += rows * jobs_[i].row_bytes(jobs_[i].source);
    }
  }

  uint64_t total_bytes() const { return total_bytes_; }

  Status run(const QuantizeOptions& options) {
    const uint32_t cores = std::max(std::thread::hardware_concurrency(), 1u);
    const uint32_t count = options.threads > 0 ? options.threads : std::min(cores, kMostThreads);
    std::vector<std::thread> threads;
    running_ = count;
    for (uint32_t i = 0; i < count; ++i)
      threads.emplace_back([this] { work(); });
    {
      std::unique_lock lock(mutex_);
      while (running_ > 0) {
        changed_.wait_for(lock, std::chrono::milliseconds(100));
        if (options.progress && !options.progress(done_bytes_, total_bytes_) && status_.ok()) {
          status_ = fail(Code::Cancelled, "quantize: stopped");
          next_ = pieces_.size();
        }
      }
    }
    for (std::thread& thread : threads)
      thread.join();
    return status_;
  }

 private:
  void work() {
    RowReader reader(checkpoint_, config_.language);
    std::vector<float> values;
    std::vector<std::byte> bytes;
    for (;;) {
      const size_t index = next_.fetch_add(1);
      if (index >= pieces_.size())
        break;
      const Piece& piece = pieces_[index];
      const Status status = convert(piece, reader, values, bytes);
      done_bytes_ += piece.row_count * jobs_[piece.job].row_bytes(jobs_[piece.job].source);
      if (!status.ok()) {
        const std::lock_guard lock(mutex_);
        if (status_.ok())
          status_ = status;
        next_ = pieces_.size();
      }
    }
    const std::lock_guard lock(mutex_);
    --running_;
    changed_.notify_one();
  }

  Status convert(const Piece& piece, RowReader& reader, std::vector<float>& values, std::vector<std::byte>& bytes) {
    const Job& job = jobs_[piece.job];
    const uint64_t columns = job.entry.columns(), row_bytes = job.row_bytes(job.target);
    const bool whole_rows = job.entry.order == RowOrder::Published || job.entry.order == RowOrder::RopePairs;
    if (job.source == job.target && whole_rows) {
      VL2_TRY(reader.read_bytes(job, piece.first_row, piece.row_count, bytes));
    } else {
      VL2_TRY(reader.read(job, piece.first_row, piece.row_count, values));
      bytes.resize(piece.row_count * row_bytes);
      for (uint64_t i = 0; i < piece.row_count; ++i)
        VL2_TRY(quantize_row(job.target, std::span(values).subspan(i * columns, columns),
                             std::span(bytes).subspan(i * row_bytes, row_bytes),
                             "quantize: " + job.entry.name + ": row " + std::to_string(piece.first_row + i)));
    }
    return writer_.write(writer_.tensors()[piece.job], piece.first_row * row_bytes, bytes);
  }

  const Checkpoint& checkpoint_;
  const Config& config_;
  std::vector<Job> jobs_;
  GgufWriter& writer_;
  std::vector<Piece> pieces_;
  uint64_t total_bytes_ = 0;
  std::atomic<size_t> next_ = 0;
  std::atomic<uint64_t> done_bytes_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint32_t running_ = 0;  // with mutex_
  Status status_;         // with mutex_
};

Result<std::vector<Job>> plan_jobs(const Checkpoint& checkpoint, const Config& config, const std::string& path,
                                   const QuantizeMix& mix, const GgufLayout& layout) {
  std::vector<Job> jobs;
  for (GgufEntry& entry : gguf_entries(config, layout)) {
    Job job;
    job.target = type_in_mix(mix, entry);
    job.entry = std::move(entry);
    VL2_TRY(find_parts(checkpoint, path, job));
    const uint64_t group = row_group(job.entry);
    job.rows_a_piece = std::max<uint64_t>(kPieceElements / (job.entry.columns() * group), 1) * group;
    jobs.push_back(std::move(job));
  }
  return jobs;
}

Result<GgufKeys> make_keys(const ModelFiles& files, const Config& config, const QuantizeOptions& options) {
  namespace fs = std::filesystem;
  const fs::path source = fs::absolute(files.path()).lexically_normal();
  const std::string folder = (source.has_filename() ? source : source.parent_path()).filename().string();
  std::string name = files.is_gguf() ? source.stem().string() : folder;
  if (const GgufValue* held = files.is_gguf() ? files.gguf().find("general.name") : nullptr; held != nullptr && held->text())
    name = *held->text();
  GgufKeys keys = gguf_language_keys(config.language, name, options.mix->file_type, options.text_only);
  VL2_ASSIGN(std::string tokenizer, files.tokenizer_text());
  const std::string where = files.path() + ": tokenizer";
  VL2_TRY(Tokenizer::parse(tokenizer, where).status());  // what is wrong with it is said now, not when the file is used
  VL2_ASSIGN(const JsonValue parsed, parse_json_document(tokenizer, where));
  VL2_ASSIGN(GgufKeys tokenizer_keys, gguf_tokenizer_keys(parsed, config.language, where));
  std::move(tokenizer_keys.begin(), tokenizer_keys.end(), std::back_inserter(keys));
  VL2_ASSIGN(std::string config_text, files.config_text());
  VL2_ASSIGN(std::optional<std::string> processor, files.processor_text());
  keys.emplace_back(kGgufConfigKey, gguf_text(std::move(config_text)));
  keys.emplace_back(kGgufTokenizerKey, gguf_text(std::move(tokenizer)));
  if (processor.has_value())
    keys.emplace_back(kGgufProcessorKey, gguf_text(std::move(*processor)));
  return keys;
}

std::vector<GgufTensor> file_tensors(const std::vector<Job>& jobs) {
  std::vector<GgufTensor> tensors;
  for (const Job& job : jobs) {
    GgufTensor tensor;
    tensor.name = job.entry.name;
    tensor.shape = job.entry.shape;
    tensor.type = find_weight_format(job.target)->ggml_type;
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

QuantizeReport make_report(const std::vector<Job>& jobs, const GgufWriter& writer) {
  QuantizeReport report;
  uint64_t elements = 0, bytes = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const Job& job = jobs[i];
    elements += job.entry.rows() * job.entry.columns();
    bytes += writer.tensors()[i].byte_count;
    const bool widened = dtype_block(job.source) > 1 && bits(job.target) > bits(job.source);
    if (widened && !report.widened.has_value())
      report.widened =
          job.entry.name + " from " + find_weight_format(job.source)->name + " to " + find_weight_format(job.target)->name;
  }
  report.tensor_count = jobs.size();
  report.file_bytes = writer.file_bytes();
  report.bits_per_weight = 8.0 * static_cast<double>(bytes) / static_cast<double>(elements);
  return report;
}

}  // namespace

Result<QuantizeReport> quantize_model(const ModelFiles& files, const std::string& path, const QuantizeOptions& options) {
  VL2_ASSIGN(const Config config, files.config());
  if (const auto& yarn = config.language.yarn; options.text_only && yarn.has_value() && yarn->mscale != yarn->mscale_all_dim)
    return fail(Code::Unsupported, files.path(), ": rope_scaling.mscale is ", yarn->mscale, " and mscale_all_dim ",
                yarn->mscale_all_dim, ": llama.cpp has a key for the two being the same only");
  VL2_ASSIGN(const auto checkpoint, files.checkpoint(config));
  const GgufLayout layout{.vision = !options.text_only && config.has_vision, .split_kv_b = options.text_only};
  VL2_ASSIGN(std::vector<Job> jobs, plan_jobs(*checkpoint, config, files.path(), *options.mix, layout));
  VL2_ASSIGN(const GgufKeys keys, make_keys(files, config, options));
  VL2_ASSIGN(const auto writer, GgufWriter::create(path, keys, file_tensors(jobs)));
  QuantizeReport report = make_report(jobs, *writer);
  Conversion conversion(*checkpoint, config, std::move(jobs), *writer);
  report.source_bytes = conversion.total_bytes();
  VL2_TRY(conversion.run(options));
  VL2_TRY(writer->finish());
  return report;
}

}  // namespace vl2
