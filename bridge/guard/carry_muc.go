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
	for _, x := range w.removals {
		if x.ban != nil {
			for _, jid := range sd.room.g.masks(sd, x.ban) {
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
		if x.ban == nil || x.sub.facts.JID.Known != policy.Yes {
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
	acts, _ := sd.actsLocked()
	if sd.room.armed && acts {
		for _, jid := range sd.members {
			holders = append(holders, policy.Holder{JID: jid, Is: policy.Member, Reason: byProof})
		}
		sd.invites = append(sd.invites, sd.members...)
	}
	sd.members = nil
	step := func(s policy.MUCStep) { w.changes = append(w.changes, bridge.Changes{Step: &s}) }
	for chunk := range slices.Chunk(holders, items) {
		step(policy.MUCStep{Holders: chunk})
	}
	for chunk := range slices.Chunk(visits, items) {
		step(policy.MUCStep{Visits: chunk})
	}
	if sd.doors {
		if sd.doors = false; sd.room.armed && acts {
			poke(sd.look)
		}
	}
	if len(holders) > 0 && sd.mucCaps.Ejabberd {
		poke(sd.look) // every ban is looked after there
	}
	if len(sd.invites) > 0 && sd.room.armed && acts {
		w.changes = append(w.changes, bridge.Changes{Invite: sd.invites})
	}
	sd.invites, sd.lists, sd.asks = nil, nil, nil
	sd.ordersLocked(w)
}
