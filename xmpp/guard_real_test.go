//go:build e2e

package xmpp_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
	"drawbridge/policy"
)

// guard remembers what it sees, and may react to it.
type guard struct {
	mu     sync.Mutex // guards all below
	sights []bridge.Sight
	react  func(s bridge.Sight) // called from See; nil: does nothing
}

func (g *guard) See(s *bridge.Sight) {
	g.mu.Lock()
	g.sights = append(g.sights, *s)
	react := g.react
	g.mu.Unlock()
	if react != nil {
		react(*s)
	}
}

// all returns the sights so far of a kind.
func (g *guard) all(kind bridge.SightKind) (out []bridge.Sight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.sights {
		if s.Kind == kind {
			out = append(out, s)
		}
	}
	return out
}

// sees waits for a sight that fits, and returns the last such.
func (g *guard) sees(t *testing.T, what string, kind bridge.SightKind, fits func(s bridge.Sight) bool) (out bridge.Sight) {
	t.Helper()
	await(t, what, func() bool {
		for _, s := range g.all(kind) {
			if fits(s) {
				out = s
				return true
			}
		}
		return false
	})
	return out
}

func of(nick string) func(bridge.Sight) bool {
	return func(s bridge.Sight) bool { return s.Facts.Nick == nick }
}

var guarded = bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: devRoom}

// keep has the bot make the room, and so own it, and a guard look at it.
func (h *house) keep(t *testing.T) *guard {
	t.Helper()
	g := &guard{}
	h.watched = func() { h.leg.Watch(g, []bridge.Room{guarded}) }
	h.run(t)
	await(t, "the room", func() bool { return h.room(devRoom).Proven })
	await(t, "the guard to see it", func() bool { return len(g.all(bridge.SightReady)) == 1 })
	return g
}

// apply carries out a step, which the service must take.
func (h *house) apply(t *testing.T, step policy.MUCStep) {
	t.Helper()
	if err := h.try(step); err != nil {
		t.Fatal(err)
	}
}

func (h *house) try(step policy.MUCStep) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return h.leg.Apply(ctx, guarded, bridge.Changes{Step: &step})
}

func (h *house) observe(t *testing.T) bridge.Observed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o, err := h.leg.Observe(ctx, guarded)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (h *house) visitor(name, resource string) *lab.XMPPUser {
	u := h.XMPPUser(h.server, name, resource)
	u.Presence("")
	return u
}

// enter has a user ask for a seat, and returns the room's answer.
func enter(u *lab.XMPPUser, nick string) string {
	seen := len(u.Stanzas())
	u.Send("<presence to='" + devRoom + "/" + nick + "'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
	n := 0
	return u.Expect(func(st string) bool {
		n++
		return n > seen && strings.HasPrefix(st, "<presence") && lab.Attr(st, "from") == devRoom+"/"+nick &&
			(lab.Attr(st, "type") == "error" || lab.Attr(st, "type") == "" && strings.Contains(st, "110"))
	}, "an answer to the join")
}

func visit(nick string, role policy.Role) policy.MUCStep {
	return policy.MUCStep{Visits: []policy.Visit{{Nick: nick, Role: role, Reason: "ask for an invitation"}}}
}

func hold(jid string, is policy.Affiliation) policy.MUCStep {
	return policy.MUCStep{Holders: []policy.Holder{{JID: jid, Is: is}}}
}

// TestGuardSeesARoom: all that happens in a room, with who it was, as the guard sees it.
func TestGuardSeesARoom(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		g := h.keep(t)
		self := g.sees(t, "the bot", bridge.SightHere, of("bot"))
		if !self.Self || !self.Facts.Self || self.Is != policy.Owner || self.Role != policy.Moderator {
			t.Errorf("the bot sees itself as %+v", self)
		}
		alice := h.visitor("alice", "psi")
		alice.JoinRoom(devRoom, "alice")
		came := g.sees(t, "alice", bridge.SightCame, of("alice"))
		f := came.Facts
		if f.JID.Known != policy.Yes || f.JID.Value != "alice@localhost" || f.Key.Known != policy.Never || f.Since.IsZero() || came.Is != policy.NoOne || came.Role != policy.Participant {
			t.Errorf("alice came as %+v", came)
		}
		if (came.Facts.Occupant.Known == policy.Yes) == h.ejabberd { // 23.01 has no XEP-0421, and would pass a forged one on
			t.Errorf("occupant id %+v", came.Facts.Occupant)
		}
		alice.Send("<message type='groupchat' to='" + devRoom + "' id='g1'><body>HELLO bot</body></message>")
		said := g.sees(t, "alice's words", bridge.SightSaid, of("alice"))
		if s := said.Said; s.Letters != 8 || s.Capitals != 5 || s.Highlights != 1 || s.Hash == 0 || said.Facts.JID.Value != "alice@localhost" {
			t.Errorf("said: %+v", said)
		}
		await(t, "the line", func() bool { return h.sink.message("HELLO bot") })
		if m := h.sink.Messages()[0]; m.Facts == nil || m.Facts.JID.Value != "alice@localhost" || m.Rung != policy.Clear || m.Facts.Affiliation.Value != "none" || m.Facts.Role.Value != "participant" {
			t.Errorf("facts of the line: %+v", m.Facts)
		}
		h.apply(t, policy.MUCStep{Fields: []policy.Field{{Var: "muc#roomconfig_changesubject", Value: "1"}}}) // Prosody's default is 0
		alice.Send("<message type='groupchat' to='" + devRoom + "'><subject>a topic</subject></message>")
		if s := g.sees(t, "the topic", bridge.SightMode, func(s bridge.Sight) bool { return s.What == "topic" }); s.By.Facts.JID.Value != "alice@localhost" {
			t.Errorf("topic: %+v", s)
		}
		alice.Send("<presence to='" + devRoom + "/alicia'/>")
		if s := g.sees(t, "alicia", bridge.SightChanged, of("alicia")); s.Old != "alice" || s.Facts.JID.Value != "alice@localhost" || s.Facts.Since != f.Since {
			t.Errorf("renamed: %+v", s)
		}
		h.apply(t, visit("alicia", policy.Visitor))
		s := g.sees(t, "the silence", bridge.SightRights, of("alicia"))
		if s.Role != policy.Visitor || s.Is != policy.NoOne || !h.ejabberd && !s.By.Facts.Self { // ejabberd names nobody
			t.Errorf("devoiced: %+v", s)
		}
		alice.Send("<message to='" + devRoom + "'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field><field var='muc#role'><value>participant</value></field></x></message>")
		if s := g.sees(t, "the request for voice", bridge.SightInvited, of("alicia")); s.What != "voice" || s.Facts.JID.Value != "alice@localhost" || s.Role != policy.Visitor {
			t.Errorf("request: %+v", s)
		}
		h.apply(t, hold("mallory@localhost", policy.Member))
		if s := g.sees(t, "word of mallory", bridge.SightMode, func(s bridge.Sight) bool { return s.What == "affiliation" }); s.Is != policy.Member || s.Facts.JID.Value != "mallory@localhost" {
			t.Errorf("affiliation of somebody absent: %+v", s)
		}
		h.apply(t, policy.MUCStep{Fields: []policy.Field{{Var: policy.FieldWhois, Value: "anyone"}}})
		g.sees(t, "the configuration", bridge.SightMode, func(s bridge.Sight) bool { return s.What == "config" })
		h.leg.Whisper(guarded, "alicia", "ask alice@localhost to let you in")
		alice.Expect(func(st string) bool {
			return lab.Attr(st, "from") == devRoom+"/bot" && lab.Attr(st, "type") == "chat" && strings.Contains(st, "ask alice@localhost")
		}, "the guard's words")
		h.leg.Lookup(guarded, "alicia", policy.MissingKey)
		g.sees(t, "the answer", bridge.SightChanged, func(s bridge.Sight) bool { return s.Facts.Nick == "alicia" && s.Old == "" })
		h.apply(t, visit("alicia", policy.NoRole))
		if s := g.sees(t, "the kick", bridge.SightWent, of("alicia")); s.What != bridge.WentKicked || !s.By.Facts.Self || s.Text != "ask for an invitation" {
			t.Errorf("kicked: %+v", s)
		}
		// Of somebody who went meanwhile there is nothing to complain of, nor is it taken
		// for a sign that we are out.
		h.apply(t, visit("alicia", policy.NoRole))
		if len(g.all(bridge.SightLost)) != 0 || h.room(devRoom).State != bridge.StateUp {
			t.Error("the room is lost")
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.leg.Apply(ctx, guarded, bridge.Changes{Destroy: &bridge.Destroy{Reason: "moved"}}); err != nil {
			t.Error(err)
		}
		g.sees(t, "the end", bridge.SightLost, func(s bridge.Sight) bool { return strings.Contains(s.Text, "destroyed") })
	})
}

// TestGuardShutsARoom: from an open room to a locked one of members, as the plan says:
// the list is written and read back first, so that of those who are there only the
// stranger goes. Nothing else of the configuration changes.
func TestGuardShutsARoom(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		g := h.keep(t)
		alice, mallory := h.visitor("alice", "psi"), h.visitor("mallory", "psi")
		alice.JoinRoom(devRoom, "alice")
		mallory.JoinRoom(devRoom, "mallory")
		g.sees(t, "alice", bridge.SightCame, of("alice"))
		g.sees(t, "mallory", bridge.SightCame, of("mallory"))
		before := h.observe(t)
		if !before.Holds || before.MUCCaps.Ejabberd != h.ejabberd || len(before.MUC.Occupants) != 3 || len(before.MUC.Affiliations) != 1 {
			t.Fatalf("seen: %+v", before)
		}
		want := policy.MUC{
			Self: "bot@localhost", Locked: true,
			Fields:       []policy.Field{{Var: policy.FieldMembersOnly, Value: "1"}, {Var: policy.FieldModerated, Value: "1"}, {Var: policy.FieldWhois, Value: "anyone"}},
			Affiliations: []policy.Holder{{JID: "bot@localhost", Is: policy.Owner}, {JID: "alice@localhost", Is: policy.Admin}},
		}
		for i := range 120 { // more than two IQs of ejabberd's, and 120 of Prosody's
			want.Affiliations = append(want.Affiliations, policy.Holder{JID: fmt.Sprintf("m%d@x.org", i), Is: policy.Member, Reason: "staff"})
		}
		shut := 0
		for rounds := 0; ; rounds++ {
			if rounds == 6 {
				t.Fatal("it never ends")
			}
			seen := h.observe(t)
			plan, err := policy.PlanMUC(want, seen.MUC, seen.MUCCaps, 1)
			if err != nil || len(plan.Alarms) > 0 {
				t.Fatal(err, plan.Alarms)
			}
			if len(plan.Steps) == 0 {
				break
			}
			for _, step := range plan.Steps {
				if step.Again {
					break
				}
				if len(step.Fields) > 0 {
					shut = rounds
				}
				h.apply(t, step)
			}
		}
		if shut == 0 {
			t.Error("it was shut before the list was read back")
		}
		if s := g.sees(t, "mallory's eviction", bridge.SightWent, of("mallory")); s.What != bridge.WentMembersOnly {
			t.Errorf("mallory went by %q", s.What)
		}
		after := h.observe(t)
		holders := func(list []policy.Holder) (out []string) {
			for _, h := range list {
				out = append(out, h.JID+" "+string(h.Is))
			}
			slices.Sort(out)
			return out
		}
		if got, want := holders(after.MUC.Affiliations), holders(want.Affiliations); !slices.Equal(got, want) {
			t.Errorf("affiliations:\n%q\nwant\n%q", got, want)
		}
		for _, f := range []policy.Field{{Var: policy.FieldMembersOnly, Value: "1"}, {Var: policy.FieldModerated, Value: "1"}, {Var: policy.FieldWhois, Value: "anyone"}} {
			if f.Var == policy.FieldModerated && h.ejabberd {
				f.Value = "0" // or its outcasts come back in
			}
			if after.MUC.Config[f.Var] != f.Value {
				t.Errorf("%s is %q", f.Var, after.MUC.Config[f.Var])
			}
			before.MUC.Config[f.Var] = after.MUC.Config[f.Var]
		}
		if !maps.EqualFunc(before.MUC.Config, after.MUC.Config, sameLines) {
			t.Errorf("the rest of the configuration changed:\n%v\n%v", before.MUC.Config, after.MUC.Config)
		}
		for _, s := range g.all(bridge.SightWent) {
			if s.Facts.Nick != "mallory" {
				t.Errorf("%s went: %+v", s.Facts.Nick, s)
			}
		}
		if st := enter(mallory, "mallory"); !strings.Contains(st, "registration-required") {
			t.Errorf("mallory is answered %s", st)
		}
		// Invited, mallory may enter; once that is taken back, not any more.
		h.apply(t, hold("mallory@localhost", policy.Member))
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := h.leg.Apply(ctx, guarded, bridge.Changes{Invite: []string{"mallory@localhost"}}); err != nil {
			t.Fatal(err)
		}
		mallory.Expect(func(st string) bool {
			return lab.Attr(st, "from") == devRoom && strings.Contains(st, "<invite")
		}, "the invitation")
		if st := enter(mallory, "mallory"); lab.Attr(st, "type") == "error" {
			t.Errorf("invited, mallory is answered %s", st)
		}
		h.apply(t, hold("mallory@localhost", policy.NoOne))
		g.sees(t, "mallory's end", bridge.SightWent, func(s bridge.Sight) bool { return s.What == bridge.WentAffiliation })
		if st := enter(mallory, "mallory"); !strings.Contains(st, "registration-required") {
			t.Errorf("mallory is answered %s", st)
		}
	})
}

// sameLines compares values of which some are lists without an order.
func sameLines(a, b string) bool {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// TestGuardBans: a ban removes, and holds. Where ejabberd lets an outcast back in, into
// a moderated room, with the role that a moderator once gave or took, the guard sees who
// it is; unmoderated the ban holds, whether the room is for members or open.
func TestGuardBans(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		g := h.keep(t)
		h.apply(t, hold("mallory@localhost", policy.Member))
		h.apply(t, policy.MUCStep{Fields: []policy.Field{{Var: policy.FieldMembersOnly, Value: "1"}, {Var: policy.FieldModerated, Value: "0"}}})
		mallory := h.visitor("mallory", "psi")
		mallory.JoinRoom(devRoom, "mallory")
		h.apply(t, hold("mallory@localhost", policy.Outcast))
		if s := g.sees(t, "the ban", bridge.SightWent, of("mallory")); s.What != bridge.WentBanned || s.Is != policy.Outcast {
			t.Errorf("banned: %+v", s)
		}
		if st := enter(mallory, "mallory"); lab.Attr(st, "type") != "error" {
			t.Errorf("mallory is answered %s", st)
		}
		if seen := h.observe(t); !slices.Contains(seen.MUC.Affiliations, policy.Holder{JID: "mallory@localhost", Is: policy.Outcast}) {
			t.Errorf("after the ban: %+v", seen.MUC.Affiliations)
		}
		openBans(t, h, g)
		h.apply(t, policy.MUCStep{Fields: []policy.Field{{Var: policy.FieldMembersOnly, Value: "1"}, {Var: policy.FieldModerated, Value: "1"}}})
		st := enter(mallory, "again")
		if !h.ejabberd {
			if lab.Attr(st, "type") != "error" {
				t.Errorf("mallory is answered %s", st)
			}
			return
		}
		if s := g.sees(t, "the outcast, back", bridge.SightCame, of("again")); s.Is != policy.Outcast {
			t.Errorf("came: %+v", s)
		}
		seen := h.observe(t)
		plan, err := policy.PlanMUC(policy.MUC{Self: "bot@localhost", Fields: []policy.Field{{Var: policy.FieldMembersOnly, Value: "1"}}}, seen.MUC, seen.MUCCaps, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range plan.Steps {
			if !step.Again {
				h.apply(t, step)
			}
		}
		g.sees(t, "the outcast's end", bridge.SightWent, of("again"))
		if st := enter(mallory, "once more"); !strings.Contains(st, "forbidden") {
			t.Errorf("mallory is answered %s", st)
		}
	})
}

// openBans bans two from an open moderated room: one whose voice was taken before, and
// one whose role nobody ever set.
func openBans(t *testing.T, h *house, g *guard) {
	t.Helper()
	fields := func(moderated string) {
		h.apply(t, policy.MUCStep{Fields: []policy.Field{{Var: policy.FieldMembersOnly, Value: "0"}, {Var: policy.FieldModerated, Value: moderated}}})
	}
	answer := func(u *lab.XMPPUser, nick string) string {
		if lab.Attr(enter(u, nick), "type") == "error" {
			return "refused"
		}
		g.sees(t, nick+", back", bridge.SightCame, of(nick))
		h.apply(t, visit(nick, policy.NoRole))
		return "in"
	}
	fields("1")
	h.server.AddUser("bob")
	for _, user := range []string{"bob", "alice"} {
		u := h.visitor(user, "psi")
		u.JoinRoom(devRoom, user)
		g.sees(t, user, bridge.SightCame, of(user))
		want := "refused"
		if user == "bob" {
			h.apply(t, visit(user, policy.Visitor))
			if h.ejabberd {
				want = "in"
			}
		}
		h.apply(t, hold(user+"@localhost", policy.Outcast))
		g.sees(t, "the ban of "+user, bridge.SightWent, of(user))
		if got := answer(u, user+"-moderated"); got != want {
			t.Errorf("%s, banned from an open room that is moderated, is %s, not %s", user, got, want)
		}
		fields("0")
		if got := answer(u, user+"-not"); got != "refused" {
			t.Errorf("%s, banned from an open room that is not moderated, is %s", user, got)
		}
		fields("1")
		if got := answer(u, user+"-again"); got != want {
			t.Errorf("%s, banned from a room that is moderated again, is %s, not %s", user, got, want)
		}
	}
}

// TestGuardDemoted: a co-owner takes the room away. The guard sees it and by whom, is
// told nothing of the room any more, sees no JIDs of those who come, and is back as
// soon as it is given the room again.
func TestGuardDemoted(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		g := h.keep(t)
		alice := h.visitor("alice", "psi")
		alice.JoinRoom(devRoom, "alice")
		h.apply(t, hold("alice@localhost", policy.Owner))
		g.sees(t, "alice, owner", bridge.SightRights, func(s bridge.Sight) bool { return s.Facts.Nick == "alice" && s.Is == policy.Owner })
		give := func(is string) {
			alice.Send("<iq type='set' id='take-" + is + "' to='" + devRoom + "'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='bot@localhost' affiliation='" + is + "'/></query></iq>")
			alice.Expect(func(st string) bool { return lab.Attr(st, "id") == "take-"+is && lab.Attr(st, "type") == "result" }, "the answer")
		}
		give("none")
		s := g.sees(t, "the demotion", bridge.SightRights, func(s bridge.Sight) bool { return s.Self })
		if s.Is != policy.NoOne || s.Role == policy.Moderator || !h.ejabberd && s.By.Nick != "alice" {
			t.Errorf("demoted: %+v", s)
		}
		seen := h.observe(t)
		if seen.Holds || seen.MUC.Config != nil || len(seen.MUC.Affiliations) != 0 || len(seen.MUC.Occupants) != 2 {
			t.Errorf("seen by nobody: %+v", seen)
		}
		if plan, err := policy.PlanMUC(policy.MUC{Self: "bot@localhost", Locked: true}, seen.MUC, seen.MUCCaps, 0); err != nil || len(plan.Steps) != 0 || len(plan.Alarms) != 1 {
			t.Errorf("the plan of nobody: %+v, %v", plan, err)
		}
		if err := h.try(hold("mallory@localhost", policy.Outcast)); err == nil || !strings.Contains(err.Error(), "make mallory@localhost outcast in "+devRoom) {
			t.Errorf("a ban by nobody: %v", err)
		}
		if err := h.try(policy.MUCStep{Fields: []policy.Field{{Var: policy.FieldMembersOnly, Value: "1"}}}); err == nil || !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("a change by nobody: %v", err)
		}
		mallory := h.visitor("mallory", "psi")
		mallory.JoinRoom(devRoom, "mallory")
		if s := g.sees(t, "mallory", bridge.SightCame, of("mallory")); s.Facts.JID.Known != policy.Unknown {
			t.Errorf("a hidden JID: %+v", s.Facts.JID)
		}
		give("owner")
		g.sees(t, "the room again", bridge.SightRights, func(s bridge.Sight) bool { return s.Self && s.Is == policy.Owner })
		if seen := h.observe(t); !seen.Holds || len(seen.MUC.Affiliations) != 2 {
			t.Errorf("seen by an owner: %+v", seen)
		}
		// ejabberd shows a new moderator only what comes next, and its lists tell the rest.
		g.sees(t, "who mallory is", bridge.SightChanged, func(s bridge.Sight) bool { return s.Facts.JID.Value == "mallory@localhost" })
	})
}

// TestGuardOverACut: while the link is down the guard has lost the room, and then is
// shown all who are there.
func TestGuardOverACut(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		g := h.keep(t)
		alice := h.visitor("alice", "psi")
		alice.JoinRoom(devRoom, "alice")
		g.sees(t, "alice", bridge.SightCame, of("alice"))
		proxy.Cut()
		g.sees(t, "the loss", bridge.SightLost, func(bridge.Sight) bool { return true })
		if err := h.try(visit("alice", policy.NoRole)); err != bridge.ErrNotReady {
			t.Errorf("a kick without a link: %v", err)
		}
		mallory := h.visitor("mallory", "psi")
		mallory.JoinRoom(devRoom, "mallory")
		proxy.Restore()
		await(t, "the room again", func() bool { return len(g.all(bridge.SightReady)) >= 2 })
		g.sees(t, "alice, still there", bridge.SightHere, of("alice"))
		await(t, "mallory", func() bool { // here, if the session was lost; else she came meanwhile
			return slices.ContainsFunc(append(g.all(bridge.SightHere), g.all(bridge.SightCame)...), of("mallory"))
		})
		await(t, "a stream", func() bool { return h.room(devRoom).State == bridge.StateUp })
		h.apply(t, visit("mallory", policy.NoRole))
		g.sees(t, "the kick", bridge.SightWent, of("mallory"))
	})
}

// TestGuardKnowsWhoSpokeMeanwhile: what was said while the bot was away has its speaker,
// where the room vouches for that.
func TestGuardKnowsWhoSpokeMeanwhile(t *testing.T) {
	onBothWith(t, lab.Prosody{Archive: true}, func(t *testing.T, h *house) {
		h.conf.People = nil // so that no session is resumed
		proxy := h.Proxy(h.server.Addr)
		h.conf.Server = proxy.Addr
		g := h.keep(t)
		h.apply(t, policy.MUCStep{Fields: []policy.Field{{Var: "muc#roomconfig_persistentroom", Value: "1"}, {Var: policy.FieldModerated, Value: "0"}}})
		alice := h.visitor("alice", "psi")
		alice.JoinRoom(devRoom, "alice")
		g.sees(t, "alice", bridge.SightCame, of("alice"))
		alice.Send("<message type='groupchat' to='" + devRoom + "' id='here-is-alice-live'><body>live</body></message>")
		await(t, "her line", func() bool { return h.sink.message("live") })
		proxy.Cut()
		g.sees(t, "the loss", bridge.SightLost, func(bridge.Sight) bool { return true })
		alice.Send("<message type='groupchat' to='" + devRoom + "' id='here-is-alice-away'><body>meanwhile</body><x xmlns='http://jabber.org/protocol/muc#user'><item jid='boss@localhost' affiliation='owner'/></x></message>")
		alice.Expect(func(st string) bool { return strings.Contains(st, "here-is-alice-away") }, "her line")
		proxy.Restore()
		await(t, "what was said meanwhile", func() bool { return h.sink.message("meanwhile") })
		for _, m := range h.sink.Messages() {
			if m.Facts == nil || m.Facts.JID.Value != "alice@localhost" {
				t.Errorf("%v: %+v", m.Delayed, m.Facts)
			}
		}
	})
}

// TestGuardIsQuick: strangers who come one after the other, and all at once, are kicked
// as they are seen; how long that took, as somebody in the room sees it.
func TestGuardIsQuick(t *testing.T) {
	onBoth(t, func(t *testing.T, h *house) {
		g := h.keep(t)
		alice := h.visitor("alice", "psi")
		alice.JoinRoom(devRoom, "alice")
		g.sees(t, "alice", bridge.SightCame, of("alice"))
		var mu sync.Mutex // guards both
		came, went := map[string]time.Time{}, map[string]time.Time{}
		alice.Each(func(st string) {
			mu.Lock()
			defer mu.Unlock()
			nick := strings.TrimPrefix(lab.Attr(st, "from"), devRoom+"/")
			switch {
			case !strings.HasPrefix(st, "<presence") || !strings.HasPrefix(nick, "eve"):
			case lab.Attr(st, "type") == "":
				came[nick] = time.Now()
			case strings.Contains(st, "307"):
				went[nick] = time.Now()
			}
		})
		var wg sync.WaitGroup
		defer wg.Wait()
		g.mu.Lock()
		g.react = func(s bridge.Sight) {
			if s.Kind == bridge.SightCame && s.Facts.JID.Value == "mallory@localhost" {
				wg.Go(func() {
					if err := h.try(visit(s.Facts.Nick, policy.NoRole)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		g.mu.Unlock()
		gone := func(n int) {
			t.Helper()
			await(t, "all gone", func() bool { mu.Lock(); defer mu.Unlock(); return len(went) == n })
		}
		const one, burst = 20, 40
		var users []*lab.XMPPUser
		for i := range one {
			u := h.XMPPUser(h.server, "mallory", fmt.Sprint("r", i))
			u.Send(fmt.Sprintf("<presence to='%s/eve%d'><x xmlns='http://jabber.org/protocol/muc'/></presence>", devRoom, i))
			gone(i + 1)
		}
		report(t, "one after the other", came, went)
		clear(came)
		clear(went)
		for i := range burst {
			users = append(users, h.XMPPUser(h.server, "mallory", fmt.Sprint("b", i)))
		}
		for i, u := range users {
			u.Send(fmt.Sprintf("<presence to='%s/eveb%d'><x xmlns='http://jabber.org/protocol/muc'/></presence>", devRoom, i))
		}
		gone(burst)
		report(t, "at once", came, went)
	})
}

func report(t *testing.T, what string, came, went map[string]time.Time) {
	var took []time.Duration
	for nick, at := range went {
		took = append(took, at.Sub(came[nick]))
	}
	slices.Sort(took)
	t.Logf("%d %s: JOIN→KICK p50 %v, p95 %v, max %v", len(took), what, took[len(took)/2], took[len(took)*95/100], took[len(took)-1])
}
