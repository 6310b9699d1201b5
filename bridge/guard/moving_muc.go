package guard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// wantMUCMovingLocked adds what a migration wants of a MUC: locked with its subject, once
// it is closed. It is never destroyed: where the service forgets a room, who comes next
// would own it.
func (sd *side) wantMUCMovingLocked(m *policy.MUC, seen *policy.MUCSeen) {
	mv := sd.room.g.movingOf(sd.place)
	was := sd.room.before[sd.place.String()]
	b := was
	if seen.Subject != nil {
		m.Subject = sd.movedTopicLocked(m.Subject, *seen.Subject, mv, &b)
	}
	for _, x := range [...]struct{ letter, field string }{{"i", policy.FieldMembersOnly}, {"m", policy.FieldModerated}} {
		wanted := slices.ContainsFunc(m.Fields, func(f policy.Field) bool { return f.Var == x.field && f.Value == "1" })
		is := seen.Config[x.field] == "1" || seen.Config[x.field] == "true"
		switch {
		case mv.Closed && wanted:
		case mv.Closed:
			setField(m, x.field, "1")
			if !is && !strings.Contains(b.Set, x.letter) {
				b.Set += x.letter
			}
		case strings.Contains(was.Set, x.letter) && is && !wanted:
			setField(m, x.field, "0")
		default:
			b.Set = strings.ReplaceAll(b.Set, x.letter, "")
		}
	}
	sd.keepBeforeLocked(&was, &b)
}

// setField wants one value of a field, in place of what the rules want.
func setField(m *policy.MUC, field, value string) {
	m.Fields = slices.DeleteFunc(m.Fields, func(f policy.Field) bool { return f.Var == field })
	m.Fields = append(m.Fields, policy.Field{Var: field, Value: value})
}

// putOutLocked lists the nicks of those whom a MUC puts out if it is closed now, as
// policy.PlanMUC counts them: those who hold no affiliation there and are to be given none.
// Closing a channel (+i), or a room that is members-only, puts nobody out.
func (sd *side) putOutLocked() (nicks []string) {
	if sd.channel() || sd.gated {
		return nil
	}
	wants := map[string]policy.Affiliation{}
	for _, h := range sd.wantMUC.Affiliations {
		wants[h.JID] = h.Is
	}
	for nick, sub := range sd.present {
		is := sub.is
		if to, named := wants[sub.facts.JID.Value]; named && is != policy.Owner {
			is = to
		}
		if !sub.facts.Self && (is == "" || is == policy.NoOne) {
			nicks = append(nicks, nick)
		}
	}
	slices.Sort(nicks)
	return nicks
}

// staysOpenLocked says why a MUC is not closed, though it should be; "": it is. What others
// took of the budget is not asked about: that is over within its span.
func (sd *side) staysOpenLocked(now time.Time) string {
	n, most := len(sd.putOutLocked()), sd.room.most.Limit(len(sd.present))+sd.leaversLocked(now)
	if n <= most {
		return ""
	}
	return fmt.Sprintf("closing it puts out %d who are not members, and safety.max_removals lets %d go at once: make them members, or raise it", n, most)
}

// namedMost is how many of those who are put out a plan names.
const namedMost = 10

// planMUCMovingLocked says what a migration changes in a MUC, and what stands against it.
func (sd *side) planMUCMovingLocked(mv, before Moving, seen *policy.MUCSeen, now time.Time) (lines []string, why string) {
	if mv.Topic != "" && mv.Topic != before.Topic && (seen.Subject == nil || !sameTopic(*seen.Subject, mv.Topic)) {
		lines = append(lines, "subject "+mv.Topic)
	}
	if !mv.Closed || before.Closed {
		return lines, ""
	}
	shut := "members-only and moderated: nobody else comes in"
	if sd.mucCaps.Ejabberd { // see policy.MUCCaps
		shut = "members-only: nobody else comes in"
	}
	lines = append(lines, shut)
	if out := sd.putOutLocked(); len(out) > 0 {
		named, more := out[:min(len(out), namedMost)], ""
		if n := len(out) - len(named); n > 0 {
			more = fmt.Sprintf(", and %d more", n)
		}
		lines = append(lines, fmt.Sprintf("puts out %d who are not members: %s%s", len(out), strings.Join(named, ", "), more))
	}
	return lines, sd.staysOpenLocked(now)
}
