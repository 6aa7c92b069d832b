// What each command of `vl2` takes, and its entry. main.cpp fills the options from the command line and prints the Status.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/vl2.h"
#include "runtime/status.h"

namespace vl2 {

struct QuantizeMix;

/// Options of every command that loads a model.
struct ModelOptions {
  std::string model;       ///< -m: folder with config.json, tokenizer.json, *.safetensors; or a GGUF file
  std::string type;        ///< --type: the name of a QuantizeMix that weights are turned into while they are read; empty: none
  std::string device;      ///< --device: index, name or UUID; empty: VL2_DEVICE, else the best
  std::string vram;        ///< --vram: as parse_byte_size has it: device memory to make do with; empty: all there is
  std::string ram;         ///< --ram: likewise, of host memory for experts that do not fit there; empty: what is free
  uint32_t context = 0;    ///< -c: tokens; 0: as many as the model holds
  uint32_t chunk = 0;      ///< --chunk: tokens a prefill step; 0: the device's default
  std::string cache_type;  ///< --cache-type: f16 or q8_0; empty: f16
  std::string cache_type_k, cache_type_v;  ///< --cache-type-k, --cache-type-v: llama.cpp's words for the same, both at a time
  uint32_t tiles = 0;                      ///< --tiles: most tiles of a picture; 0: as many as the model takes
  /// --picture-cache: device memory to keep pictures in, as parse_byte_size has it, or "0"; empty: of what the model leaves
  std::string picture_cache;
  bool quiet = false;              ///< -q: no progress on stderr
  std::string gpu_layers, mmproj;  ///< -ngl, --mmproj: llama.cpp's, of no effect
  /// --no-expert-cache: a model that does not fit is refused, its experts are not kept in host memory
  bool no_expert_cache = false;
};

/// What --cache-type says, or its twins: a CacheType, which is a vl2_cache_type.
///
/// Errors  BadArgument: no such type; one twin without the other, or two that differ
Result<uint32_t> cache_type_of(const ModelOptions& options);

/// `vl2 devices`: the Vulkan devices, which one is chosen, and why not the others.
struct DevicesOptions {
  bool json = false;
};
Status devices_command(const DevicesOptions& options);

/// `vl2 tune`: measures this device's kernels and keeps what it finds for later runs.
struct TuneCommandOptions {
  std::string device;    ///< --device
  double seconds = 20;   ///< --seconds: in all
  bool compare = false;  ///< --compare: time the products whose plan changed
  bool force = false;    ///< --force: on a CPU driver too
};
Status tune_command(const TuneCommandOptions& options);

/// `vl2 tiles`: canvas, grid and tokens of pictures; the views as u8 [views, 384, 384, 3], the whole picture first.
struct TilesOptions {
  std::vector<std::string> images;
  uint32_t image_count = 0;  ///< --images: pictures in the conversation; 0: 1
  std::string npy;           ///< --npy: file for the views of a single picture
  std::string npy_dir;       ///< --npy-dir: folder that gets views_0.npy, views_1.npy, ...
  std::string device;
};
Status tiles_command(const TilesOptions& options);

/// `vl2 features`: what encoder, projector and assembly make of pictures, as .npy.
struct FeaturesOptions {
  ModelOptions model;
  std::vector<std::string> images;
  std::string out;  ///< folder for vision_K.npy, projector_K.npy, sequence_K.npy
};
Status features_command(const FeaturesOptions& options);

/// `vl2 logits`: logits of given ids, then greedy ids through the cache.
struct LogitsOptions {
  ModelOptions model;
  std::vector<std::string> images;
  std::string ids;              ///< .npy, i32 or i64 [T]; a picture's positions hold the image token's id
  std::string out;              ///< .npy, f32 [N, vocab_size]
  uint32_t last = 1;            ///< N
  uint32_t greedy = 0;          ///< M greedy ids after the last one
  std::string greedy_out;       ///< .npy, i32 [M]
  int64_t image_token_id = -1;  ///< -1: from tokenizer.json
};
Status logits_command(const LogitsOptions& options);

/// `vl2 quantize`: a model into one GGUF file.
struct QuantizeCommandOptions {
  std::string in;          ///< folder, or GGUF file
  std::string out;         ///< GGUF file
  std::string type;        ///< --type: the name of a QuantizeMix
  bool text_only = false;  ///< --text-only: as llama.cpp loads it
  uint32_t threads = 0;    ///< --threads; 0: one a core, at most 16
  bool quiet = false;
};
Status quantize_command(const QuantizeCommandOptions& options);

/// "F16, Q8_0, ...", for --help and messages.
std::string quantize_type_names();

/// What --type names.
///
/// Errors  BadArgument, with the names that there are
Result<const QuantizeMix*> quantize_mix_of(const std::string& type);

/// `vl2 inspect`: what is in a GGUF file or a model folder.
struct InspectOptions {
  std::string path;
};
Status inspect_command(const InspectOptions& options);

/// `vl2 plan`: the device memory that a model needs, against what there is; nothing is loaded.
struct PlanOptions {
  ModelOptions model;              ///< its folder may be empty: then `synthetic`
  std::string synthetic;           ///< --synthetic: the shapes of tiny, small or base
  uint32_t layers = 0;             ///< --layers: of the decoder and of the encoder, at most; 0: all
  std::vector<std::string> sizes;  ///< --image-size: WxH of pictures shown; none: a photo
  bool no_pictures = false;        ///< --no-pictures
  bool json = false;
};
Status plan_command(const PlanOptions& options);

/// `vl2 bench`: prefill, decode, vision, first token, load and start, timed.
struct BenchOptions {
  ModelOptions model;                          ///< its folder may be empty: then `synthetic`
  std::string synthetic;                       ///< --synthetic: made-up weights of tiny, small or base
  uint32_t layers = 0;                         ///< --layers: of the decoder and of the encoder, at most; 0: all
  uint32_t expert_slots = 0;                   ///< --expert-slots: not on the device, so many of a layer cached; 0: as it fits
  float temperature = 0;                       ///< --temp: of decoded tokens; made-up weights repeat themselves at 0
  float router_skew = 0;                       ///< --router-skew: with `synthetic`, how much some experts are preferred
  std::vector<uint32_t> prompts = {512};       ///< -p; 0 leaves a row out, here and below
  std::vector<uint32_t> generates = {128};     ///< -n
  std::vector<uint32_t> depths = {0};          ///< -d: tokens in the cache before
  std::vector<uint32_t> batches;               ///< --batch: conversations decoded together; none: no such rows
  std::vector<uint32_t> views = {1, 2, 10};    ///< --views
  std::vector<uint32_t> first_token = {1152};  ///< --first-token: side of the picture
  uint32_t repeats = 5;                        ///< -r
  std::string output = "md";                   ///< -o
  bool start = false;                          ///< --start: time a fresh process, too
  bool ops = false;                            ///< --ops: time a dispatch
  bool shapes = false;                         ///< --shapes: by what a dispatch costs, too
  bool pipelines = false;                      ///< --pipelines: what the driver says of each pipeline, nothing timed
  bool start_probe = false;                    ///< be the fresh process
};
Status bench_command(const BenchOptions& options);

/// How answers are chosen. Numbers that change nothing are 1 rather than 0 where that says the same: jobs of batch go by it.
struct AnswerOptions {
  /// Its numbers, each set by set_reply_number(); nothing else of it.
  vl2_reply_options reply{.struct_size = sizeof(vl2_reply_options), .max_tokens = 512, .top_p = 1, .repeat_penalty = 1};
  bool no_loop_guard = false;  ///< --no-loop-guard: an answer that repeats itself goes on to its limit
};

/// `vl2 run`: one question about pictures, its answer on stdout.
struct RunOptions {
  ModelOptions model;
  std::vector<std::string> images;
  std::string prompt;
  AnswerOptions answer;
  bool json = false;
  bool special = false;        ///< print grounding tags as they are generated
  std::string annotate;        ///< PNG with the boxes drawn
  bool probabilities = false;  ///< of boxes; the logits of every token are copied for that
  bool list_boxes = false;     ///< print a line a box instead of the answer
  bool dry_run = false;        ///< --dry-run: print tiles, tokens and memory, and ask nothing
  std::string schema;          ///< --json-schema: a built-in one's name, a JSON Schema, or a file with one; empty: any text
};
Status run_command(const RunOptions& options);

/// `vl2 ground`: where a thing is in a picture; `run` with the model's prompt for that.
struct GroundOptions {
  RunOptions run;    ///< but for its prompt
  std::string what;  ///< the words for the thing
  bool all = false;  ///< --all: every one of them
};
Status ground_command(const GroundOptions& options);

/// What the model was taught to be asked: "<|ref|>the red car<|/ref|>.".
///
/// Errors  BadArgument: no words, more than a line of them, or tags among them
/// Source  DeepSeek-VL2 README.md, the visual grounding examples
Result<std::string> grounding_prompt(const std::string& what, bool all);

/// `vl2 ocr`: the text of a picture; `run` with this prompt, which the user may change.
///
/// Source  OCRBench's question for text, which DeepSeek-VL2's authors published scores for; they named no prompt of their own
inline constexpr const char* kReadingPrompt = "What is written in the image?";

/// `vl2 chat`: a conversation about pictures, a line of standard input a message or a command.
struct ChatOptions {
  ModelOptions model;
  std::vector<std::string> images;  ///< of the first message
  AnswerOptions answer;
  std::string session;   ///< --session: file that the conversation is taken from, if there is one, and saved to at the end
  bool dry_run = false;  ///< --dry-run: print tiles, tokens and memory, and ask nothing
};
Status chat_command(const ChatOptions& options);

/// `vl2 batch`: one question about each of many pages, results in a file that a later start goes on with.
struct BatchOptions {
  static constexpr uint32_t kMostSlots = 64;
  ModelOptions model;
  std::vector<std::string> inputs;  ///< files, folders, patterns; "-": a list on stdin; with merge: the shards' files
  std::string list;                 ///< --list: file with a path a line
  bool recursive = false;
  std::string pages;              ///< --pages: of each PDF, "1-3,7,9-"; empty: all
  uint32_t pdf_long_side = 1760;  ///< --pdf-size: pixels; A4 at 150 dpi
  std::string prompt;
  std::string out;            ///< -o; empty: stdout, which cannot be resumed
  std::string format;         ///< --format; empty: by the ending of `out`
  std::string shard;          ///< --shard I/N
  std::string merge;          ///< --merge: the file to put shards together in
  bool restart = false;       ///< --restart: throw away the results there are
  bool dry_run = false;       ///< --dry-run: print pages, tiles, tokens and memory, and ask nothing
  bool retry_failed = false;  ///< --retry-failed: ask about pages again that have an error
  uint32_t slots = 0;         ///< --slots: pages answered at a time; 0: as many as usual
  AnswerOptions answer;       ///< of each page; the seed is the same for all
};
/// The exit status: 0, or 1 when there are pages with an error.
Result<int> batch_command(const BatchOptions& options);

/// `vl2 serve`: an OpenAI-compatible server and its page, until SIGTERM or Ctrl-C.
struct ServeOptions {
  ModelOptions model;
  std::string host = "127.0.0.1";
  uint16_t port = 8080;                 ///< 0: any free one; the address is printed
  std::string api_key;                  ///< empty: VL2_API_KEY
  std::vector<std::string> host_names;  ///< --host-name: names that clients may call the server by, beside the host
  uint32_t slots = 1;                   ///< --parallel: answers at a time
  uint32_t queue = 64;                  ///< --queue: requests that wait for a slot
  uint32_t drain_seconds = 30;          ///< --drain: how long answers may go on after SIGTERM
};
Status serve_command(const ServeOptions& options);

/// `vl2 selftest`: whether this device computes what it should.
struct SelfTestOptions {
  ModelOptions model;  ///< its folder may be empty: operators alone
  bool json = false;
};
/// The exit status: 0, or 1 when a check failed.
Result<int> selftest_command(const SelfTestOptions& options);

/// `vl2 tokenize`: texts to ids or back, a JSON value a line.
struct TokenizeOptions {
  std::string model;
  bool jsonl = false;
  bool decode = false;
  bool special = false;  ///< recognise control tokens in the text; with decode: keep them
};
Status tokenize_command(const TokenizeOptions& options);

}  // namespace vl2
