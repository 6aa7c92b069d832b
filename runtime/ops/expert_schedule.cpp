#include "runtime/ops/expert_schedule.h"

#include <utility>

#include "shaders/interface/expert_schedule.h"

namespace vl2 {

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
  if (pair_count == 0)
    return {};

  const AlignedView ids = rec.aligned(expert_ids), slot_pair = rec.aligned(schedule.slot_pair),
                    pair_slot = rec.aligned(schedule.pair_slot), offsets = rec.aligned(schedule.offsets);
  const ExpertScheduleParams params{.pair_count = pair_count,
                                    .expert_count = expert_count,
                                    .ids_offset = ids.remainder,
                                    .slot_pair_offset = slot_pair.remainder,
                                    .pair_slot_offset = pair_slot.remainder,
                                    .offsets_offset = offsets.remainder};
  const Cost cost{.bytes = 4 * (3 * uint64_t{pair_count} + expert_count), .flops = 4 * uint64_t{pair_count} * expert_count};
  return rec.dispatch(ShaderId::expert_schedule, {ids.view, slot_pair.view, pair_slot.view, offsets.view}, params,
                      Groups{.x = expert_count}, cost);
}

}  // namespace vl2
