// Exclusive sum over a workgroup of 256, in the order of gl_LocalInvocationIndex.
//
// Through shared memory, not by subgroups: Vulkan does not promise that subgroups follow the order of the invocation index.
// Before the include, define SCAN_TYPE, SCAN_ZERO and SCAN_ADD(a, b); the addition must be associative.
#ifndef VL2_SCAN_GLSL
#define VL2_SCAN_GLSL
#extension GL_EXT_control_flow_attributes : require

const uint SCAN_THREADS = 256u;
const uint SCAN_RUN = 16u;  // square root of the threads: the serial sums are as long within a run as over the runs

shared SCAN_TYPE scan_values[SCAN_THREADS];         // of each invocation, then their sums before it within its run
shared SCAN_TYPE scan_runs[SCAN_THREADS / SCAN_RUN];  // sum of each run
shared SCAN_TYPE scan_before[SCAN_THREADS / SCAN_RUN + 1u];  // sum before each run, and of all

/// The sum of the values of all lower invocations; that of all invocations in `total`. All invocations take part.
SCAN_TYPE workgroup_exclusive_scan(SCAN_TYPE value, out SCAN_TYPE total) {
  const uint lane = gl_LocalInvocationIndex, run_count = SCAN_THREADS / SCAN_RUN;
  barrier();  // an earlier scan may still be reading
  scan_values[lane] = value;
  barrier();
  if (lane < run_count) {
    SCAN_TYPE sum = SCAN_ZERO;
    [[dont_unroll]] for (uint i = lane * SCAN_RUN; i < (lane + 1u) * SCAN_RUN; ++i) {
      const SCAN_TYPE next = scan_values[i];
      scan_values[i] = sum;
      sum = SCAN_ADD(sum, next);
    }
    scan_runs[lane] = sum;
  }
  barrier();
  if (lane <= run_count) {
    SCAN_TYPE sum = SCAN_ZERO;
    [[dont_unroll]] for (uint run = 0u; run < lane; ++run)
      sum = SCAN_ADD(sum, scan_runs[run]);
    scan_before[lane] = sum;
  }
  barrier();
  total = scan_before[run_count];
  return SCAN_ADD(scan_before[lane / SCAN_RUN], scan_values[lane]);
}

#endif
