// How far each format of `vl2 quantize`, and an 8-bit cache, moves the probabilities of the next token, on models at hand. Prints a table; run by name:
//   vl2_tests --no-skip -tc="measure: quality ladder*"
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "app/image_file.h"
#include "model/model_files.h"
#include "model/prompt.h"
#include "model/quantize_mix.h"
#include "model/session.h"
#include "tests/support/gpu_test.h"
#include "tests/support/paths.h"
#include "tests/support/toy_checkpoint.h"

using namespace vl2;

namespace {

// Ids with their pictures, and which positions count: those that predict the last `last` ids, and one more.
struct Sample {
  std::vector<uint32_t> ids;
  std::vector<std::string> pictures;
  uint32_t first_picture = 0;  // its run begins there
  uint32_t last = 0;
};

// Logits of the counted positions of all samples, row by row.
using Rows = std::vector<std::vector<float>>;

const std::map<std::string, std::vector<std::string>> kQuestions = {
    {"form.png", {"What is the order?", "What is the age?", "What is the amount?", "Read the text."}},
    {"receipt.png",
     {"What is the total?", "What is the price of Sugar?", "What is the price of Cake?", "What is the store name?",
      "What is the date?"}},
    {"scene.png",
     {"<|ref|>the blue circle<|/ref|>.", "<|ref|>the purple star<|/ref|>.", "How many circles are there?", "What shape is blue?",
      "How many shapes are there?"}},
};

// Of each row, in ascending order: sum p (log p - log q), in nats, in double.
std::vector<double> divergences(const Rows& wanted, const Rows& got) {
  REQUIRE(wanted.size() == got.size());
  const auto log_sum = [](const std::vector<float>& row) {
    const double most = static_cast<double>(*std::max_element(row.begin(), row.end()));
    double sum = 0;
    for (const float value : row)
      sum += std::exp(static_cast<double>(value) - most);
    return most + std::log(sum);
  };
  std::vector<double> rows;
  for (size_t r = 0; r < wanted.size(); ++r) {
    const double p_sum = log_sum(wanted[r]), q_sum = log_sum(got[r]);
    double total = 0;
    for (size_t i = 0; i < wanted[r].size(); ++i) {
      const double p = static_cast<double>(wanted[r][i]) - p_sum, q = static_cast<double>(got[r][i]) - q_sum;
      total += std::exp(p) * (p - q);
    }
    rows.push_back(total);
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

double same_argmax(const Rows& wanted, const Rows& got) {
  size_t same = 0;
  for (size_t r = 0; r < wanted.size(); ++r)
    same += std::max_element(wanted[r].begin(), wanted[r].end()) - wanted[r].begin() ==
            std::max_element(got[r].begin(), got[r].end()) - got[r].begin();
  return static_cast<double>(same) / static_cast<double>(wanted.size());
}

class Ladder {
 public:
  explicit Ladder(std::string folder) : folder_(std::move(folder)) {}

  std::unique_ptr<Engine> load(const QuantizeMix& mix, CacheType cache_type = CacheType::F16, int tier = 0) const {
    auto device = device_options_from_environment();
    REQUIRE(device.ok());
    EngineOptions options;
    options.device = device.take();
    options.device.tier = tier;
    options.context = 2048;
    options.mix = &mix;
    options.cache_type = cache_type;
    auto engine = Engine::load(folder_, options);
    REQUIRE_MESSAGE(engine.ok(), engine.message());
    return engine.take();
  }

  // Noise in, noise out: any ids do.
  void add_random_samples(const Engine& engine) {
    for (uint32_t sample = 0; sample < 4; ++sample) {
      Sample made;
      for (uint32_t i = 0; i < 64; ++i)
        made.ids.push_back(
            static_cast<uint32_t>(named_random("ladder" + std::to_string(sample), i) % engine.config().language.vocab_size));
      made.last = 64;
      samples_.push_back(made);
    }
  }

  // The demo's pictures with questions; what counts is the answer that f32 weights give.
  void add_questions(Engine& engine) {
    auto files = ModelFiles::open(folder_);
    REQUIRE(files.ok());
    auto tokenizer = files->tokenizer();
    REQUIRE(tokenizer.ok());
    auto control = ControlIds::find(*tokenizer);
    REQUIRE(control.ok());
    auto session = Session::create(engine, PlanChoice::Plain);
    REQUIRE(session.ok());
    for (const auto& [name, questions] : kQuestions) {
      const EncodedPicture picture = encode(**session, name);
      for (const std::string& question : questions) {
        const std::vector<Turn> turns = {{Role::User, question, {picture.sequence.dim(0)}}};
        auto prompt = build_prompt(*tokenizer, *control, turns);
        REQUIRE_MESSAGE(prompt.ok(), prompt.message());
        Sample sample{prompt->ids, {name}, prompt->images[0].first, 1};
        REQUIRE((*session)->clear().ok());
        const PictureRun run{sample.first_picture, &picture};
        REQUIRE((*session)->prefill(sample.ids, std::span(&run, 1)).ok());
        for (uint32_t step = 0; step < 48; ++step) {
          const auto next = (*session)->decode(1, {});
          REQUIRE(next.ok());
          if ((*next)[0] == control->eos)
            break;
          sample.ids.push_back((*next)[0]);
          ++sample.last;
        }
        samples_.push_back(sample);
      }
    }
  }

  Rows rows(Engine& engine) const {
    auto session = Session::create(engine, PlanChoice::Plain);
    REQUIRE(session.ok());
    std::map<std::string, EncodedPicture> pictures;
    Rows rows;
    for (const Sample& sample : samples_) {
      std::vector<PictureRun> runs;
      for (const std::string& name : sample.pictures) {
        if (pictures.count(name) == 0)
          pictures.emplace(name, encode(**session, name));
        runs.push_back({sample.first_picture, &pictures.at(name)});
      }
      REQUIRE((*session)->clear().ok());
      std::vector<float> logits;
      const LogitsRequest request{sample.last, &logits};
      REQUIRE((*session)->prefill(sample.ids, runs, request).ok());
      const size_t vocab = engine.config().language.vocab_size;
      REQUIRE(logits.size() == sample.last * vocab);
      for (size_t r = 0; r < sample.last; ++r)
        rows.emplace_back(logits.begin() + static_cast<std::ptrdiff_t>(r * vocab),
                          logits.begin() + static_cast<std::ptrdiff_t>((r + 1) * vocab));
    }
    return rows;
  }

 private:
  static EncodedPicture encode(Session& session, const std::string& name) {
    auto image = read_image_file(source_dir() + "/app/demo/pictures/" + name);
    REQUIRE(image.ok());
    auto encoded = session.encode({image->width, image->height, image->rgb}, 1);
    REQUIRE_MESSAGE(encoded.ok(), encoded.message());
    return encoded.take();
  }

  std::string folder_;
  std::vector<Sample> samples_;
};

// "Q4_K 61 %, Q6_K 20 %": what the model's elements become.
std::string shares(const QuantizeMix& mix, const Config& config) {
  std::map<std::string, double> elements;
  double all = 0;
  for (const GgufEntry& entry : gguf_entries(config, {.vision = true, .split_kv_b = false})) {
    const double count = static_cast<double>(entry.rows() * entry.columns());
    elements[dtype_name(type_in_mix(mix, entry))] += count;
    all += count;
  }
  std::string text;
  for (const auto& [name, count] : elements)
    text += (text.empty() ? "" : ", ") + name + " " + std::to_string(std::lround(100 * count / all)) + " %";
  return text;
}

void print_ladder(const std::string& name, const std::string& folder, bool questions, bool caches_alone = false) {
  Ladder ladder(folder);
  Rows wanted;
  {
    const auto engine = ladder.load(*find_quantize_mix("F32"));
    if (questions)
      ladder.add_questions(*engine);
    else
      ladder.add_random_samples(*engine);
    wanted = ladder.rows(*engine);
  }
  std::printf(
      "\n%s: %zu positions\n| type | mean KL | median | same likeliest token | elements |\n| --- | --- | --- | --- | --- |\n",
      name.c_str(), wanted.size());
  const auto print_row = [&](const QuantizeMix& mix, CacheType cache_type = CacheType::F16) {
    const auto engine = ladder.load(mix, cache_type);
    const Rows got = ladder.rows(*engine);
    const std::vector<double> kl = divergences(wanted, got);
    const double mean = std::accumulate(kl.begin(), kl.end(), 0.0) / static_cast<double>(kl.size());
    std::printf("| %s%s | %.2e | %.2e | %.1f %% | %s |\n", mix.name, cache_type == CacheType::Q8_0 ? ", cache q8_0" : "", mean,
                kl[kl.size() / 2], 100 * same_argmax(wanted, got), shares(mix, engine->config()).c_str());
    std::fflush(stdout);
  };
  print_row(*find_quantize_mix("F32"), CacheType::Q8_0);
  if (caches_alone)
    return;
  for (const QuantizeMix& mix : quantize_mixes())
    print_row(mix);
  if (questions)
    return;
  // Where it comes from: one kind of tensor alone.
  constexpr auto F32 = DType::F32, Q8_0 = DType::Q8_0, Q4_0 = DType::Q4_0;
  for (const DType type : {Q8_0, Q4_0}) {
    std::printf("%s alone:\n", dtype_name(type));
    print_row({"experts and embedding", 0, type, F32, F32, F32, F32, ""});
    print_row({"projections", 0, F32, type, F32, F32, F32, ""});
    print_row({"latent", 0, F32, F32, type, F32, F32, ""});
    print_row({"output", 0, F32, F32, F32, type, F32, ""});
  }
}

// What the rounding of activations to bytes costs: probabilities of tier 2 against those of tier 1, and of both against f32 weights.
void print_byte_products() {
  const std::string folder = source_dir() + "/app/demo/pico";
  Ladder ladder(folder);
  Rows wanted;
  {
    const auto engine = ladder.load(*find_quantize_mix("F32"));
    ladder.add_questions(*engine);
    wanted = ladder.rows(*engine);
  }
  const auto mean_of = [](const Rows& from, const Rows& to) {
    const std::vector<double> kl = divergences(from, to);
    return std::accumulate(kl.begin(), kl.end(), 0.0) / static_cast<double>(kl.size());
  };
  std::printf("\npico: %zu positions\n| type | tier 1 from F32 | tier 2 from F32 | tier 2 from tier 1 | same likeliest token |\n",
              wanted.size());
  const char* const only = std::getenv("VL2_LADDER_TYPE");  // a type takes minutes
  for (const std::string type : {"F16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_K_S", "Q4_0"}) {
    if (only != nullptr && type != only)
      continue;
    const auto rows = [&](int tier) { return ladder.rows(*ladder.load(*find_quantize_mix(type), CacheType::F16, tier)); };
    const Rows floats = rows(1), bytes = rows(2);
    std::printf("| %s | %.2e | %.2e | %.2e | %.1f %% |\n", type.c_str(), mean_of(wanted, floats), mean_of(wanted, bytes),
                mean_of(floats, bytes), 100 * same_argmax(floats, bytes));
    std::fflush(stdout);
  }
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "measure: what products of bytes cost the demo model" * doctest::skip()) {
  print_byte_products();
}

TEST_CASE_FIXTURE(GpuTest, "measure: the cache alone in the quality ladder of the demo model" * doctest::skip()) {
  print_ladder("pico", source_dir() + "/app/demo/pico", true, true);
}

TEST_CASE_FIXTURE(GpuTest, "measure: quality ladder of the demo model" * doctest::skip()) {
  print_ladder("pico", source_dir() + "/app/demo/pico", true);
}

TEST_CASE_FIXTURE(GpuTest, "measure: quality ladder of random models" * doctest::skip()) {
  if (const char* folder = std::getenv("VL2_LADDER_MODEL")) {  // say, of tests/llama/toy_model.py
    print_ladder(folder, folder, false);
    return;
  }
  for (const char* kind : {"mha_softmax", "mla_softmax", "mla_sigmoid"}) {
    const TemporaryFolder folder;
    write_toy_model(folder.path(), source_dir() + "/tests/golden/" + kind);
    print_ladder(kind, folder.path(), false);
  }
}
