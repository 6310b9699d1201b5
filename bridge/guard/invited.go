package guard

import (
	"context"
	"fmt"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/proof"
	"drawbridge/policy"
)

// provenInvite goes on once the person has proven who they are: with the invitation, or
// with a second code where the nick is not logged in to an account of theirs.
func (g *Guard) provenInvite(ctx context.Context, t *Ticket) string {
	f, err := g.mayCome(ctx, t)
	if err != nil {
		return refusal(err)
	}
	sd := g.table.Load().sideOf(t)
	if sd == nil {
		return refusal(errNotNow("that room is not guarded any more"))
	}
	if err := g.takeProof(ctx, t); err != nil {
		return refusal(err)
	}
	if !sd.channel() {
		return g.letIn(ctx, sd, t, policy.MaskJID+t.JID)
	}
	t.Nick, t.UserHost, t.Account = f.Nick, f.User+"@"+f.Host, accountOf(&f)
	sd.room.mu.Lock()
	theirs := sd.room.isOf(&f, t.Person)
	sd.room.mu.Unlock()
	if theirs {
		return g.letIn(ctx, sd, t, policy.MaskAccount+t.Network+"/"+t.Account)
	}
	t.Step = proof.StepNick
	next, code, err := g.nextProof(ctx, *t)
	if err != nil {
		return refusal(err)
	}
	return fmt.Sprintf("You are who you say. %s is not logged in to an account of yours, so it has to say that it is you. On %s write as %s, until %s UTC:\n/msg %s !invite %s",
		t.Nick, t.Network, t.Nick, next.Until.UTC().Format(time.TimeOnly), sd.selfNick(), code)
}

// selfNick is the bot's nick where the side is.
func (sd *side) selfNick() string {
	sd.room.mu.Lock()
	defer sd.room.mu.Unlock()
	return sd.self
}

// Aside implements bridge.AsideDesk: it takes the second code, from the very nick, user
// and host that was looked up. Who knows no code is not answered.
func (g *Guard) Aside(ctx context.Context, a bridge.Aside) string {
	if len(a.Words) != 2 || !proof.IsCode(a.Words[1]) {
		return ""
	}
	from := a.From.Nick + "!" + a.From.User + "@" + a.From.Host
	by := "irc " + a.Leg + "/" + a.From.User + "@" + a.From.Host
	t, err := g.findProof(by, a.Words[1], func(t *Ticket) bool {
		return t.Kind == proof.Invite && t.Step == proof.StepNick && t.Network == a.Leg
	})
	switch {
	case err != nil:
		return refusal(err)
	case !strings.EqualFold(from, t.Nick+"!"+t.UserHost):
		g.wrongProof(by)
		g.tell(t.Person, fmt.Sprintf("Your code for %s came from %s on %s, not from %s!%s. It was not taken. If that was not you, somebody else knows it.", whereTo(&t), from, t.Network, t.Nick, t.UserHost))
		return "Not done: that code is for another nick, or another connection."
	}
	f, err := g.mayCome(ctx, &t)
	if err == nil && f.User+"@"+f.Host != t.UserHost {
		err = errNotNow("that code is for another connection")
	}
	sd := g.table.Load().sideOf(&t)
	if err == nil && sd == nil {
		err = errNotNow("that room is not guarded any more")
	}
	if err == nil {
		err = g.takeProof(ctx, &t)
	}
	if err != nil {
		return refusal(err)
	}
	who := from
	sd.room.mu.Lock()
	if sd.room.isOf(&f, t.Person) { // meanwhile
		t.Account = accountOf(&f)
		who = policy.MaskAccount + t.Network + "/" + t.Account
	}
	sd.room.mu.Unlock()
	text := g.letIn(ctx, sd, &t, who)
	g.tell(t.Person, text)
	return text
}

// letIn invites: what the invited may is on disk before the server hears of it. who is
// what they are known by at the door.
func (g *Guard) letIn(ctx context.Context, sd *side, t *Ticket, who string) string {
	r, now := sd.room, g.now()
	r.mu.Lock()
	d, ok := sd.mayInviteLocked(t.Person, t.JID, now)
	x := Timer{Kind: timerMember, Room: r.name, Place: sd.place.String(), Person: t.Person, Rule: d.Rule, Key: t.Proof, Who: strings.TrimPrefix(who, policy.MaskJID)}
	x.ID = stayID(x.Kind, x.Place, x.Who)
	if x.Due = now.Add(sd.stayTimeLocked(d.Rule)); x.byNick() {
		x.Due = now.Add(inviteIn)
	}
	stays := []Timer{x}
	if mask, can := sd.caps.AccountMask(t.Account); can && sd.channel() && !x.byNick() && strings.Contains(sd.caps.ListModes, "I") {
		e := x
		e.Kind, e.Who = timerInvex, mask
		e.ID = stayID(e.Kind, e.Place, e.Who)
		stays = append(stays, e)
	}
	armed := r.armed
	a := &Act{
		At: now, Room: r.name, Place: sd.place.String(), Who: orElse(t.Nick, t.JID), Person: t.Person, Do: policy.Invite, Effect: d.Effect, Basis: d.Basis, Rule: d.Rule,
		Acts: "invite", Actor: t.Person, Result: r.resultLocked("sent"), Undo: "guard ban " + t.Person + " --room " + r.name,
	}
	if t.Nick != "" {
		a.Who += "!" + t.UserHost
	}
	r.mu.Unlock()
	if !ok {
		return refusal(errNotNow("no rule lets you be invited there any more"))
	}
	if !armed {
		g.scribe.note(a)
		return "The guard of " + whereTo(t) + " is in a dry run: you would be invited, and nothing is done."
	}
	for _, x := range stays {
		if err := g.scribe.keepNow(ctx, x.ID, func(ctx context.Context, s Store) error { return s.PutTimer(ctx, x) }); err != nil {
			for _, x := range stays {
				g.dropStay(&x)
			}
			return refusal(err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if sd.fullLocked() { // since it was asked in open
		for _, x := range stays {
			g.dropStay(&x)
		}
		a.Result = "not sent: too many wait"
		r.noteLocked(a)
		return refusal(errFull)
	}
	for _, x := range stays {
		g.stays.put(x)
		delete(sd.ending, x.ID)
	}
	sd.inviteLocked(t, stays)
	r.noteLocked(a)
	return invitedText(t, &x)
}

// maxInvites bounds those who wait to be asked in.
const maxInvites = 64

// fullLocked reports whether nobody more can be asked in now.
func (sd *side) fullLocked() bool { return len(sd.invites)+len(sd.members) >= maxInvites }

// inviteLocked has the leg do it.
func (sd *side) inviteLocked(t *Ticket, stays []Timer) {
	for _, x := range stays {
		if x.Kind == timerInvex {
			sd.lists = append(sd.lists, entry{'I', x.Who, false})
		}
	}
	if sd.channel() {
		sd.invites = append(sd.invites, t.Nick)
	} else {
		sd.members = append(sd.members, t.JID)
	}
	poke(sd.wake)
	poke(sd.look)
}

// invitedText says what the invited may do now.
func invitedText(t *Ticket, x *Timer) string {
	until := x.Due.UTC().Format("2006-01-02 15:04") + " UTC"
	switch {
	case t.Nick == "":
		return t.JID + " is a member of " + t.Target + " until " + until + "."
	case x.byNick():
		return t.Nick + " is invited to " + whereTo(t) + ": join until " + until + ", by this connection."
	}
	return t.Nick + " is invited to " + whereTo(t) + ". The account " + t.Account + " may be there until " + until + "."
}
