package guard

import (
	"strings"

	"drawbridge/policy"
)

// letInLocked reports whether somebody who has no right here by our rules was let in by
// the guard that acts, which knows whom it invited: they came through a door that was
// shut, or stand in the list that lets them pass, or it made them a member. It puts out
// itself who may not be there.
func (sd *side) letInLocked(sub *subject) bool {
	if !sd.channel() {
		return sub.is == policy.Member || sub.is == policy.Admin
	}
	if sub.passed || sub.here && strings.Contains(sd.flags, "i") {
		return true
	}
	mask, can := sd.caps.AccountMask(accountOf(&sub.facts))
	return can && contains(sd.passes, mask)
}
