package migrate

import (
	"fmt"
	"time"
)

// clearMark stands before lines that came in clear from IRC, on the Jabber side.
const clearMark = "(clear)"

// What each phase means, for people who are told of it.
var phaseMeans = [phases]string{
	Mirror:         "both sides hear each other, as before",
	EncryptedFirst: "lines from IRC are still relayed, but marked as sent in clear on the Jabber side",
	ReadOnly:       "nobody can write in the IRC channel any more; what is said on Jabber can still be read there",
	Farewell:       "the IRC channel only points to the new place",
	Closed:         "the IRC channel is closed",
}

// how is where to go, for people.
func how(m *Move) string {
	if m.To == "" {
		return "Write !move to me in private, and I help you over."
	}
	return "The new place: " + m.To + ". Write !move to me in private, and I help you over."
}

// announcement tells of a phase to come.
func announcement(m *Move, p Phase, due, now time.Time) string {
	return fmt.Sprintf("This team moves to encrypted Jabber. In %s (%s UTC): %s: %s. %s", left(due.Sub(now)), due.UTC().Format("Mon 2 Jan 2006 15:04"), p, phaseMeans[p], how(m))
}

// begun tells of a phase that begins.
func begun(m *Move, p Phase) string {
	if p == Mirror {
		return "The move to encrypted Jabber is back at its beginning: " + phaseMeans[p] + "."
	}
	return fmt.Sprintf("This team moves to encrypted Jabber. From now on: %s: %s. %s", p, phaseMeans[p], how(m))
}

// pointer is the topic of a channel that is left, and its line a day.
func pointer(m *Move) string {
	if m.To == "" {
		return "This team has moved to encrypted Jabber. Write !move to the bridge in private for help."
	}
	return "This team has moved to " + m.To + " (encrypted Jabber). Write !move to the bridge in private for help."
}

// entry is said to who comes in.
func entry(m *Move, p Phase) string {
	return "Welcome. Here " + phaseMeans[p] + ". " + how(m)
}

// left writes a time for people, rounded to what matters.
func left(d time.Duration) string {
	switch d += time.Minute / 2; {
	case d >= 36*time.Hour:
		return fmt.Sprintf("%d days", (d+12*time.Hour)/(24*time.Hour))
	case d >= 23*time.Hour:
		return "a day"
	case d >= 90*time.Minute:
		return fmt.Sprintf("%d hours", (d+30*time.Minute)/time.Hour)
	case d >= 55*time.Minute:
		return "an hour"
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return "a minute"
}
