// Which pages a batch reads, in which order: files, folders, patterns, lists and the pages of PDF files.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "runtime/status.h"

namespace vl2::batch {

/// "1-3,7,9-": pages of a document, from 1. Empty: all of them.
class PageRanges {
 public:
  /// Errors  BadArgument: not of that form, a page 0, a range that runs backwards
  static Result<PageRanges> parse(const std::string& text);

  /// How many of a document's `pages` pages are meant.
  uint32_t count(uint32_t pages) const;
  /// The k-th of those, k < count(pages), in the order of the document.
  uint32_t nth(uint32_t k, uint32_t pages) const;

 private:
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;  // first and last, in order, apart from each other
};

/// One page of the batch.
struct Page {
  uint64_t index = 0;  ///< in the batch, from 0
  std::string path;
  uint32_t number = 0;      ///< of the PDF's page, from 1; 0: a picture file
  uint64_t file_bytes = 0;  ///< of the whole file, when the list was made
  std::string problem;      ///< why it cannot be read, where that was found already
};

/// What an input was when a page of it failed.
struct FailedInput {
  uint64_t file_bytes = 0;
  bool as_a_whole = false;  ///< it was one page, of which nothing was known
};

/// What a list was before some of its inputs changed.
struct ListBefore {
  uint32_t signature = 0;
  uint64_t page_count = 0;
};

struct PageListOptions {
  std::vector<std::string> inputs;  ///< files, folders, patterns; "-": a list on standard input
  std::string list;                 ///< a file with a path a line; "-": standard input; empty: none
  bool recursive = false;           ///< folders in folders, too
  std::string pages;                ///< PageRanges of each PDF
};

/// Memory  a path an input, however many pages a PDF has
class PageList {
 public:
  /// Looks at every input. Folders give their pictures and PDF files, sorted by name byte by byte, hidden ones and folders behind
  /// links left out. A path of a list that does not exist is a page with a problem; one of the command line is refused.
  ///
  /// Errors  BadArgument: nothing to read, no such pages; NotFound: an input, by name, or poppler's programs; IoError: a folder or
  ///         list that cannot be read; Cancelled: `stop` said so
  static Result<PageList> make(const PageListOptions& options, const std::function<bool()>& stop);

  uint64_t size() const { return starts_.back(); }
  Page at(uint64_t index) const;
  /// Past the last page of the input that a page is of.
  uint64_t input_end(uint64_t index) const;
  /// Changes when any input's path, size or count of pages does; --pages is the caller's to remember.
  uint32_t signature() const { return before({}).signature; }
  /// The list as it was when the inputs of these paths were something else.
  ListBefore before(const std::map<std::string, FailedInput>& failed) const;

 private:
  struct Input {
    std::string path;
    uint64_t file_bytes = 0;
    uint32_t pdf_pages = 0;  // 0: no PDF, or one with a problem
    std::string problem;
  };
  Status add(const std::string& path, bool recursive, bool must_exist);
  Status add_folder(const std::string& path, bool recursive);
  Status add_pattern(const std::string& pattern, bool recursive);
  Status add_list(const std::string& path, bool recursive);
  Status count_pages(const std::function<bool()>& stop);

  std::vector<Input> inputs_;
  std::vector<uint64_t> starts_ = {0};  // [inputs + 1] index of each one's first page
  PageRanges ranges_;
};

/// FNV-1a, the halves of 64 bits folded; `seed` is an earlier value to go on from.
uint32_t hash_text(const std::string& text, uint32_t seed = 0);

}  // namespace vl2::batch
