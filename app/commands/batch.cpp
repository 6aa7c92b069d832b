// `vl2 batch`: one question about each of many pages, on nothing but the C API.
//
// Pages are decoded by the loader's threads, answered by the slots' and written by the writer's thread, in the order of the pages, so
// that the journal is at any time the beginning of the whole.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <sstream>

#include "app/answering.h"
#include "app/batch/answer_pages.h"
#include "app/batch/journal.h"
#include "app/batch/page_list.h"
#include "app/batch/page_loader.h"
#include "app/batch/report_format.h"
#include "app/batch/result_writer.h"
#include "app/commands/commands.h"
#include "app/interrupt.h"
#include "app/progress.h"
#include "app/vl2_handles.h"

namespace vl2 {

namespace {

namespace fs = std::filesystem;
using namespace batch;

constexpr int kPagesFailed = 1;  // exit status
constexpr const char* kWhat = "reading pages";

Status check_options(const BatchOptions& options) {
  if (options.inputs.empty() && options.list.empty())
    return fail(Code::BadArgument, "batch: no inputs: name files, folders or patterns, or a --list");
  if (!options.merge.empty()) {
    const char* const everywhere = std::getenv("VL2_MODEL");  // for other commands
    const bool names_model = !options.model.model.empty() && (everywhere == nullptr || options.model.model != everywhere);
    if (names_model || !options.prompt.empty() || !options.out.empty() || !options.shard.empty() || !options.list.empty() ||
        options.restart)
      return fail(Code::BadArgument, "batch: --merge FILE SHARD... takes no other option but --format and -q");
    return {};
  }
  if (options.model.model.empty())
    return fail(Code::BadArgument, "batch: --model is required");
  if (options.prompt.empty())
    return fail(Code::BadArgument, "batch: --prompt is required");
  constexpr std::string_view kMark = "<image>";
  const size_t mark = options.prompt.find(kMark);
  if (mark != std::string::npos && options.prompt.find(kMark, mark + 1) != std::string::npos)
    return fail(Code::BadArgument, "batch: --prompt has two marks <image>, and a page is one picture");
  if (std::count(options.inputs.begin(), options.inputs.end(), "-") + (options.list == "-" ? 1 : 0) > 1)
    return fail(Code::BadArgument, "batch: standard input holds one list, and - is there twice");
  if (options.out.empty() && options.restart)
    return fail(Code::BadArgument, "batch: --restart is about the file of -o, and there is none");
  return check_model_options(options.model);
}

// Which model: where it is, and the sizes of its files.
Result<uint32_t> model_hash(const ModelOptions& options) {
  std::error_code error;
  const fs::path path = fs::canonical(options.model, error);
  if (error)
    return fail(Code::NotFound, options.model, ": ", error.message());
  std::vector<std::string> files;
  const auto add = [&](const fs::path& file) {
    std::error_code ignored;
    if (fs::is_regular_file(file, ignored))
      files.push_back(file.filename().string() + '\0' + std::to_string(fs::file_size(file, ignored)));
  };
  add(path);
  if (fs::is_directory(path, error))
    for (fs::directory_iterator entry(path, error); !error && entry != fs::directory_iterator(); entry.increment(error))
      add(entry->path());
  std::sort(files.begin(), files.end());
  uint32_t hash = hash_text(path.string() + '\0' + options.type);
  for (const std::string& file : files)
    hash = hash_text(file, hash);
  return hash;
}

Result<JobKey> job_of(const BatchOptions& options, const PageList& list) {
  JobKey job;
  VL2_ASSIGN(job.model, model_hash(options.model));
  job.prompt = hash_text(options.prompt);
  std::ostringstream words;  // what changes answers; how fast they come, and on which device, does not belong here
  const AnswerOptions& answer = options.answer;
  words << std::hexfloat << answer.max_tokens << ' ' << answer.temperature << ' ' << answer.top_k << ' ' << answer.top_p << ' '
        << answer.min_p << ' ' << answer.repeat_penalty << ' ' << answer.seed << ' ' << options.model.context << ' '
        << options.model.tiles << ' ' << options.pdf_long_side << ' ' << options.pages
        << (answer.no_loop_guard ? " no loop guard" : "");
  job.options = hash_text(words.str());
  job.inputs = list.signature();
  job.page_count = list.size();
  return job;
}

Result<ModelHandle> load(const BatchOptions& options) {
  VL2_ASSIGN(ModelHandle model, open_model(options.model, VL2_LOAD_NEEDS_EYES | VL2_LOAD_NO_PICTURE_CACHE));
  size_t count = 0;  // text that is no UTF-8 would fail on every page
  if (!status_of_call(vl2_model_tokenize(model.get(), options.prompt.data(), options.prompt.size(), 0, nullptr, 0, &count)).ok())
    return fail(Code::BadArgument, "--prompt: ", vl2_last_error());
  return model;
}

// What this start of the command has to do, and where results go.
struct Work {
  const BatchOptions& options;
  const PageList& list;
  Shard shard;
  JobKey job;
  Format format;
  std::optional<Journal> journal;  // none: standard output
  uint64_t done = 0, failed = 0;   // pages of the shard, those of earlier starts included

  uint64_t total() const { return shard.page_count(list.size()); }
};

Status print(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0
             ? Status()
             : fail(Code::IoError, "standard output cannot be written");
}

// A result on its way out, in the order of the pages: kept, counted, and told to whoever watches.
Status take_result(Work& work, Report& report, Progress& progress, const PageResult& result) {
  VL2_TRY(work.journal ? work.journal->append(result) : print(report.page({work.job, work.shard, result})));
  if (!result.error.empty()) {
    ++work.failed;
    progress.note(result.error);
  }
  if (!work.options.model.quiet) {
    progress.clear();
    for (const std::string& note : result.notes)
      print_warning(title_of(result) + ": " + note);
  }
  progress.pages(kWhat, ++work.done, work.total());
  return {};
}

Status do_pages(Work& work, Progress& progress) {
  const BatchOptions& options = work.options;
  PageLoader loader(work.list, rest_of_shard(work.shard, work.list.size(), work.done), options.pdf_long_side, interrupted);
  VL2_ASSIGN(const ModelHandle model, load(options));
  VL2_ASSIGN(PageSlots slots, PageSlots::make(model.get(), options.slots));
  if (slots.count() < options.slots && !options.model.quiet)
    std::fprintf(stderr, "batch: memory holds %u of %u slots\n", slots.count(), options.slots);
  Report report(work.format);
  if (!work.journal)
    VL2_TRY(print(report.head()));
  progress.pages(kWhat, work.done, work.total());
  ResultWriter writer(slots.count(), [&](const PageResult& result) { return take_result(work, report, progress, result); });
  const Status answered = slots.answer({options.prompt, options.answer}, loader, writer);
  VL2_TRY(writer.finish());
  VL2_TRY(answered);
  return work.journal ? Status() : print(report.tail());
}

// One line for people, of a start that ended before the work did.
void tell_how_far(const Work& work) {
  const uint64_t kept = work.journal ? work.journal->result_count() : work.done;
  std::fprintf(stderr, "vl2: batch: %llu of %llu pages are done%s\n", static_cast<unsigned long long>(kept),
               static_cast<unsigned long long>(work.total()), work.journal ? "; the same command goes on with the rest" : "");
}

int status_of_counts(uint64_t failed, uint64_t pages) {
  if (failed == 0)
    return 0;
  std::fprintf(stderr, "vl2: batch: %llu of %llu pages failed: their results say why\n", static_cast<unsigned long long>(failed),
               static_cast<unsigned long long>(pages));
  return kPagesFailed;
}

Result<int> merge(const BatchOptions& options) {
  VL2_ASSIGN(const Format format, format_of(options.format, options.merge));
  VL2_ASSIGN(const ReportCounts counts, merge_shards(options.inputs, format, options.merge));
  return status_of_counts(counts.failed, counts.pages);
}

}  // namespace

Result<int> batch_command(const BatchOptions& options) {
  VL2_TRY(check_options(options));
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of writing like any other
  if (!options.merge.empty())
    return merge(options);
  VL2_ASSIGN(const Format format, format_of(options.format, options.out));
  VL2_ASSIGN(const Shard shard, Shard::parse(options.shard));
  if (!options.out.empty())
    VL2_TRY(check_batch_output(options.out));
  catch_interrupts();
  VL2_ASSIGN(const PageList list, PageList::make({options.inputs, options.list, options.recursive, options.pages}, interrupted));
  VL2_ASSIGN(const JobKey job, job_of(options, list));
  Work work{options, list, shard, job, format, std::nullopt};
  const std::string journal_path = format == Format::JsonLines ? options.out : options.out + ".journal";
  if (!options.out.empty()) {
    VL2_ASSIGN(work.journal, Journal::open(journal_path, job, shard, options.restart));
    work.done = work.journal->result_count();
    work.failed = work.journal->failed_count();
  }

  if (work.done < work.total()) {
    Progress progress(wants_progress(options.model.quiet));
    const Status status = do_pages(work, progress);
    progress.clear();
    if (!status.ok() && work.journal)
      work.journal->discard_if_new();
    if (!status.ok() && (interrupted() || (work.journal && work.journal->result_count() > 0)))
      tell_how_far(work);
    if (interrupted() && status.code() == Code::Cancelled)
      return 0;  // the program's exit status says that it was interrupted
    VL2_TRY(status);
  }
  if (work.journal && format != Format::JsonLines)
    VL2_TRY(write_report(journal_path, format, options.out).status());
  return status_of_counts(work.failed, work.total());
}

}  // namespace vl2
