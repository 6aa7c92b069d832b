// The number of this workgroup in a grid that flat_groups() (runtime/ops/flat_groups.h) folded over x and y.
#ifndef VL2_FLAT_GRID_GLSL
#define VL2_FLAT_GRID_GLSL
uint flat_group() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
#endif
