package guard

import (
	"slices"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// mucChangesLocked puts all that waits into steps of a MUC.
func (sd *side) mucChangesLocked(w *work) {
	items := sd.mucCaps.Items
	if items <= 0 {
		items = 50
	}
	var visits []policy.Visit
	var holders []policy.Holder
	bans := false
	for _, x := range w.removals {
		if x.ban != nil {
			for _, jid := range sd.room.g.masks(sd, x.ban) {
				bans = true
				holders = append(holders, policy.Holder{JID: jid, Is: policy.Outcast, Reason: x.reason})
				sd.room.g.projected(sd, x.ban, jid)
			}
		}
		if x.ban == nil && x.sub.guest && x.sub.stay == nil && x.sub.is == policy.Member && x.sub.facts.JID.Known == policy.Yes {
			// Else they would be back before their membership is taken.
			holders = append(holders, policy.Holder{JID: x.sub.facts.JID.Value, Is: policy.NoOne, Reason: x.reason})
			if sd.closed {
				continue // that puts them out
			}
		}
		if !x.gone && (x.ban == nil || x.sub.facts.JID.Known != policy.Yes) {
			visits = append(visits, policy.Visit{Nick: x.nick, Role: policy.NoRole, Reason: x.reason})
		}
	}
	for _, sub := range w.status {
		if sd.present[sub.facts.Nick] != sub || sub.removal != nil && !sub.removal.held || sub.want == "" || sub.want == sub.role {
			continue
		}
		visits = append(visits, policy.Visit{Nick: sub.facts.Nick, Role: sub.want})
		w.acts = append(w.acts, sd.rightsAct(sub))
	}
	step := func(s policy.MUCStep) { w.add(bridge.Changes{Step: &s}) }
	for chunk := range slices.Chunk(holders, items) {
		step(policy.MUCStep{Holders: chunk})
	}
	if bans && sd.mucCaps.Ejabberd && sd.moderated && !sd.room.shut {
		sd.moderated = false
		step(policy.MUCStep{Fields: []policy.Field{{Var: policy.FieldModerated, Value: "0"}}}) // or they come back in
	}
	for chunk := range slices.Chunk(visits, items) {
		step(policy.MUCStep{Visits: chunk})
	}
	acts, _ := sd.actsLocked()
	acts = acts && sd.room.armed
	if sd.doors {
		if sd.doors = false; acts {
			poke(sd.look)
		}
	}
	if acts {
		w.again = tasks{members: sd.members, invites: sd.invites}
		sd.lettingInLocked(w, items)
	}
	sd.members, sd.invites, sd.lists, sd.asks = nil, nil, nil, nil
	if len(holders)+len(w.again.members) > 0 && sd.mucCaps.Ejabberd {
		poke(sd.look) // every ban is looked after there
	}
	sd.ordersLocked(w)
}

// lettingInLocked makes members of those who were invited on proof, and asks them in; and
// those who knocked.
func (sd *side) lettingInLocked(w *work, items int) {
	for chunk := range slices.Chunk(sd.members, items) {
		s := &policy.MUCStep{}
		for _, jid := range chunk {
			s.Holders = append(s.Holders, policy.Holder{JID: jid, Is: policy.Member, Reason: byProof})
		}
		w.add(bridge.Changes{Step: s, Invite: chunk})
	}
	if len(sd.invites) > 0 {
		w.add(bridge.Changes{Invite: sd.invites})
	}
}
