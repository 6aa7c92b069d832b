#include "runtime/ops/expert_schedule.h"

#include <utility>

#include "shaders/interface/expert_schedule.h"

namespace vl2 {

TensorView ExpertSchedule::command(const ExpertTiles& wanted) const {
  for (uint32_t i = 0; i < tiles.size(); ++i)
    if (!commands.empty() && wanted.rows > 0 && tiles[i] == wanted)
      return commands.rows(i, 1).reshaped({3});
  return {};
}

Status expert_schedule(Recorder& rec, const TensorView& expert_ids, uint32_t expert_count, const ExpertSchedule& schedule) {
  if (expert_ids.rank() != 2 || !expert_ids.contiguous() || expert_ids.element_count() >= uint64_t{1} << 31)
    return fail(Code::BadShape, "expert_schedule: expert_ids ", expert_ids,
                " must be [tokens, top_k], contiguous, below 2^31 elements");
  if (expert_count == 0 || expert_count > 65535)
    return fail(Code::BadArgument, "expert_schedule: expert_count ", expert_count, " must be 1 .. 65535, a workgroup each");
  const auto pair_count = static_cast<uint32_t>(expert_ids.element_count());
  for (const auto& [name, view] : {std::pair{"slot_pair", &schedule.slot_pair}, std::pair{"pair_slot", &schedule.pair_slot}})
    if (view->rank() != 1 || view->dim(0) != pair_count || !view->contiguous())
      return fail(Code::BadShape, "expert_schedule: ", name, " ", *view, " must be [", pair_count,
                  "], a slot for each of expert_ids ", expert_ids);
  if (schedule.offsets.rank() != 1 || schedule.offsets.dim(0) != expert_count + 1 || !schedule.offsets.contiguous())
    return fail(Code::BadShape, "expert_schedule: offsets ", schedule.offsets, " must be [", expert_count + 1,
                "], one more than experts");
  for (const auto& [name, view] : {std::pair{"expert_ids", &expert_ids}, std::pair{"slot_pair", &schedule.slot_pair},
                                   std::pair{"pair_slot", &schedule.pair_slot}, std::pair{"offsets", &schedule.offsets}})
    if (view->dtype != DType::U32)
      return fail(Code::BadDType, "expert_schedule: ", name, " ", *view, " must be u32");
  const bool counts = !schedule.commands.empty();
  const TensorView& commands = schedule.commands;
  if (counts && (commands.rank() != 2 || commands.dim(0) != 2 || commands.dim(1) != 3 || !commands.contiguous() ||
                 commands.dtype != DType::U32))
    return fail(Code::BadShape, "expert_schedule: commands ", commands, " must be u32 [2, 3]");
  if (counts && (schedule.tiles[0].rows == 0 || expert_count > EXPERT_SCHEDULE_COUNTED))
    return fail(Code::BadArgument, "expert_schedule: commands for tiles of ", schedule.tiles[0].rows, " rows and ", expert_count,
                " experts, wanted rows and at most ", EXPERT_SCHEDULE_COUNTED, " experts");
  if (pair_count == 0)
    return {};

  const AlignedView ids = rec.aligned(expert_ids), slot_pair = rec.aligned(schedule.slot_pair),
                    pair_slot = rec.aligned(schedule.pair_slot), offsets = rec.aligned(schedule.offsets),
                    commands_bound = counts ? rec.aligned(commands) : AlignedView{};
  const ExpertScheduleParams params{.pair_count = pair_count,
                                    .expert_count = expert_count,
                                    .ids_offset = ids.remainder,
                                    .slot_pair_offset = slot_pair.remainder,
                                    .pair_slot_offset = pair_slot.remainder,
                                    .offsets_offset = offsets.remainder,
                                    .commands_offset = commands_bound.remainder,
                                    .tile_rows_0 = counts ? schedule.tiles[0].rows : 0,
                                    .tile_rows_1 = schedule.tiles[1].rows,
                                    .groups_x_0 = schedule.tiles[0].groups_x,
                                    .groups_x_1 = schedule.tiles[1].groups_x};
  const Cost cost{.bytes = 4 * (3 * uint64_t{pair_count} + expert_count), .flops = 4 * uint64_t{pair_count} * expert_count};
  return rec.dispatch(ShaderId::expert_schedule, {ids.view, slot_pair.view, pair_slot.view, offsets.view, commands_bound.view},
                      params, Groups{.x = expert_count + (counts ? 1u : 0u)}, cost);
}

}  // namespace vl2
