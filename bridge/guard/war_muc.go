package guard

import (
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// calmMUCLocked is the wanted state of a MUC, but for what is fought about.
func (sd *side) calmMUCLocked(seen *policy.MUCSeen, now time.Time) policy.MUC {
	want := sd.wantMUC
	stopped := func(what string) bool { return sd.room.breaker.Stopped(sd.place.String()+" "+what, now) }
	want.Fields, want.Affiliations = nil, nil
	for _, f := range sd.wantMUC.Fields {
		if !stopped(f.Var) {
			want.Fields = append(want.Fields, f)
		}
	}
	has := map[string]policy.Affiliation{}
	for _, h := range seen.Affiliations {
		has[h.JID] = h.Is
	}
	for _, h := range sd.wantMUC.Affiliations {
		if !stopped(h.JID) {
			want.Affiliations = append(want.Affiliations, h)
		}
	}
	for jid, is := range has { // what Locked would take away, and what has to stay as it is
		if stopped(jid) {
			want.Affiliations = append(want.Affiliations, policy.Holder{JID: jid, Is: is})
		}
	}
	if stopped("topic") {
		want.Subject = nil
	}
	return want
}

// undoneLocked notes what others undid that is now to be set back, tells the admins who
// gave somebody rights in the room, and reports whether somebody does that again and again:
// then the room is to be planned anew, without it.
func (sd *side) undoneLocked(seen *policy.MUCSeen, steps []bridge.Changes, now time.Time) (war bool) {
	has := map[string]policy.Affiliation{}
	for _, h := range seen.Affiliations {
		has[h.JID] = h.Is
	}
	undone := func(what string) {
		by := orElse(sd.doers[what], "somebody") // a room does not tell who changed its configuration
		was := sd.right[what]
		sd.right[what] = true
		if was && sd.room.breaker.Reverted(sd.place.String()+" "+what, by, now) {
			sd.warLocked(what, by, now)
			war = true
		}
	}
	if len(sd.right) > maxTold {
		clear(sd.right)
	}
	for _, c := range steps {
		for _, f := range c.Step.Fields {
			undone(f.Var)
		}
		for _, h := range c.Step.Holders {
			undone(h.JID)
			is, by := has[h.JID], sd.doers[h.JID]
			if is != policy.Admin && (is != policy.Member || by == "") || h.Is == policy.Outcast {
				continue
			}
			text := h.JID + " was made " + string(is) + " of " + sd.place.String()
			if by != "" {
				text += ", by " + by
			}
			sd.room.g.alarms.raise(sd.room.name+" affiliation "+h.JID, "Room "+sd.room.name+": "+text+": now "+string(h.Is), false, now)
		}
		if c.Step.Subject != nil {
			undone("topic")
		}
	}
	sd.doers = nil
	return war
}

// doneByLocked remembers who changed what in a MUC, until the next look.
func (sd *side) doneByLocked(what string, by *bridge.By) {
	if by.Nick == "" || by.Facts.Self || what == "" {
		return
	}
	if sd.doers == nil {
		sd.doers = map[string]string{}
	}
	if len(sd.doers) < maxTold {
		sd.doers[what] = orElse(by.Facts.JID.Value, by.Nick)
	}
}
