package guard

import (
	"context"
	"maps"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
)

// side is a room on one network: a channel or a MUC. room.mu guards all but the
// first block.
type side struct {
	room  *room
	place bridge.Room
	wake  chan struct{} // capacity 1: there is something to carry out
	look  chan struct{} // capacity 1: the room's own state may have changed
	stop  context.CancelFunc

	leg       bridge.Enforcer
	ready     bool
	lost      time.Time // when the bot was last there; zero: it is, or never was
	why       string
	batch     int // of those whom the leg tells at once
	telling   bool
	present   map[string]*subject
	self      string // the bot's nick
	holds     bool   // op, or owner
	looked    time.Time
	down      bool               // services are
	greets    bool               // ChanServ tells who comes in what a migration wants said
	locked    string             // the mode lock that was waited for
	settle    time.Time          // ops that servers set are judged then
	regains   int                // times op, or to be let in, was asked for in vain
	regain    time.Time          // when to ask again; zero: not
	recovered time.Time          // when RECOVER was asked for
	mess      bool               // RECOVER left the channel +im
	shutOut   bool               // the channel does not let the bot in
	topic     *string            // that is kept
	right     map[string]bool    // what of a MUC was set right before, by matter
	doers     map[string]string  // who changed what of a MUC since the last look
	kept      []policy.BanRecord // of an earlier process, whose entries are not marked for sure
	found     map[string]string  // of a MUC's configuration: what the policy does not speak of
	caps      policy.ChannelCaps
	mucCaps   policy.MUCCaps
	moderated bool           // the MUC, as last seen
	gated     bool           // the MUC is members-only, as last seen
	flags     string         // of the channel, as last seen
	merged    []string       // its bans that a server or a service set, and nobody since
	passes    []string       // entries of the channel's list of exceptions from +i, as last seen
	closed    bool           // the policy itself wants it invite-only, or members-only
	want      policy.Channel // as last compiled
	wantMUC   policy.MUC
	cannot    []string
	ending    map[string]bool // stays that ended, and whose entries may still stand
	plan      []string        // of a dry run, or refused
	repairs   []time.Time

	left    map[string]bool      // bare JIDs of those who left: they shall hold nothing
	leavers map[string]time.Time // bare JIDs and accounts of those who left, and when

	// What there is to carry out.
	removals []*removal
	kicked   time.Time  // when some were last taken from there
	status   []*subject // whose rights or role have to change
	lists    []entry
	lookups  []lookup
	words    []whisper
	invites  []string
	members  []string // bare JIDs that become members of the MUC, and are asked in
	orders   []*mucOrder
	doors    bool     // the lockdown began or ended
	asks     []string // what services are asked for: "OP", "RECOVER"
	handed   *handed
	undone   undone
}

// subject is somebody who is in a place.
type subject struct {
	facts    policy.Facts
	key      string // what it is known best by
	person   string
	peer     *Peer
	rights   string // letters of PREFIX
	is       policy.Affiliation
	role     policy.Role
	here     bool // was there before the bot
	known    bool // had been let in before it came
	batch    int
	judged   bool
	effect   policy.Effect // of being there
	rule     string
	quiet    bool // withheld, and without voice
	reason   string
	basis    policy.Basis
	by       verdict // for which the rights below change
	give     string  // rights to give, and to take
	take     string
	want     policy.Role // "": as it is
	queued   bool        // among side.status
	asked    policy.Missing
	told     bool
	answered time.Time // when it was told last because it asked
	mute     bool      // shall be silenced by an entry of a list
	muted    *entry    // by which it cannot speak
	again    time.Time
	stay     *Timer // by which it was invited, if that is good
	guest    bool   // it was invited
	passed   bool   // came through a door that was shut
	removal  *removal
	byOther  bool // its rights were changed by somebody else than the guard
}

// verdict is what a decision comes to.
type verdict struct {
	do     policy.Do
	effect policy.Effect
	basis  policy.Basis
	rule   string
}

func verdictOf(do policy.Do, d *policy.Decision) verdict {
	return verdict{do, d.Effect, d.Basis, d.Rule}
}

// removal is somebody who has to go.
type removal struct {
	sub    *subject
	nick   string
	reason string
	counts bool // for the budget
	ban    *policy.BanRecord
	makes  *policy.Decision // of a rule that bans: the ban begins as they go, within the budget
	act    *Act
	from   time.Time // not before then
	behind bool      // or before the room's own state was set right: it was enabled just now
	sent   time.Time // zero: nothing was asked for yet
	due    time.Time // when it is looked at again, once something was
	failed bool      // that could not be carried out
	paid   time.Time // when it was counted in the budget last
	tries  int
	gone   bool // they left before it was asked for: who is to be banned is all the same
	held   bool // over the budget, or a dry run: nothing is sent
	left   bool // to a peer, which let them in: held, too
}

type (
	// entry is a change of a list that has to be made now.
	entry struct {
		mode byte
		mask string
		drop bool
	}
	lookup struct {
		nick    string
		missing policy.Missing
	}
	whisper struct{ nick, words string }
	// handed is what lookAfter has to be carried out.
	handed struct {
		changes bridge.Changes
		done    chan error // capacity 1
	}
)

func newSide(r *room, place bridge.Room) *side {
	return &side{room: r, place: place, wake: make(chan struct{}, 1), look: make(chan struct{}, 1), present: map[string]*subject{}, left: map[string]bool{}, leavers: map[string]time.Time{}, found: map[string]string{}, right: map[string]bool{}}
}

// inherit takes over who is there from the side that held the place before, in a room
// of another name.
func (sd *side) inherit(before *side) {
	before.room.mu.Lock()
	defer before.room.mu.Unlock()
	sd.leg, sd.ready, sd.batch, sd.self, sd.holds, sd.down, sd.greets = before.leg, before.ready, before.batch, before.self, before.holds, before.down, before.greets
	maps.Copy(sd.left, before.left)
	maps.Copy(sd.leavers, before.leavers)
	sd.caps, sd.mucCaps, sd.flags, sd.gated = before.caps, before.mucCaps, before.flags, before.gated
	for nick, sub := range before.present {
		sd.present[nick] = &subject{facts: sub.facts, key: sub.key, rights: sub.rights, is: sub.is, role: sub.role, here: sub.here, batch: sub.batch}
	}
}

// lostLocked forgets who is there: the bot is not. A door that was to be shut or opened
// still is, once it is back: no look would open it.
func (sd *side) lostLocked() {
	now := sd.room.g.now()
	for _, sub := range sd.present {
		sd.room.floods.Left(sub.key, false, now)
	}
	for _, o := range sd.orders {
		sd.orderedLocked(o, bridge.ErrNotReady)
	}
	sd.doors = sd.doors || sd.undone.doors
	sd.orders, sd.undone = nil, undone{}
	sd.ready, sd.holds, sd.present = false, false, map[string]*subject{}
	sd.merged = nil
	sd.removals, sd.status, sd.lists, sd.lookups, sd.words, sd.invites, sd.members, sd.asks = nil, nil, nil, nil, nil, nil, nil, nil
}

// channel reports whether the side is an IRC channel.
func (sd *side) channel() bool { return sd.place.Kind == bridge.Channel }

// actsLocked reports whether this guard acts here: not while a peer of a lower ID is
// there that can.
func (sd *side) actsLocked() (yes bool, peer string) {
	if len(sd.room.table.cfg.Peers) == 0 {
		return true, ""
	}
	for _, sub := range sd.present {
		if p := sub.peer; p != nil && p.ID < sd.room.table.cfg.ID && sd.canHold(sub) && (peer == "" || p.ID < peer) {
			peer = p.ID
		}
	}
	return peer == "", peer
}

// canHold reports whether somebody has what a guard needs to hold the place.
func (sd *side) canHold(sub *subject) bool {
	if sd.channel() {
		return strings.ContainsAny(sub.rights, "qaoh")
	}
	return sub.is == policy.Owner
}

// peerLocked gives a peer that is there what it needs to hold the place, too. In a MUC
// the next look makes it owner.
func (sd *side) peerLocked(sub *subject) {
	sub.give, sub.take, sub.want = "", "", ""
	if sd.canHold(sub) {
		return
	}
	if !sd.channel() {
		poke(sd.look)
		return
	}
	sub.give, sub.by = "o", verdict{do: policy.Op, effect: policy.Allow, basis: policy.ByRule, rule: "peer " + sub.peer.ID}
	sd.queueLocked(sub)
}

// powerful reports whether the subject can remove others.
func (sub *subject) powerful() bool {
	return strings.ContainsAny(sub.rights, "qaoh") || sub.is == policy.Owner || sub.is == policy.Admin || sub.role == policy.Moderator
}

// keyOf is what somebody is known best by.
func keyOf(f *policy.Facts, who []string) string {
	switch {
	case len(who) > 0:
		return "person " + who[0]
	case f.Account.Known == policy.Yes:
		return "account " + f.Leg + "/" + policy.FoldAccount(f.Account.Value)
	case f.JID.Known == policy.Yes:
		return "jid " + f.JID.Value
	case f.Occupant.Known == policy.Yes: // whatever nick they take, and when they come back
		return "occupant " + f.Leg + "/" + f.Occupant.Value
	case f.Host != "":
		return "mask " + f.Nick + "!" + f.User + "@" + f.Host
	}
	return "nick " + f.Leg + "/" + f.Nick
}

// source is how people write somebody.
func source(f *policy.Facts) string {
	switch {
	case f.Host != "":
		return f.Nick + "!" + f.User + "@" + f.Host
	case f.JID.Known == policy.Yes:
		return f.JID.Value
	}
	return f.Nick
}

// peerOf returns the peer that the facts prove, nil if it is none.
func (t *table) peerOf(f *policy.Facts) *Peer {
	for i := range t.cfg.Peers {
		p := &t.cfg.Peers[i]
		if f.Account.Known == policy.Yes && p.Accounts[f.Leg] != "" && policy.SameAccount(p.Accounts[f.Leg], f.Account.Value) {
			return p
		}
		if f.JID.Known != policy.Yes {
			continue
		}
		for _, j := range p.JIDs {
			if j == f.JID.Value {
				return p
			}
		}
	}
	return nil
}
