package guard

import (
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// See implements bridge.Watcher: it decides at once, notes what there is to do, and
// wakes who does it.
func (g *Guard) See(s *bridge.Sight) {
	t, now := g.table.Load(), g.now()
	switch s.Kind {
	case bridge.SightSessions:
		t.sessions(s.Facts.JID.Value, now)
		return
	case bridge.SightMerged, bridge.SightServices:
		for _, sd := range t.byLeg[s.Leg] {
			sd.room.mu.Lock()
			if s.Kind == bridge.SightMerged {
				sd.settle = now // the leg has waited for it to settle
			} else {
				sd.servicesLocked(s.Down, now)
			}
			sd.room.mu.Unlock()
		}
		return
	}
	sd := t.sides[s.Room]
	if sd == nil {
		return
	}
	sd.room.mu.Lock()
	defer sd.room.mu.Unlock()
	sd.seeLocked(s, now)
}

func (sd *side) seeLocked(s *bridge.Sight, now time.Time) {
	switch s.Kind {
	case bridge.SightReady:
		sd.readyLocked(s, now)
	case bridge.SightLost:
		sd.lostLocked()
		sd.lost, sd.why = now, s.Text
		sd.shutOutLocked(s, now)
	case bridge.SightHere, bridge.SightCame:
		sd.cameLocked(s, now)
	case bridge.SightChanged:
		sd.changedLocked(s, now)
	case bridge.SightWent:
		sd.wentLocked(s, now)
	case bridge.SightSaid:
		sd.saidLocked(s, now)
	case bridge.SightRights:
		sd.rightsLocked(s, now)
	case bridge.SightMode:
		sd.modeLocked(s, now)
	case bridge.SightRefused:
		sd.refusedLocked(s, now)
	case bridge.SightInvited:
		sd.knockLocked(s, now)
	}
}

// readyLocked begins: all who are there are known.
func (sd *side) readyLocked(s *bridge.Sight, now time.Time) {
	sd.ready, sd.lost, sd.shutOut, sd.regains, sd.regain = true, time.Time{}, false, 0, time.Time{}
	if s.Caps != nil {
		sd.caps = *s.Caps
	}
	for nick, sub := range sd.present { // of whom the leg has not told again
		if sub.batch != sd.batch && !sub.facts.Self {
			sd.room.floods.Left(sub.key, false, now)
			delete(sd.present, nick)
		}
	}
	sd.telling = false
	if s.Facts.Nick != "" && sd.self == "" {
		sd.self = s.Facts.Nick
	}
	sd.room.overLocked("lost " + sd.place.String())
	if sd.doors && !sd.looked.IsZero() { // else it is not known yet what the policy wants of them
		poke(sd.wake)
	}
	sd.judgeAllLocked(now)
	poke(sd.look)
}

// cameLocked notes somebody who joined, or was there.
func (sd *side) cameLocked(s *bridge.Sight, now time.Time) {
	r := sd.room
	if s.Kind == bridge.SightHere && !sd.telling {
		sd.telling = true
		sd.batch++
	}
	if sub := sd.present[s.Facts.Nick]; sub != nil && s.Kind == bridge.SightHere {
		// A leg tells again who is there, as after a reload.
		sub.batch, sub.rights, sub.is, sub.role = sd.batch, s.Rights, s.Is, s.Role
		sd.changedLocked(s, now)
		return
	}
	sub := &subject{facts: s.Facts, batch: sd.batch, rights: s.Rights, is: s.Is, role: s.Role, here: s.Kind == bridge.SightHere}
	sub.facts.Since = now
	if s.Self {
		sub.facts.Self = true
		sd.self = s.Facts.Nick
		sd.ownLocked(sub)
	}
	sub.passed = strings.Contains(sd.flags, "i")
	sd.knowLocked(sub, now)
	_, sub.known = r.admitted[sub.key]
	sd.arrivedLocked(sub, now)
	sd.present[s.Facts.Nick] = sub
	if sub.facts.Self || sub.here {
		r.floods.Joined(sub.key, "", now)
		if sd.ready {
			sd.judgeLocked(sub, now)
		}
		return
	}
	_, returned := r.floods.Joined(sub.key, sd.hostOf(sub), now)
	if sub.peer == nil && r.lock.Joined(returned, now) && r.loaded {
		text := "many joined at once: it is shut until " + r.lock.Until().UTC().Format(time.TimeOnly)
		if !r.armed {
			text = "many joined at once: it would be shut, and this is a dry run"
		}
		r.alarmLocked("lockdown", text, now)
	}
	r.carryShutLocked(now)
	sd.judgeLocked(sub, now)
	if sub.is == policy.Outcast {
		poke(sd.look) // who is banned there came in all the same: see MUCCaps.Ejabberd
	}
	if sub.effect <= policy.Quarantine {
		sd.entryLocked(sub, now)
	}
}

// hostOf is the host for counting clones: not of those whom we know, of whom a whole
// company may sit behind one.
func (sd *side) hostOf(sub *subject) string {
	if sub.person != "" {
		return ""
	}
	return sub.facts.Host
}

// knowLocked notes who somebody is.
func (sd *side) knowLocked(sub *subject, now time.Time) {
	sd.room.table.reach(&sub.facts)
	sub.stay = sd.grantLocked(&sub.facts, now)
	sub.guest = sub.guest || sub.stay != nil || sd.wasGuestLocked(&sub.facts)
	who := sd.room.policy.Who(&sub.facts)
	sub.person = ""
	if len(who) > 0 {
		sub.person = who[0]
	}
	sub.peer = sd.room.table.peerOf(&sub.facts)
	sub.key = keyOf(&sub.facts, who)
}

// changedLocked takes in what else is known now of somebody.
func (sd *side) changedLocked(s *bridge.Sight, now time.Time) {
	r := sd.room
	old := orElse(s.Old, s.Facts.Nick)
	sub := sd.present[old]
	if sub == nil {
		return
	}
	since, self, key := sub.facts.Since, sub.facts.Self, sub.key
	if old != s.Facts.Nick {
		sd.renamedLocked(sub, &s.Facts)
	}
	sub.facts = s.Facts
	sub.facts.Since, sub.facts.Self = since, self || s.Self
	sd.knowLocked(sub, now)
	if _, known := r.admitted[sub.key]; known && key != sub.key && old == s.Facts.Nick {
		sub.known = true // they are somebody who was here before
	}
	if old != s.Facts.Nick {
		delete(sd.present, old)
		sd.present[s.Facts.Nick] = sub
		if sub.facts.Self {
			sd.self = s.Facts.Nick
		}
		r.floods.Renamed(key, sub.key, now)
		if sub.removal != nil {
			sub.removal.nick = s.Facts.Nick
		}
	} else if key != sub.key {
		r.floods.Became(key, sub.key, sd.hostOf(sub), now)
	}
	sd.judgeLocked(sub, now)
}

// wentLocked forgets somebody.
func (sd *side) wentLocked(s *bridge.Sight, now time.Time) {
	sub := sd.present[s.Facts.Nick]
	if sub == nil {
		return
	}
	r := sd.room
	delete(sd.present, s.Facts.Nick)
	if sd.leftLocked(sub, s.Split); sub.guest {
		poke(sd.look) // their membership may be taken back now
	}
	r.floods.Left(sub.key, s.Split, now)
	if sub.muted != nil {
		sd.lists = append(sd.lists, entry{sub.muted.mode, sub.muted.mask, true})
		poke(sd.wake)
	}
	if sd.channel() && sub.facts.TLS.Known != policy.Yes && strings.Contains(sd.want.Set, "z") && !strings.Contains(sd.flags, "z") {
		poke(sd.look) // it may have been the last one without TLS
	}
	if sub.peer != nil {
		for _, x := range sd.removals { // it may be our turn
			x.from = time.Time{}
		}
		poke(sd.wake)
		sd.judgeAllLocked(now)
		poke(sd.look)
	}
}

// saidLocked counts a line, and judges the speaker if it is one too many.
func (sd *side) saidLocked(s *bridge.Sight, now time.Time) {
	sub := sd.present[s.Facts.Nick]
	if sub == nil || sub.facts.Self || sub.peer != nil {
		return
	}
	before := sub.facts.Floods
	if sub.facts.Floods = sd.room.floods.Said(sub.key, s.Said, now); sub.facts.Floods != before {
		sd.judgeLocked(sub, now)
	}
}

// servicesLocked notes that services went or came back. While they are away nobody's
// lack of an account is known; a leg says that they are back once it has asked anew.
func (sd *side) servicesLocked(down bool, now time.Time) {
	sd.down = down
	r := sd.room
	if down {
		r.alarmLocked("services "+sd.place.Leg, "services of "+sd.place.Leg+" are away: nobody is removed for lack of an account", now)
	} else {
		r.overLocked("services " + sd.place.Leg)
	}
	sd.judgeAllLocked(now)
}

// refusedLocked hears that the server did not do what was asked.
func (sd *side) refusedLocked(s *bridge.Sight, now time.Time) {
	r := sd.room
	what, text := r.keys.hush(s.What), r.keys.hush(s.Text)
	if s.Later {
		sd.settle = newest(sd.settle, now.Add(laterTime))
		r.g.log.Info("a server wants a change later", "leg", sd.place.Leg, "room", sd.place.Name, "err", text)
		return
	}
	r.eventLocked("refused "+sd.place.String(), sd.place.String()+" refused "+what+": "+text, now)
	r.noteLocked(&Act{At: now, Room: r.name, Place: sd.place.String(), Effect: policy.Alert, Acts: what, Actor: actorGuard, Result: "refused: " + text})
}

// knockLocked lets somebody in who asks and may.
func (sd *side) knockLocked(s *bridge.Sight, now time.Time) {
	r := sd.room
	if !r.loaded {
		return
	}
	if sub := sd.present[s.Facts.Nick]; sub != nil { // who asks for a voice has it, or may not
		if d := now.Sub(sub.answered); d >= alarmEvery || d < 0 {
			sub.told, sub.answered = false, now
		}
		sd.judgeLocked(sub, now)
		return
	}
	f := s.Facts
	sd.fillLocked(&f, "", now)
	d := policy.Decide(r.policy, &f, policy.Event{Room: r.name, Do: policy.Join}, now)
	may := d.Effect <= policy.Alert && d.Basis != policy.ByDoubt && !r.shut
	a := sd.actLocked(&f, &d, policy.Join, now)
	a.Acts, a.Result = "invite", r.resultLocked("sent")
	switch {
	case !may:
		a.Acts, a.Result = "", "not let in"
	case sd.fullLocked():
		a.Result = "not sent: too many wait"
	}
	if !sd.onceLocked(a, now) {
		return // who knocks again and again is asked in once in ten minutes
	}
	r.noteLocked(a)
	if acts, _ := sd.actsLocked(); may && acts && r.armed && !sd.fullLocked() {
		who := s.Facts.Nick
		if !sd.channel() {
			who = s.Facts.JID.Value
		}
		if who != "" {
			sd.invites = append(sd.invites, who)
			poke(sd.wake)
		}
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// newest is the later of two times.
func newest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
