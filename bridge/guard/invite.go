package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// errNotNow is why somebody cannot be invited, in words for them.
type errNotNow string

func (e errNotNow) Error() string { return string(e) }

// errFull is told where more wait to be let in than can.
const errFull = errNotNow("too many wait to be let in there. Try again in a moment")

const usageInvite = "Write: !invite NETWORK/CHANNEL NICK, or !invite ROOM for yourself in a Jabber room. Then prove that it is you, as I say."

// place finds a side as people write it: "corp/#finance", or a MUC's JID.
func (t *table) place(name string) *side {
	for at, sd := range t.sides {
		if strings.EqualFold(at.String(), name) || at.Kind == bridge.MUC && strings.EqualFold(at.Name, name) {
			return sd
		}
	}
	return nil
}

// sideOf is where a ticket leads to; nil: it is not held any more.
func (t *table) sideOf(k *Ticket) *side {
	for at, sd := range t.sides {
		if at.Name == k.Target && (k.Network == at.Leg || k.Network == "" && at.Kind == bridge.MUC) {
			return sd
		}
	}
	return nil
}

// holds reports whether a place is held, by its name.
func (t *table) holds(name string) bool {
	for at := range t.sides {
		if at.String() == name {
			return true
		}
	}
	return false
}

// askInvite answers who wants to be invited: by a nonce, if they may.
func (g *Guard) askInvite(ctx context.Context, c *bridge.Claim, words []string) string {
	if len(words) == 0 || len(words) > 2 {
		return usageInvite
	}
	sd := g.table.Load().place(words[0])
	switch {
	case sd == nil:
		return fmt.Sprintf("Not done: no room called %.80q is guarded here.", words[0])
	case sd.channel() != (len(words) == 2):
		return usageInvite
	}
	t := Ticket{
		Kind: proof.Invite, By: byPerson(c), Person: c.Person, Leg: c.Leg, JID: c.JID, Bot: c.Bot,
		Room: sd.room.name, Target: sd.place.Name,
	}
	if sd.channel() {
		t.Network, t.Nick = sd.place.Leg, words[1]
	}
	f, err := g.mayCome(ctx, &t)
	if err == nil {
		if sd.channel() { // as the network writes it
			t.Nick, t.UserHost, t.Account = f.Nick, f.User+"@"+f.Host, accountOf(&f)
		}
		return g.askWhich(ctx, c, t)
	}
	return refusal(err)
}

// askWhich opens the ticket, and says how it can be answered.
func (g *Guard) askWhich(ctx context.Context, c *bridge.Claim, t Ticket) string {
	here := c.Rung >= policy.Verified && !c.Stale
	if p := g.table.Load().people[c.Person]; !here && (p == nil || len(p.OpenPGP) == 0) {
		return "Not done: your message came " + c.Rung.String() + ", and this takes verified. " + g.howToProve(c.Person)
	}
	t, code, err := g.askProof(ctx, t)
	if err != nil {
		return refusal(err)
	}
	if here {
		return fmt.Sprintf("To be let into %s as you asked, answer here until %s UTC:\n!invite %s", whereTo(&t), t.Until.UTC().Format(time.TimeOnly), code)
	}
	return fmt.Sprintf("Sign the next line by your key, all of it and nothing else (gpg --clearsign), and send me what comes out, until %s UTC:\n%s", t.Until.UTC().Format(time.TimeOnly), proof.Sentence(&t, code))
}

func whereTo(t *Ticket) string {
	if t.Network == "" {
		return t.Target
	}
	return t.Target + " on " + t.Network
}

func accountOf(f *policy.Facts) string {
	if f.Account.Known == policy.Yes {
		return f.Account.Value
	}
	return ""
}

// mayCome looks up, anew, whether what a ticket asks for may be done now, and who has
// its nick. An error is for refusal; a rule's own reason stands in it.
func (g *Guard) mayCome(ctx context.Context, t *Ticket) (policy.Facts, error) {
	sd := g.table.Load().sideOf(t)
	if sd == nil {
		return policy.Facts{}, errNotNow("that room is not guarded any more")
	}
	if err := sd.open(t); err != nil || !sd.channel() {
		return policy.Facts{}, err
	}
	finder, ok := sd.finder()
	if !ok {
		return policy.Facts{}, errNotNow("people cannot be looked up on that network")
	}
	f, err := finder.Find(ctx, t.Nick)
	switch {
	case errors.Is(err, bridge.ErrNobody):
		return f, errNotNow(fmt.Sprintf("nobody has the nick %.40s on %s now", t.Nick, t.Network))
	case err != nil:
		return f, errNotNow("the network does not say who that is now. Try again in a moment")
	}
	return f, sd.welcomes(t, &f)
}

// finder is the side's leg, if it can look people up.
func (sd *side) finder() (bridge.Finder, bool) {
	sd.room.mu.Lock()
	defer sd.room.mu.Unlock()
	l, ok := sd.leg.(bridge.Finder)
	return l, ok
}

// open says why nobody can be invited by that ticket, nil if its person can.
func (sd *side) open(t *Ticket) error {
	r := sd.room
	now := r.g.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	acts, peer := sd.actsLocked()
	switch {
	case !r.loaded || !sd.ready || !sd.holds:
		return errNotNow(sd.place.String() + " is not held by me now. Tell an admin")
	case !acts:
		return errNotNow(peer + " holds " + sd.place.String() + " now. Ask there")
	case r.shut:
		return errNotNow("the room is shut for now. Try again later")
	case sd.fullLocked():
		return errFull
	}
	if p := r.table.people[t.Person]; p == nil || keyFor(p) == "" {
		return errNotNow("no key is verified as yours, and nothing else proves you")
	} else if !provenBy(p, t.Proof) {
		return errNotNow("the key that you have proven yourself by is not verified as yours now. If it was just accepted, try again in a moment")
	}
	d, ok := sd.mayInviteLocked(t.Person, t.JID, now)
	switch {
	case !ok && d.Reason != "":
		return errNotNow(d.Reason)
	case !ok:
		return errNotNow("no rule lets you be invited there. Ask an admin")
	case !sd.channel():
		f := policy.NewXMPPFacts(sd.place.Leg, "")
		f.JID = policy.Is(t.JID, byProof, time.Time{})
		return sd.doorLocked(&f, t.Person, d.Rule, now)
	}
	return nil
}

// doorLocked says why somebody would not be let in, invited as they are.
func (sd *side) doorLocked(f *policy.Facts, person, rule string, now time.Time) error {
	sd.fillLocked(f, "", now)
	f.Granted = rule
	f.Key = policy.Is(keyFor(sd.room.table.people[person]), byProof, time.Time{})
	sd.room.g.banned(sd.room.policy, f, sd.room.name, now)
	d := policy.Decide(sd.room.policy, f, policy.Event{Room: sd.room.name, Do: policy.Join}, now)
	if d.Effect >= policy.Deny {
		return errNotNow("you would not be let in: " + sd.reasonLocked(&d))
	}
	return nil
}

// welcomes says why a nick that was looked up cannot be invited.
func (sd *side) welcomes(t *Ticket, f *policy.Facts) error {
	r := sd.room
	r.mu.Lock()
	defer r.mu.Unlock()
	whose := r.policy.Who(f)
	switch _, there := sd.present[f.Nick]; {
	case f.Self:
		return errNotNow("that is me")
	case len(whose) > 0 && !slices.Contains(whose, t.Person):
		return errNotNow(f.Nick + " is somebody else's: it is logged in to an account that is not yours")
	case there:
		return errNotNow(f.Nick + " is in " + sd.place.Name + " already")
	}
	now := r.g.now()
	d, ok := sd.mayInviteLocked(t.Person, t.JID, now)
	if !ok {
		return errNotNow("no rule lets you be invited there. Ask an admin")
	}
	known := *f
	return sd.doorLocked(&known, t.Person, d.Rule, now)
}

// isOf reports whether somebody is logged in to an account of the person.
func (r *room) isOf(f *policy.Facts, person string) bool {
	return accountOf(f) != "" && slices.Contains(r.policy.Who(f), person)
}
