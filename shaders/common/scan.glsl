// Exclusive sum over a workgroup of 256, in the order of gl_LocalInvocationIndex.
//
// Through shared memory, not by subgroups: Vulkan does not promise that subgroups follow the order of the invocation index.
// Before the include, define SCAN_TYPE, SCAN_ZERO and SCAN_ADD(a, b); the addition must be associative.
#ifndef VL2_SCAN_GLSL
#define VL2_SCAN_GLSL

const uint SCAN_THREADS = 256u;
const uint SCAN_RUN = 16u;  // square root of the threads: the longest serial sum is as long in either of the two steps

shared SCAN_TYPE scan_values[SCAN_THREADS];
shared SCAN_TYPE scan_runs[SCAN_THREADS / SCAN_RUN];

/// The sum of the values of all lower invocations; that of all invocations in `total`. All invocations take part.
SCAN_TYPE workgroup_exclusive_scan(SCAN_TYPE value, out SCAN_TYPE total) {
  const uint lane = gl_LocalInvocationIndex;
  barrier();  // an earlier scan may still be reading
  scan_values[lane] = value;
  barrier();
  if (lane < SCAN_THREADS / SCAN_RUN) {
    SCAN_TYPE sum = SCAN_ZERO;
    for (uint i = 0u; i < SCAN_RUN; ++i)
      sum = SCAN_ADD(sum, scan_values[lane * SCAN_RUN + i]);
    scan_runs[lane] = sum;
  }
  barrier();
  SCAN_TYPE before = SCAN_ZERO;
  total = SCAN_ZERO;
  for (uint run = 0u; run < SCAN_THREADS / SCAN_RUN; ++run) {
    if (run == lane / SCAN_RUN)
      before = total;
    total = SCAN_ADD(total, scan_runs[run]);
  }
  for (uint i = lane - lane % SCAN_RUN; i < lane; ++i)
    before = SCAN_ADD(before, scan_values[i]);
  return before;
}

#endif
