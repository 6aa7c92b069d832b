// The program: command line in, Status out. Exit code 0; 2 with one line on stderr; 130 when Ctrl-C cut the answer short; 1 when pages
// of a batch have errors.
#include <CLI/CLI.hpp>
#include <cctype>
#include <cstdio>
#include <memory>
#include <string_view>

#include "app/command_table.h"
#include "app/commands/commands.h"
#include "app/interrupt.h"
#include "app/reply_numbers.h"
#include "app/vl2.h"
#include "runtime/instance.h"

namespace {

using namespace vl2;

constexpr uint32_t kPageTokens = 2048;                // of an answer about a page; what the authors' evaluation allows
constexpr const char* kExpertGroup = "More options";  // of which --help says nothing and --help-all all

// Help without the group above, unless all of it is asked for.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    all_ = mode != CLI::AppFormatMode::Normal;
    return Formatter::make_help(app, name, mode);
  }
  std::string make_group(std::string group, bool is_positional, std::vector<const CLI::Option*> options) const override {
    return group == kExpertGroup && !all_ ? "" : Formatter::make_group(group, is_positional, options);
  }
  std::string make_footer(const CLI::App* app) const override {
    const auto is_expert = [](const CLI::Option* option) { return option->get_group() == kExpertGroup; };
    return all_ || app->get_options(is_expert).empty() ? Formatter::make_footer(app) : "--help-all shows more options.\n";
  }

 private:
  mutable bool all_ = true;
};

// The option can also be given as VL2_ and its long name, which the command line overrules.
CLI::Option* with_twin(CLI::Option* option) {
  std::string name = "VL2_" + option->get_lnames().front();
  for (char& c : name)
    c = c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return option->envname(name);
}

CLI::Option* add_model_options(CLI::App& command, ModelOptions& options, bool needs_model = true) {
  CLI::Option* model = command.add_option("-m,--model", options.model,
                                          "Folder with config.json, tokenizer.json and *.safetensors, or a GGUF file");
  if (needs_model)
    with_twin(model)->required();
  with_twin(command.add_option("--type", options.type, "Quantize while loading, as `vl2 quantize --type` does"));
  with_twin(command.add_option("--device", options.device, "GPU: its number, name or UUID (see `vl2 devices`)"));
  with_twin(command.add_option("-c,--ctx-size", options.context, "Tokens of context; 0: as many as the model holds"));
  with_twin(command.add_option("--vram", options.vram, "Device memory to make do with: 512M, 8G"));
  with_twin(command.add_option("--ram", options.ram,
                               "Host memory for experts that do not fit on the device: 4G; what is over is read from the file "
                               "(default: what is free)"))
      ->group(kExpertGroup);
  with_twin(command.add_option("--max-tiles,--tiles", options.tiles,
                               "Most tiles of a picture: less memory, fewer tokens, less detail; 0: no limit"));
  with_twin(command.add_flag("-q,--quiet", options.quiet, "No progress, notes and warnings on standard error"));
  command
      .add_flag("--no-expert-cache", options.no_expert_cache,
                "Refuse a model that does not fit rather than keep experts in host memory or in the file")
      ->group(kExpertGroup);
  with_twin(command.add_option("--chunk", options.chunk, "Tokens a prefill step; 0: the device's default"))->group(kExpertGroup);
  with_twin(command.add_option("--cache-type", options.cache_type, "Keys and values in f16 or q8_0: 8 bits take half the memory"))
      ->group(kExpertGroup);
  command.add_option("--cache-type-k", options.cache_type_k)->group("");
  command.add_option("--cache-type-v", options.cache_type_v)->group("");
  command
      .add_option("--n-gpu-layers,--gpu-layers", options.gpu_layers,
                  "llama.cpp's, also -ngl: of no effect, all layers run on the device")
      ->group(kExpertGroup);
  command.add_option("--mmproj", options.mmproj, "llama.cpp's: of no effect, models bring their projector")->group(kExpertGroup);
  return model;
}

void add_picture_cache(CLI::App& command, ModelOptions& options) {
  command.add_option(
      "--picture-cache", options.picture_cache,
      "Device memory to keep pictures in for the next question about them: 64M, 1G; 0: none (default: what is left "
      "over, 256M at most)");
}

void add_answer_options(CLI::App& command, AnswerOptions& options, uint32_t most_tokens = 512) {
  vl2_reply_options& reply = options.reply;
  reply.max_tokens = most_tokens;
  const auto add = [&](const char* names, const char* type, const char* field, const char* help) {
    CLI::Option* const option = command.add_option_function<std::string>(
        names,
        [&reply, field, name = std::string(names).substr(std::string(names).find("--"))](const std::string& given) {
          if (const std::string problem = set_reply_number(reply, field, number_of_text(given)); !problem.empty())
            throw CLI::ValidationError(name, problem);
        },
        help);
    return with_twin(option->type_name(type));
  };
  add("-n,--predict", "UINT", "max_tokens", "Most tokens to answer with; 0: as many as the context holds")
      ->default_str(std::to_string(most_tokens));
  add("--temp", "FLOAT", "temperature", "Temperature; 0: always the likeliest token");
  add("--top-k", "UINT", "top_k", "Draw from the k likeliest; 0: from all");
  add("--top-p", "FLOAT", "top_p", "Draw from the likeliest that sum to p; 1: from all");
  add("--min-p", "FLOAT", "min_p", "Draw from those at least p times as likely as the likeliest; 0: from all");
  add("--repeat-penalty", "FLOAT", "repeat_penalty", "Divide the logits of tokens that occurred; 0 or 1: off");
  add("--seed", "INT", "seed", "Seed of the draws");
  with_twin(command.add_flag("--no-loop-guard", options.no_loop_guard, "Let an answer that repeats itself go on to its limit"));
}

void add_chat(CLI::App& app, ChatOptions& options) {
  CLI::App* command = app.add_subcommand("chat", "Talk about pictures, a line a message; /help lists what else a line can be");
  add_model_options(*command, options.model);
  add_picture_cache(*command, options.model);
  command->add_option("--image", options.images, "A picture for the first message; may be given again")->take_all()->expected(1);
  add_answer_options(*command, options.answer);
  command->add_option("--session", options.session,
                      "Go on with the conversation in this file, if there is one; saved to it at the end");
  command->add_flag("--dry-run", options.dry_run, "Print tiles and tokens of the pictures, and memory, and ask nothing");
}

void add_run(CLI::App& app, RunOptions& options) {
  CLI::App* command = app.add_subcommand("run", "Answer a question about pictures");
  add_model_options(*command, options.model);
  command->add_option("--image", options.images, "A picture; may be given again")->take_all()->expected(1);
  command->add_option("-p,--prompt", options.prompt, "The question")->required();
  add_answer_options(*command, options.answer);
  command->add_flag("--json", options.json, "Print one JSON object instead of text");
  command->add_flag("--dry-run", options.dry_run, "Print tiles, tokens and memory, and ask nothing");
  command->add_flag("--special", options.special, "Print grounding tags as they are generated");
  command->add_option("--json-schema", options.schema,
                      "Answer in JSON of this schema: a file, the text itself, or one of boxes, table, kv, object");
  command->add_option("--annotate", options.annotate, "Write the last picture with its boxes drawn to this PNG");
}

void add_presets(CLI::App& app, GroundOptions& ground, RunOptions& ocr) {
  CLI::App* command = app.add_subcommand("ground", "Print where a thing is in a picture: a box a line, in pixels");
  add_model_options(*command, ground.run.model);
  command->add_option("--image", ground.run.images, "The picture")->required()->expected(1)->allow_extra_args(false);
  command->add_option("what", ground.what, "The thing, in words: \"the red car\"")->required();
  command->add_flag("--all", ground.all, "Every one of them: \"cars\"");
  command->add_flag("--json", ground.run.json, "Print one JSON object, its boxes with their probability");
  command->add_option("--annotate", ground.run.annotate, "Write the picture with the boxes drawn to this PNG");

  command = app.add_subcommand("ocr", "Print the text in a picture");
  add_model_options(*command, ocr.model);
  command->add_option("--image", ocr.images, "The picture")->required()->expected(1)->allow_extra_args(false);
  ocr.prompt = kReadingPrompt;
  command->add_option("-p,--prompt", ocr.prompt, "How the model is asked")->capture_default_str();
  add_answer_options(*command, ocr.answer, kPageTokens);
  command->add_flag("--dry-run", ocr.dry_run, "Print tiles, tokens and memory, and ask nothing");
  command->add_flag("--json", ocr.json, "Print one JSON object, its boxes (if any) with their probability");
}

void add_batch(CLI::App& app, BatchOptions& options) {
  CLI::App* command = app.add_subcommand("batch", "Ask one question about each of many pictures and PDF pages");
  add_model_options(*command, options.model)->required(false);  // --merge needs none
  command->add_option("inputs", options.inputs, "Files, folders, patterns; -: a list of them on standard input")
      ->type_name("INPUT");
  command->add_option("--list", options.list, "File with an input a line");
  command->add_flag("--recursive", options.recursive, "Folders in folders, too");
  command->add_option("--pages", options.pages, "Pages of each PDF, as 1-3,7,9-");
  command->add_option("--pdf-size", options.pdf_long_side, "Pixels of the longer side that PDF pages are drawn with")
      ->capture_default_str()
      ->check(CLI::Range(64u, 8192u));
  command->add_option("-p,--prompt", options.prompt, "The question");
  command->add_option("-o,--output", options.out,
                      "File for the results; the same command goes on with it. None: standard output");
  command->add_option("--format", options.format, "text, md, json or jsonl; otherwise the ending of -o tells");
  command->add_flag("--restart", options.restart, "Throw away the results there are, and begin anew");
  command->add_flag("--dry-run", options.dry_run, "Print pages, tiles, tokens and memory; ask and write nothing");
  command->add_flag("--retry-failed", options.retry_failed,
                    "Ask again about pages that failed, whose files may have been mended");
  command->add_option("--shard", options.shard, "I/N: the I-th of N parts, every N-th page");
  command->add_option("--merge", options.merge, "Put the files of all shards, the inputs here, together in this one");
  with_twin(command->add_option("--slots", options.slots,
                                "Pages answered at a time; each takes a context's memory (default: 4, or what fits)"))
      ->check(CLI::Range(1u, BatchOptions::kMostSlots));
  add_answer_options(*command, options.answer, kPageTokens);
}

void add_serve(CLI::App& app, ServeOptions& options) {
  CLI::App* command = app.add_subcommand("serve", "Answer the OpenAI API over HTTP, and show a page to ask from");
  add_model_options(*command, options.model);
  add_picture_cache(*command, options.model);
  with_twin(command->add_option("--host", options.host, "Address to listen on; one that others can reach needs --api-key"))
      ->capture_default_str();
  with_twin(command->add_option("--port", options.port, "Port; 0: any free one"))->capture_default_str();
  command->add_option("--api-key", options.api_key, "Key that clients must send; also VL2_API_KEY, which other users cannot see");
  command->add_option("--host-name", options.host_names, "A name that clients may call this server by")
      ->take_all()
      ->expected(1)
      ->group(kExpertGroup);
  with_twin(command->add_option("--parallel", options.slots, "Answers given at a time"))
      ->capture_default_str()
      ->check(CLI::Range(1u, 64u));
  command->add_option("--queue", options.queue, "Requests that may wait for one of them")
      ->capture_default_str()
      ->check(CLI::Range(0u, 10000u))
      ->group(kExpertGroup);
  command->add_option("--drain", options.drain_seconds, "Seconds that answers may still take after SIGTERM")
      ->capture_default_str()
      ->check(CLI::Range(0u, 86400u))
      ->group(kExpertGroup);
}

void add_inspection(CLI::App& app, TilesOptions& tiles, FeaturesOptions& features, LogitsOptions& logits) {
  CLI::App* command = app.add_subcommand("tiles", "Show how pictures are cut into views");
  command->add_option("image", tiles.images, "Pictures")->required();
  command->add_option("--images", tiles.image_count, "Pictures in the conversation: more than two are not tiled");
  command->add_option("--npy", tiles.npy, "Write the views of one picture, u8 [views, 384, 384, 3]");
  command->add_option("--npy-dir", tiles.npy_dir, "Write the views of each picture to this folder, as views_K.npy");
  command->add_option("--device", tiles.device, "GPU: its number, name or UUID");

  command = app.add_subcommand("features", "Write what encoder, projector and assembly make of pictures");
  add_model_options(*command, features.model);
  command->add_option("--image", features.images, "A picture; may be given again")->required()->take_all()->expected(1);
  command->add_option("--out", features.out, "Folder for vision_K.npy, projector_K.npy and sequence_K.npy")->required();

  command = app.add_subcommand("logits", "Write the logits of given token ids");
  add_model_options(*command, logits.model);
  command->add_option("--ids", logits.ids, ".npy, i32 or i64 [T], image positions holding the image token's id")->required();
  command->add_option("--image", logits.images, "A picture; may be given again")->take_all()->expected(1);
  command->add_option("--out", logits.out, "Write f32 [N, vocabulary]");
  command->add_option("--last", logits.last, "Logits of the last N positions")->capture_default_str();
  command->add_option("--greedy", logits.greedy, "Then continue with M greedy ids");
  command->add_option("--greedy-out", logits.greedy_out, "Write those ids, i32 [M]");
  command->add_option("--image-token-id", logits.image_token_id, "Where the folder has no tokenizer");
}

void add_bench(CLI::App& app, BenchOptions& options) {
  CLI::App* command = app.add_subcommand("bench", "Time prefill, decode, vision, first token, load and start");
  add_model_options(*command, options.model, false);
  const auto add_list = [&](const char* names, std::vector<uint32_t>& list, const char* help) {
    command->add_option(names, list, help)->delimiter(',')->allow_extra_args(false)->capture_default_str();
  };
  command->add_option("--synthetic", options.synthetic, "Made-up weights of tiny, small or base instead of -m");
  command->add_option("--layers", options.layers, "With --synthetic: at most so many layers");
  command
      ->add_option("--expert-slots", options.expert_slots,
                   "Keep experts in host memory (or, beyond --ram, in the file) and cache so many a layer, whatever fits; 0: "
                   "only if need be")
      ->group(kExpertGroup);
  command
      ->add_option("--temp", options.temperature, "Temperature of the generated tokens; made-up weights repeat themselves at 0")
      ->check(CLI::Range(0.0, 100.0));
  command->add_option("--router-skew", options.router_skew, "With --synthetic: how much routers prefer some experts; 4 is much")
      ->check(CLI::Range(0.0, 1000.0))
      ->group(kExpertGroup);
  add_list("-p,--n-prompt", options.prompts, "Prompt tokens, a list; 0 leaves such rows out, here and below");
  add_list("-n,--n-gen", options.generates, "Generated tokens, a list");
  add_list("-d,--n-depth", options.depths, "Tokens before them, a list");
  add_list("--batch", options.batches, "Conversations decoded together, a list, at most 16 each; tok/s is of all");
  add_list("--views", options.views, "Views of pictures, a list");
  add_list("--first-token", options.first_token, "Side of a square picture whose first token is timed, a list");
  command->add_option("-r,--repetitions", options.repeats, "Repeats; the median counts")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000u));
  command->add_option("-o,--output", options.output, "md, json or csv")->capture_default_str();
  command->add_flag("--start", options.start, "Time a fresh process to its first dispatch, too");
  command->add_flag("--ops", options.ops, "List every kind of dispatch in each phase");
  command->add_flag("--shapes", options.shapes, "With --ops: apart by what a dispatch costs")->group(kExpertGroup);
  command->add_flag("--pipelines", options.pipelines, "Print what the driver says of each pipeline, and time nothing")
      ->group(kExpertGroup);
  command->add_flag("--start-probe", options.start_probe)->group("");
}

void add_tune(CLI::App& app, TuneCommandOptions& options) {
  CLI::App* command = app.add_subcommand("tune", "Measure this device's kernels, and use what is found from now on");
  command->add_option("--device", options.device, "GPU: its number, name or UUID (see `vl2 devices`)");
  command->add_option("--seconds", options.seconds, "Most seconds to take")->capture_default_str()->check(CLI::Range(0.1, 600.0));
  command->add_flag("--compare", options.compare, "Also time the models' products whose plan changed, before and after");
  command->add_flag("--force", options.force, "Measure a CPU driver too, although nothing comes of it");
}

void add_selftest(CLI::App& app, SelfTestOptions& options) {
  CLI::App* command = app.add_subcommand("selftest", "Check what this device computes, and with -m how a model answers");
  add_model_options(*command, options.model, false);
  command->add_flag("--json", options.json, "Print JSON");
}

void add_files(CLI::App& app, QuantizeCommandOptions& quantize, InspectOptions& inspect) {
  CLI::App* command = app.add_subcommand("quantize", "Write a model into one GGUF file");
  command->add_option("in", quantize.in, "Folder with config.json, tokenizer.json and *.safetensors; or a GGUF file")->required();
  command->add_option("out", quantize.out, "The GGUF file to write")->required();
  command->add_option("--type", quantize.type, quantize_type_names())->required();
  command->add_flag("--text-only", quantize.text_only, "The language model alone, as llama.cpp loads it");
  command->add_option("--threads", quantize.threads, "Threads; 0: one a core, at most 16")->check(CLI::Range(0u, 256u));
  command->add_flag("-q,--quiet", quantize.quiet, "No progress and no notes on standard error");

  command = app.add_subcommand("inspect", "Print what is in a GGUF file or a model folder: keys, tensors, sums by type");
  command->add_option("path", inspect.path, "GGUF file, or folder with *.safetensors")->required();
}

void add_plan(CLI::App& app, PlanOptions& options) {
  CLI::App* command = app.add_subcommand("plan", "Print the device memory that a model needs, and load nothing");
  add_model_options(*command, options.model, false);
  command->add_option("--synthetic", options.synthetic, "The shapes of tiny, small or base instead of -m");
  command->add_option("--layers", options.layers, "With --synthetic: at most so many layers");
  command->add_option("--image-size", options.sizes, "WIDTHxHEIGHT of a picture shown; may be given again")
      ->take_all()
      ->expected(1);
  command->add_flag("--no-pictures", options.no_pictures, "Text alone");
  add_picture_cache(*command, options.model);
  command->add_flag("--json", options.json, "Print JSON");
}

// One line whatever the message quotes: names of files and tensors, and CLI11's lists, may hold anything.
int refuse(std::string message) {
  for (char& c : message)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      c = ' ';
  while (!message.empty() && message.back() == ' ')
    message.pop_back();
  std::fflush(stdout);
  std::fprintf(stderr, "vl2: %s\n", message.c_str());
  return 2;
}

int report(const Status& status) {
  const std::vector<std::string> broken_rules = all_validation_messages();  // only where VL2_VALIDATION is on
  for (const std::string& message : broken_rules)
    std::fprintf(stderr, "validation: %s\n", message.c_str());
  if (!status.ok())
    return refuse(status.message());
  if (!broken_rules.empty())
    return refuse("the validation layers complained (above)");
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return refuse("standard output cannot be written");
  return interrupted() ? kInterruptedExitStatus : 0;
}

// Of a command with a way to end beside "all is well" and "not at all".
int report(const Result<int>& result) {
  const int status = report(result.status());
  return status == 0 && result.ok() ? *result : status;
}

int report(const CLI::ParseError& error, const CLI::App& app) {
  if (error.get_exit_code() == 0)
    return app.exit(error);  // prints the help or the version that was asked for
  const auto chosen = app.get_subcommands();
  const std::string help = chosen.empty() ? "vl2 --help" : "vl2 " + chosen.front()->get_name() + " --help";
  const std::vector<std::string> unknown = app.remaining();
  if (chosen.empty() && !unknown.empty())  // CLI11 would only say that a command is missing
    return refuse(unknown.front() + ": no such command or option (see `" + help + "`)");
  return refuse(std::string(error.what()) + " (see `" + help + "`)");
}

Status print_completion(const CLI::App& app, const std::string& shell) {
  VL2_ASSIGN(const std::string script, completion_script(command_table(app), shell));
  std::fputs(script.c_str(), stdout);
  return {};
}

// llama.cpp's -ngl would be read as -n gl.
std::vector<const char*> arguments_of(int argc, char** argv) {
  std::vector<const char*> arguments(argv, argv + argc);
  for (const char*& argument : arguments)
    if (std::string_view(argument) == "-ngl")
      argument = "--n-gpu-layers";
  return arguments;
}

// What llama.cpp needs to be told, and this program does not.
void note_options_without_effect(const CLI::App& command) {
  const auto given = [&](const char* name) {
    const CLI::Option* const option = command.get_option_no_throw(name);
    return option != nullptr && option->count() > 0;
  };
  if (given("--quiet"))
    return;
  if (given("--n-gpu-layers"))
    std::fprintf(stderr, "vl2: note: -ngl has no effect: all layers run on the device, of whose memory --vram sets a limit\n");
  if (given("--mmproj"))
    std::fprintf(stderr, "vl2: note: --mmproj has no effect: the model of -m brings its vision encoder and projector\n");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"DeepSeek-VL2 on any GPU with a Vulkan driver"};
  app.formatter(std::make_shared<HelpFormatter>());  // before the commands, which take over both
  app.set_help_all_flag("--help-all", "Print help with the options that few need");
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("vl2 ") + vl2_version());

  RunOptions run;
  ChatOptions chat;
  GroundOptions ground;
  RunOptions ocr;
  DevicesOptions devices;
  TokenizeOptions tokenize;
  TilesOptions tiles;
  FeaturesOptions features;
  LogitsOptions logits;
  BenchOptions bench;
  TuneCommandOptions tune;
  SelfTestOptions selftest;
  QuantizeCommandOptions quantize;
  InspectOptions inspect;
  PlanOptions plan;
  ServeOptions serve;
  BatchOptions batch;
  add_run(app, run);
  add_chat(app, chat);
  add_presets(app, ground, ocr);
  add_batch(app, batch);
  add_serve(app, serve);
  app.add_subcommand("devices", "List the Vulkan devices")->add_flag("--json", devices.json, "Print JSON");
  CLI::App* tokenize_app = app.add_subcommand("tokenize", "Turn text on standard input into token ids, or back");
  tokenize_app->add_option("-m,--model", tokenize.model, "Folder with tokenizer.json, or a GGUF file")->required();
  tokenize_app->add_flag("--jsonl", tokenize.jsonl, "A JSON string a line in, a JSON array of ids a line out");
  tokenize_app->add_flag("--decode", tokenize.decode, "Ids in, text out");
  tokenize_app->add_flag("--special", tokenize.special, "Recognise control tokens in the text; with --decode: keep them");
  add_inspection(app, tiles, features, logits);
  add_bench(app, bench);
  add_tune(app, tune);
  add_selftest(app, selftest);
  add_files(app, quantize, inspect);
  add_plan(app, plan);
  std::string shell;
  app.add_subcommand("completion", "Print a script by which a shell completes commands and options")
      ->add_option("shell", shell, "bash, zsh or fish")
      ->required();
  app.add_subcommand("man", "Print the manual page: vl2 man | man -l -");

  try {
    app.parse(argc, arguments_of(argc, argv).data());
  } catch (const CLI::ParseError& error) {
    return report(error, app);
  }
  const std::string name = app.get_subcommands().front()->get_name();
  note_options_without_effect(*app.get_subcommands().front());
  if (name == "completion")
    return report(print_completion(app, shell));
  if (name == "man") {
    std::fputs(man_page(command_table(app), vl2_version()).c_str(), stdout);
    return report(Status());
  }
  if (name == "run")
    return report(run_command(run));
  if (name == "chat")
    return report(chat_command(chat));
  if (name == "ground")
    return report(ground_command(ground));
  if (name == "ocr") {
    ocr.probabilities = ocr.json;
    return report(run_command(ocr));
  }
  if (name == "batch")
    return report(batch_command(batch));
  if (name == "serve")
    return report(serve_command(serve));
  if (name == "devices")
    return report(devices_command(devices));
  if (name == "tokenize")
    return report(tokenize_command(tokenize));
  if (name == "tiles")
    return report(tiles_command(tiles));
  if (name == "features")
    return report(features_command(features));
  if (name == "logits")
    return report(logits_command(logits));
  if (name == "quantize")
    return report(quantize_command(quantize));
  if (name == "tune")
    return report(tune_command(tune));
  if (name == "selftest")
    return report(selftest_command(selftest));
  if (name == "inspect")
    return report(inspect_command(inspect));
  if (name == "plan")
    return report(plan_command(plan));
  return report(bench_command(bench));
}
