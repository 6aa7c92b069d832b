// Which workgroup of several is the last: it finds what all others wrote. Nobody waits, so no promise of progress is needed.
//
// The includer declares a coherent buffer with uint counter[], zero before; it is zero again after the last has arrived. What is handed over must
// be in coherent buffers, with memoryBarrierBuffer() after the writes of each invocation.
#ifndef VL2_ARRIVAL_GLSL
#define VL2_ARRIVAL_GLSL

shared uint arrived_before;

/// All invocations call it, after their writes; true in all of the workgroup that arrives last of `count`.
bool last_to_arrive(uint index, uint count) {
  barrier();
  if (gl_LocalInvocationIndex == 0u) {
    memoryBarrierBuffer();
    arrived_before = atomicAdd(counter[index], 1u);
  }
  barrier();
  if (arrived_before + 1u != count)
    return false;
  memoryBarrierBuffer();
  if (gl_LocalInvocationIndex == 0u)
    atomicExchange(counter[index], 0u);
  return true;
}

#endif
