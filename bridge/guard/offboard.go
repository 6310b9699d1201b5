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
}

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
	add(g.leave(l.JIDs, now), "JID's right to a Jabber room", "JIDs' rights to Jabber rooms")
	g.newKeys()
	text := l.Why
	if len(did) > 0 {
		text += "; ended: " + strings.Join(did, ", ")
	}
	g.scribe.note(&Act{At: now, Who: l.Person, Person: l.Person, Acts: "off-boarding", Actor: actorGuard, Result: text})
}

// leave has every guarded MUC take away what JIDs hold there. What is to be taken is
// kept until it is gone. It returns how much it may be.
func (g *Guard) leave(jids []string, now time.Time) (n int) {
	for _, r := range g.table.Load().rooms {
		r.mu.Lock()
		for _, sd := range r.sides {
			if sd.channel() {
				continue
			}
			for _, jid := range jids {
				sd.leaveLocked(jid, now)
				n++
			}
			poke(sd.look)
		}
		r.mu.Unlock()
	}
	return n
}

func leftID(room, jid string) string { return timerLeft + " " + room + " " + jid }

// leaveLocked notes that a JID shall hold nothing here.
func (sd *side) leaveLocked(jid string, now time.Time) {
	sd.left[jid] = true
	x := Timer{ID: leftID(sd.room.name, jid), Kind: timerLeft, Room: sd.room.name, Who: jid, Due: now}
	sd.room.g.scribe.keep(x.ID, func(ctx context.Context, s Store) error { return s.PutTimer(ctx, x) })
}

// wantLeftLocked adds those who left, and forgets those of them who hold nothing.
func (sd *side) wantLeftLocked(is map[string]policy.Affiliation, named map[string]bool, add func(string, policy.Affiliation, string)) {
	for jid := range sd.left {
		has := is[jid]
		if named[jid] || has != policy.Member && has != policy.Admin {
			delete(sd.left, jid)
			id := leftID(sd.room.name, jid)
			sd.room.g.scribe.keep(id, func(ctx context.Context, s Store) error { return s.Drop(ctx, id) })
			continue
		}
		add(jid, policy.NoOne, "")
	}
}

// Present reports whether somebody logged in to an account is in a guarded channel now.
func (g *Guard) Present(network, account string) bool {
	for _, sd := range g.table.Load().byLeg[network] {
		sd.room.mu.Lock()
		there := sd.channel() && slices.ContainsFunc(sd.factsLocked(), func(f policy.Facts) bool {
			return f.Account.Known == policy.Yes && strings.EqualFold(f.Account.Value, account)
		})
		sd.room.mu.Unlock()
		if there {
			return true
		}
	}
	return false
}
