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
#include "app/batch/page_plans.h"
#include "app/batch/report_format.h"
#include "app/batch/result_writer.h"
#include "app/batch/retry.h"
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
        options.restart || options.retry_failed || options.dry_run)
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
  if (options.restart && options.retry_failed)
    return fail(Code::BadArgument, "batch: --restart throws away what --retry-failed goes by: wanted one of them");
  if (options.out.empty() && (options.restart || options.retry_failed))
    return fail(Code::BadArgument, "batch: ", options.restart ? "--restart" : "--retry-failed",
                " is about the file of -o, and there is none");
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
  VL2_ASSIGN(const uint32_t cache_type, cache_type_of(options.model));
  std::ostringstream words;  // what changes answers; how fast they come, and on which device, does not belong here
  const vl2_reply_options& answer = options.answer.reply;
  words << std::hexfloat << answer.max_tokens << ' ' << answer.temperature << ' ' << answer.top_k << ' ' << answer.top_p << ' '
        << answer.min_p << ' ' << answer.repeat_penalty << ' ' << answer.seed << ' ' << options.model.context << ' '
        << options.model.tiles << ' ' << options.pdf_long_side << ' ' << options.pages
        << (options.answer.no_loop_guard ? " no loop guard" : "") << (cache_type == VL2_CACHE_F16 ? "" : " 8-bit cache");
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
  std::string journal_path = {};        // empty: standard output
  std::optional<Journal> journal = {};  // none: standard output, or not yet open
  std::optional<Retry> retry = {};      // pages to ask again, before the others
  uint64_t done = 0, failed = 0;        // pages of the shard, those of earlier starts included
  ModelHandle model = {};
  std::optional<PageSlots> slots = {};

  uint64_t total() const { return shard.page_count(list.size()); }
};

Status print(const std::string& text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0
             ? Status()
             : fail(Code::IoError, "standard output cannot be written");
}

// What is odd about a page, to whoever watches.
void tell(const Work& work, Progress& progress, const PageResult& result) {
  if (!result.error.empty())
    progress.note(result.error);
  if (work.options.model.quiet)
    return;
  progress.clear();
  for (const std::string& note : result.notes)
    print_warning(title_of(result) + ": " + note);
}

Status open_journal(Work& work) {
  VL2_ASSIGN(work.journal, Journal::open(work.journal_path, work.job, work.shard, work.options.restart));
  work.done = work.journal->result_count();
  work.failed = work.journal->failed_count();
  return {};
}

Status load_once(Work& work) {
  const BatchOptions& options = work.options;
  if (work.slots)
    return {};
  VL2_ASSIGN(work.model, load(options));
  VL2_ASSIGN(work.slots, PageSlots::make(work.model.get(), options.slots));
  if (work.slots->count() < options.slots && !options.model.quiet)
    std::fprintf(stderr, "batch: memory holds %u of %u slots\n", work.slots->count(), options.slots);
  return {};
}

// Pages that failed are asked again, all of them or none.
Status ask_again(Work& work, Progress& progress) {
  const char* const what = "reading pages that failed";
  const uint64_t count = work.retry->page_count();
  uint64_t done = 0;
  PageLoader loader(work.list, {count, [&](uint64_t k) { return work.retry->page_index(k); }}, work.options.pdf_long_side,
                    interrupted);
  VL2_TRY(load_once(work));
  progress.pages(what, 0, count);
  ResultWriter writer(work.slots->count(), [&](const PageResult& result) {
    tell(work, progress, result);
    progress.pages(what, ++done, count);
    return work.retry->put(result);
  });
  const Status answered = work.slots->answer({work.options.prompt, work.options.answer}, loader, writer);
  VL2_TRY(writer.finish());
  VL2_TRY(answered);
  VL2_TRY(work.retry->commit());
  work.retry.reset();
  return open_journal(work);
}

Status ask_rest(Work& work, Progress& progress) {
  PageLoader loader(work.list, rest_of_shard(work.shard, work.list.size(), work.done), work.options.pdf_long_side, interrupted);
  VL2_TRY(load_once(work));
  Report report(work.format);
  if (!work.journal)
    VL2_TRY(print(report.head()));
  progress.pages(kWhat, work.done, work.total());
  ResultWriter writer(work.slots->count(), [&](const PageResult& result) -> Status {
    VL2_TRY(work.journal ? work.journal->append(result) : print(report.page({work.job, work.shard, result})));
    work.failed += result.error.empty() ? 0 : 1;
    tell(work, progress, result);
    progress.pages(kWhat, ++work.done, work.total());
    return {};
  });
  const Status answered = work.slots->answer({work.options.prompt, work.options.answer}, loader, writer);
  VL2_TRY(writer.finish());
  VL2_TRY(answered);
  return work.journal ? Status() : print(report.tail());
}

Status do_pages(Work& work, Progress& progress) {
  if (work.retry)
    VL2_TRY(ask_again(work, progress));
  return work.done < work.total() ? ask_rest(work, progress) : Status();
}

// One line for people, of a start that ended before the work did.
void tell_how_far(const Work& work) {
  if (work.retry) {
    std::fprintf(stderr, "vl2: batch: not all pages that failed were asked again: the results are as they were\n");
    return;
  }
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

// Which pages are to be asked again; none where nothing was asked yet.
Status find_failed(Work& work) {
  VL2_ASSIGN(work.retry, Retry::find(work.journal_path, work.job, work.shard, work.list));
  std::error_code error;
  if (!work.retry && fs::exists(work.options.out, error))
    return fail(Code::NotFound, work.journal_path, ": is not there, and it says which pages of ", work.options.out,
                " failed: --retry-failed cannot do without it");
  if (work.retry && work.retry->page_count() == 0)
    work.retry.reset();
  return {};
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
  if (options.dry_run) {
    const Result<uint64_t> bad = print_page_plans(options, list, shard);
    if (interrupted())
      return 0;  // the program's exit status says so
    VL2_TRY(bad.status());
    return *bad > 0 ? kPagesFailed : 0;
  }
  VL2_ASSIGN(const JobKey job, job_of(options, list));
  Work work{.options = options, .list = list, .shard = shard, .job = job, .format = format};
  if (!options.out.empty()) {
    work.journal_path = format == Format::JsonLines ? options.out : options.out + ".journal";
    if (options.retry_failed)
      VL2_TRY(find_failed(work));
    if (!work.retry)
      VL2_TRY(open_journal(work));
  }

  if (work.retry || work.done < work.total()) {
    Progress progress(wants_progress(options.model.quiet));
    const Status status = do_pages(work, progress);
    progress.clear();
    if (!status.ok() && work.journal)
      work.journal->discard_if_new();
    if (!status.ok() && (interrupted() || work.retry || (work.journal && work.journal->result_count() > 0)))
      tell_how_far(work);
    if (interrupted() && status.code() == Code::Cancelled)
      return 0;  // the program's exit status says that it was interrupted
    VL2_TRY(status);
  }
  if (work.journal && format != Format::JsonLines)
    VL2_TRY(write_report(work.journal_path, format, options.out).status());
  return status_of_counts(work.failed, work.total());
}

}  // namespace vl2
