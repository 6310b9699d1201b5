package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/policy"
)

// Leaver is somebody who has lost what they proved themselves by.
type Leaver struct {
	Person, Why string
	// JIDs are the bare JIDs that hold nothing any more in any guarded MUC.
	JIDs []string
	// Links are the accounts that were linked to them, as "corp/alice", and Proofs how
	// many proofs they were asked for, all ended by the caller.
	Links  []string
	Proofs int
	// Accounts are those of the configuration that are nobody's any more.
	Accounts []string
	// Known are the bare JIDs, and the accounts, as "corp/alice", of who is somebody still
	// and has lost part of what they may: that they go is no mistake of the rules.
	Known []string
}

// leaveTime is for how long those who left are out of the removal budget: nobody has to
// be asked whether they shall go.
const leaveTime = 10 * time.Minute

// OffBoard ends what somebody was given beside the policy, and notes it, with what the
// caller has ended, as one act. It comes after the Reload with the policy in which they
// have lost their rights: that judges them anew wherever they are.
func (g *Guard) OffBoard(l Leaver) {
	now := g.now()
	var did []string
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			did = append(did, "1 "+one)
		case n > 1:
			did = append(did, fmt.Sprintf("%d %s", n, many))
		}
	}
	links := " (" + strings.Join(l.Links, ", ") + ")"
	add(len(l.Links), "link"+links, "links"+links)
	add(l.Proofs+g.endTickets(func(t *Ticket) bool { return t.Person == l.Person }), "open proof", "open proofs")
	n := 0
	for _, r := range g.table.Load().rooms {
		r.mu.Lock()
		n += r.leaveLocked(&l, now)
		r.mu.Unlock()
	}
	add(n, "JID's right to a Jabber room", "JIDs' rights to Jabber rooms")
	g.newKeys()
	text := l.Why
	if len(did) > 0 {
		text += "; ended: " + strings.Join(did, ", ")
	}
	g.scribe.note(&Act{At: now, Who: l.Person, Person: l.Person, Acts: "off-boarding", Actor: actorGuard, Result: text})
}

// leaveLocked notes who left, and has a MUC take away what their JIDs hold there: that
// is kept until it is gone. It returns how many JIDs that are.
func (r *room) leaveLocked(l *Leaver, now time.Time) (n int) {
	for _, sd := range r.sides {
		for _, account := range slices.Concat(l.Accounts, l.Links, l.Known) {
			sd.leavers[policy.FoldAccount(account)] = now
		}
		if sd.channel() {
			continue
		}
		for _, jid := range l.Known {
			sd.leavers[jid] = now
		}
		for _, jid := range l.JIDs {
			n++
			sd.leavers[jid] = now
			if !sd.left[jid] {
				sd.takeAwayLocked(jid, now)
			}
		}
		poke(sd.look)
	}
	return n
}

// leaverLocked reports whether somebody left lately.
func (sd *side) leaverLocked(f *policy.Facts, now time.Time) bool {
	who := f.JID.Value
	if sd.channel() {
		who = policy.FoldAccount(f.Leg + "/" + f.Account.Value)
	}
	at, left := sd.leavers[who]
	return left && now.Sub(at) < leaveTime
}

// leaversLocked counts those who are there and left lately.
func (sd *side) leaversLocked(now time.Time) (n int) {
	if len(sd.leavers) == 0 {
		return 0
	}
	for _, sub := range sd.present {
		if sd.leaverLocked(&sub.facts, now) {
			n++
		}
	}
	return n
}

func leftID(room, jid string) string { return timerLeft + " " + room + " " + jid }

// takeAwayLocked notes that a JID shall hold nothing here.
func (sd *side) takeAwayLocked(jid string, now time.Time) {
	sd.left[jid] = true
	x := Timer{ID: leftID(sd.room.name, jid), Kind: timerLeft, Room: sd.room.name, Who: jid, Due: now}
	sd.room.g.scribe.keep(x.ID, func(ctx context.Context, s Store) error { return s.PutTimer(ctx, x) })
}

// wantLeftLocked adds those who left, and forgets those of them who hold nothing, or are
// back. Of those who are named already, wants is what they shall hold.
func (sd *side) wantLeftLocked(is, wants map[string]policy.Affiliation, add func(string, policy.Affiliation, string)) {
	for jid := range sd.left {
		has, named := wants[jid]
		if (is[jid] == policy.Member || is[jid] == policy.Admin) && (!named || has == policy.NoOne) {
			add(jid, policy.NoOne, "")
			continue
		}
		delete(sd.left, jid)
		id := leftID(sd.room.name, jid)
		sd.room.g.scribe.drop(id, id)
	}
}

// Present reports whether somebody logged in to an account is in a guarded channel now.
func (g *Guard) Present(network, account string) bool {
	for _, sd := range g.table.Load().byLeg[network] {
		sd.room.mu.Lock()
		there := sd.channel() && slices.ContainsFunc(sd.factsLocked(), func(f policy.Facts) bool {
			return f.Account.Known == policy.Yes && policy.SameAccount(f.Account.Value, account)
		})
		sd.room.mu.Unlock()
		if there {
			return true
		}
	}
	return false
}
