// Package policy holds the pure decisions of Drawbridge: facts in, verdict out.
// It imports nothing of ours, opens nothing and reads no clock: the same input
// always gives the same verdict.
//
// The guard's half of it works in three steps. [Compile] makes a [Policy] of the
// rules and people of the config. [Decide] judges what one subject does in one
// room and says why; [Explain] puts that into words. [PlanChannel] and [PlanMUC]
// turn a wanted state of a room into the commands that lead there from the state
// seen. What needs memory (floods, lockdown, the removal budget, mode wars) is a
// small state machine that is told the time.
//
// A fact is known or unknown, and unknown is no guilt: an unknown fact satisfies
// no allow rule and removes nobody. It puts its subject into quarantine, and
// asks for the fact to be looked up.
package policy
