package guard

import (
	"slices"
	"time"

	"drawbridge/policy"
)

// strangerOnXMPP is somebody whose JID is seen, and who comes as what they are in the
// room's lists. What is not known of them before they come, shuts no door: how far their
// sessions reach.
func strangerOnXMPP(leg, jid string, is policy.Affiliation) policy.Facts {
	f := policy.NewOccupantFacts(leg, "\x00")
	f.JID, f.Occupant.Known = policy.Is(jid, "", time.Time{}), policy.Never
	f.Affiliation, f.Role = policy.Is(orElse(string(is), string(policy.NoOne)), "", time.Time{}), policy.Is(string(policy.Participant), "", time.Time{})
	return f
}

// Fields of a room's configuration that a guard keeps beside those of policy.
const (
	fieldPassword      = "muc#roomconfig_passwordprotectedroom"
	fieldPersistent    = "muc#roomconfig_persistentroom"
	fieldInvites       = "muc#roomconfig_allowinvites"                                   // ejabberd
	fieldMemberInvites = "{http://prosody.im/protocol/muc}roomconfig_allowmemberinvites" // Prosody
)

// fieldsVoiced are ejabberd's, 23.01 and later: who comes to a moderated room has voice.
var fieldsVoiced = [...]string{"members_by_default", "muc#roomconfig_membersbydefault"}

// wantMUCLocked compiles the state that the MUC shall have.
func (sd *side) wantMUCLocked(seen *policy.MUCSeen, self string, now time.Time) policy.MUC {
	r := sd.room
	a := &asker{p: r.policy, room: r.name, now: now}
	m := policy.MUC{Self: self, Locked: r.cfg.Affiliations}
	stranger := strangerOnXMPP(sd.place.Leg, "\x00", policy.NoOne)
	join := a.effect(stranger, policy.Join)
	members := join >= policy.Deny
	sd.closed = members
	quiet := !members && (join >= policy.Devoice || a.effect(stranger, policy.Speak) >= policy.Devoice)
	is := map[string]policy.Affiliation{}
	for _, h := range seen.Affiliations {
		is[h.JID] = h.Is
	}
	add := naming(&m)
	for _, p := range r.table.cfg.Peers { // who is to take over has to be owner
		for _, jid := range p.JIDs {
			m.Peers = append(m.Peers, jid)
			add(jid, policy.Owner, "")
		}
	}
	banned := sd.wantOutcastsLocked(now, add)
	ended := sd.endedLocked(now)
	for _, p := range r.table.cfg.Policy.People {
		for _, jid := range p.JIDs {
			f := strangerOnXMPP(sd.place.Leg, jid, is[jid])
			sd.grantLocked(&f, now)
			to := policy.Member
			op := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Op}, now)
			if op.Effect <= policy.Alert && op.Basis == policy.ByRule {
				to = policy.Admin
			}
			switch has := is[jid]; {
			case banned[jid]:
			case has == policy.Outcast && !slices.Contains(ended, jid): // others end their bans themselves
				add(jid, policy.Outcast, "")
			case a.effect(f, policy.Join) >= policy.Deny:
				if has == policy.Member && members {
					add(jid, policy.NoOne, "")
				}
			case has == policy.Owner, has == policy.Admin && !r.cfg.Affiliations:
				add(jid, has, "")
			case members || r.cfg.Affiliations || to == policy.Admin:
				add(jid, to, "")
			}
		}
	}
	wants := map[string]policy.Affiliation{}
	for _, h := range m.Affiliations {
		wants[h.JID] = h.Is
	}
	sd.wantLeftLocked(is, wants, add)
	for _, jid := range ended {
		add(jid, policy.NoOne, "")
	}
	sd.wantStaysLocked(is, now, add)
	sd.wantFieldsLocked(&m, seen, members, quiet)
	if r.cfg.Topic {
		sd.keepTopicLocked(seen.Subject)
		m.Subject = sd.topic
	}
	sd.wantMUCMovingLocked(&m, seen)
	return m
}

// naming returns what adds to the affiliations that a MUC shall have: of a JID that is
// named twice, the first word counts.
func naming(m *policy.MUC) func(jid string, to policy.Affiliation, reason string) {
	named := map[string]bool{}
	return func(jid string, to policy.Affiliation, reason string) {
		if !named[jid] {
			named[jid] = true
			m.Affiliations = append(m.Affiliations, policy.Holder{JID: jid, Is: to, Reason: reason})
		}
	}
}

// wantOwnBansLocked is all that a guard keeps of a MUC where a peer acts: the bans that
// it was ordered itself, of which the peer does not know.
func (sd *side) wantOwnBansLocked(self string, now time.Time) policy.MUC {
	m := policy.MUC{Self: self}
	add := naming(&m)
	sd.wantOutcastsLocked(now, add)
	for _, jid := range sd.endedLocked(now) {
		add(jid, policy.NoOne, "")
	}
	return m
}

// wantOutcastsLocked adds the bans that hold here.
func (sd *side) wantOutcastsLocked(now time.Time, add func(string, policy.Affiliation, string)) map[string]bool {
	r := sd.room
	banned := map[string]bool{}
	for _, b := range *r.g.bans.Load() {
		if !b.Live(r.name, now) || b.Person != "" && r.table.refuses(b.Person) != "" {
			continue
		}
		for _, jid := range r.g.masks(sd, &b) {
			banned[jid] = true
			add(jid, policy.Outcast, b.Reason)
		}
	}
	return banned
}

// silencesLocked reports whether somebody who is there shall not be heard. On ejabberd
// visitors are heard as long as the room is not moderated, and bans hold only then.
func (sd *side) silencesLocked() bool {
	for _, sub := range sd.present {
		if sub.quiet {
			return true
		}
	}
	return false
}

// wantFieldsLocked adds the configuration. Fields that a service has not are not asked
// for; members-only it must have.
func (sd *side) wantFieldsLocked(m *policy.MUC, seen *policy.MUCSeen, members, quiet bool) {
	set := func(field, value string, must bool) {
		if _, there := seen.Config[field]; there || must {
			m.Fields = append(m.Fields, policy.Field{Var: field, Value: value})
		}
	}
	if members {
		set(policy.FieldMembersOnly, "1", true)
	}
	// Who comes to a moderated room is a visitor; on ejabberd only where it says so. Who may
	// not speak in one that is not moderated has no voice by the guard's hand.
	silences := sd.mucCaps.Ejabberd && sd.silencesLocked()
	moderated := quiet || (sd.room.shut || silences) && !members
	m.Shut, sd.cannot = sd.room.shut && !members, nil
	outcast := func(h policy.Holder) bool { return h.Is == policy.Outcast }
	switch {
	case !sd.mucCaps.Ejabberd || m.Shut:
	case members && silences:
		sd.cannot = []string{"the silence of members: here bans hold only while the room is not moderated, so they are not relayed, and yet heard in it"}
	case (quiet || silences) && (slices.ContainsFunc(m.Affiliations, outcast) || slices.ContainsFunc(seen.Affiliations, outcast)):
		moderated = false
		sd.cannot = []string{"silence: here bans hold only while the room is not moderated; who may not be heard is not relayed, and yet heard in it until the last ban ends"}
	}
	set(policy.FieldModerated, map[bool]string{true: "1", false: "0"}[moderated], moderated)
	for _, field := range fieldsVoiced {
		if _, known := sd.found[field]; !known {
			sd.found[field] = seen.Config[field]
		}
		if value := sd.found[field]; moderated {
			set(field, "0", false)
		} else if value != "" {
			set(field, value, false)
		}
	}
	set(fieldPersistent, "1", false)
	if sd.room.cfg.Topic {
		set(policy.FieldSubject, "0", false)
	}
	if members { // a member's invitation makes members
		set(fieldInvites, "0", false)
		set(fieldMemberInvites, "0", false)
	}
	// What the policy does not speak of stays as it was found, once the room is armed.
	for _, field := range [...]string{policy.FieldWhois, policy.FieldMembersOnly, fieldPassword} {
		now, there := seen.Config[field]
		if _, known := sd.found[field]; there && (!known || !sd.room.armed) {
			sd.found[field] = now
		}
		// A room that somebody opened is not shut again for nobody's rule: that throws people out.
		if was := sd.found[field]; was != "" && (field != policy.FieldMembersOnly || !members && was == "0") {
			set(field, was, false)
		}
	}
}
