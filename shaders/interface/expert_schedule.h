// What expert_schedule.comp and expert_schedule.cpp agree on.
#ifndef VL2_INTERFACE_EXPERT_SCHEDULE_H
#define VL2_INTERFACE_EXPERT_SCHEDULE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint EXPERT_SCHEDULE_THREADS = 256u;  // per workgroup
VL2_CONST uint EXPERT_SCHEDULE_IDS = 0u, EXPERT_SCHEDULE_SLOT_PAIR = 1u, EXPERT_SCHEDULE_PAIR_SLOT = 2u,
               EXPERT_SCHEDULE_OFFSETS = 3u;

struct ExpertScheduleParams {
  uint pair_count;    // tokens * top_k
  uint expert_count;  // also the number of workgroups
  uint ids_offset;    // elements from the start of each binding
  uint slot_pair_offset;
  uint pair_slot_offset;
  uint offsets_offset;
};

VL2_SHARED_END
#endif
