// Ctrl-C: the first asks for an end, the second takes it.
#pragma once

namespace vl2 {

/// What shells report for a program that Ctrl-C ended. Also the status after an answer that it cut short, so that a script can
/// tell.
inline constexpr int kInterruptedExitStatus = 130;

/// From now on SIGINT and SIGTERM only make interrupted() true, until there were `ends_at` of them: that one ends the program with
/// that status. Where more than two are waited for, a SIGTERM counts as two: what is under way stops, and what comes after it too.
void catch_interrupts(int ends_at = 2);

/// Whether the user has asked to stop. Any thread.
bool interrupted();

/// How many there were. Any thread.
int interrupt_count();

/// Forgets them, for the next answer of a conversation.
void reset_interrupt();

}  // namespace vl2
