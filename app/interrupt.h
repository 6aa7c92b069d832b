// Ctrl-C: the first asks for an end, the second takes it.
#pragma once

namespace vl2 {

/// What shells report for a program that Ctrl-C ended. Also the status after an answer that it cut short, so that a script can
/// tell.
inline constexpr int kInterruptedExitStatus = 130;

/// From now on the first SIGINT or SIGTERM only makes interrupted() true, and the second ends the program with that status.
void catch_interrupts();

/// Whether the user has asked to stop. Any thread.
bool interrupted();

/// Forgets the first Ctrl-C, for the next answer of a conversation.
void reset_interrupt();

}  // namespace vl2
