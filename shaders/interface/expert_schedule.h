// What expert_schedule.comp and expert_schedule.cpp agree on.
#ifndef VL2_INTERFACE_EXPERT_SCHEDULE_H
#define VL2_INTERFACE_EXPERT_SCHEDULE_H
#include "interface/shared.h"
VL2_SHARED_BEGIN

VL2_CONST uint EXPERT_SCHEDULE_THREADS = 256u;  // per workgroup
VL2_CONST uint EXPERT_SCHEDULE_IDS = 0u, EXPERT_SCHEDULE_SLOT_PAIR = 1u, EXPERT_SCHEDULE_PAIR_SLOT = 2u,
               EXPERT_SCHEDULE_OFFSETS = 3u, EXPERT_SCHEDULE_COMMANDS = 4u;  // bindings
VL2_CONST uint EXPERT_SCHEDULE_COUNTED = 1024u;  // experts whose tiles are counted at most

struct ExpertScheduleParams {
  uint pair_count;    // tokens * top_k
  uint expert_count;  // a workgroup each, and one more that counts tiles where tile_rows_0 is not 0
  uint ids_offset;    // elements from the start of each binding
  uint slot_pair_offset;
  uint pair_slot_offset;
  uint offsets_offset;
  uint commands_offset;
  uint tile_rows_0, tile_rows_1;  // slots of a tile; 0: none are counted
  uint groups_x_0, groups_x_1;    // workgroups along the columns, a tile each
};

VL2_SHARED_END
#endif
