// What the pages of a batch would take, without asking about them: `vl2 batch --dry-run`.
#pragma once

#include "app/batch/page_list.h"
#include "app/batch/result_record.h"
#include "app/commands/commands.h"

namespace vl2::batch {

/// Prints a line a page with its tiles and tokens, then the memory that loading would take. Every page is read, so that those that
/// cannot be are found.
///
/// Returns how many pages could not be answered: unreadable, or with more tokens than the context holds
/// Errors  Cancelled: Ctrl-C; those of vl2_plan_load()
Result<uint64_t> print_page_plans(const BatchOptions& options, const PageList& list, const Shard& shard);

}  // namespace vl2::batch
