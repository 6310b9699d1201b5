package guard_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
	"drawbridge/policy"
)

// inMUC is an occupant, whose JID may be hidden ("").
func inMUC(nick, jid, id string) policy.Facts {
	f := policy.NewOccupantFacts("bot", nick)
	if jid != "" {
		f.JID = policy.Is(jid, "presence", time.Time{})
	}
	if f.Occupant.Known = policy.Never; id != "" {
		f.Occupant = policy.Is(id, "presence", time.Time{})
	}
	return f
}

// open has finance let everybody in, and adds rules.
func open(rules ...policy.Rule) func(*guard.Config) {
	return func(c *guard.Config) {
		c.Policy.Rooms[0].Default = policy.Allow
		c.Policy.Rules = append(c.Policy.Rules[2:], rules...)
	}
}

func here(id string, effect policy.Effect, c policy.If) policy.Rule {
	return policy.Rule{ID: id, Rooms: []string{"finance"}, Do: []policy.Do{policy.Join, policy.Speak}, If: c, Effect: effect}
}

// role is what somebody is in the MUC now; "": not there.
func (h *house) role(nick string) (out policy.Role) {
	h.wait(time.Second)
	h.xmpp.Change(muc, func(p *guardtestPlace) {
		if m := p.Members[nick]; m != nil {
			out = m.Role
		}
	})
	return out
}

// Who has no session with the bot that a rule asks for is not heard, is told what to do,
// and is heard as soon as there is one; and not any more once it ends.
func TestSessionsDecide(t *testing.T) {
	live(t, open(here("known", policy.Quarantine, policy.If{Below: policy.Signed})), func(h *house) {
		const bob = "bob@corp.example"
		h.xmpp.Join(muc, inMUC("bob", bob, ""))
		if got := h.role("bob"); got != policy.Visitor {
			t.Fatalf("without a session: %s", got)
		}
		h.has("told", h.xmpp.Whispers(), "bob: You cannot be heard in finance@rooms.corp.example: begin an encrypted chat (OTR or OpenPGP) with the bot, from your own account, by a key that is known to it.")
		m := bridge.Message{Room: muc, From: bridge.Sender{Nick: "bob", JID: bob, Person: "bob"}, Time: time.Now()}
		if r := h.g.In(&m, time.Now()); !r.Refused || r.Rule != "known" {
			t.Errorf("relayed: %+v", r)
		}
		for _, x := range []struct {
			rung  policy.Rung
			known policy.Known
			want  policy.Role
		}{
			{policy.Sealed, policy.Yes, policy.Visitor},
			{policy.Signed, policy.Yes, policy.Participant},
			{policy.Verified, policy.Yes, policy.Participant},
			{policy.Clear, policy.Yes, policy.Visitor},
			{policy.Verified, policy.Yes, policy.Participant},
			{policy.Clear, policy.Unknown, policy.Visitor},
		} {
			h.xmpp.Session(bob, x.rung, x.known)
			if got := h.role("bob"); got != x.want {
				t.Errorf("%s, %s: %s, want %s", x.rung, x.known, got, x.want)
			}
			if r := h.g.In(&m, time.Now()); r.Refused != (x.want == policy.Visitor) {
				t.Errorf("%s, %s: relayed %+v", x.rung, x.known, r)
			}
		}
		text, err := h.g.Explain("bob", "finance", policy.Join)
		must(t, err)
		h.has("explained", strings.Split(text, "\n"), "affiliation=none  role=visitor  encryption=unknown", "waits    known    encryption below signed is not known")
	})
}

// What is not known of sessions throws nobody out: of a hidden JID, while an account is
// away, and of who came just now. What is known, does; and IRC is not touched.
func TestSessionsUnknownAreNoGuilt(t *testing.T) {
	live(t, open(here("sealed", policy.Kick, policy.If{Encrypted: policy.No})), func(h *house) {
		h.xmpp.Session("bob@corp.example", policy.Clear, policy.Unknown)
		h.xmpp.Join(muc, inMUC("bob", "bob@corp.example", ""))
		h.xmpp.Join(muc, inMUC("who", "", ""))
		h.xmpp.Join(muc, inMUC("eve", "eve@else.example", ""))
		h.irc.Join(channel, onIRC("dave", "dave"))
		if b, w, e := h.role("bob"), h.role("who"), h.role("eve"); b != policy.Visitor || w != policy.Visitor || e != "" {
			t.Errorf("bob is %s, who is %s, eve is %q", b, w, e)
		}
		h.same("on IRC", h.irc.Nicks(channel), "dave")
		if r := h.g.In(&bridge.Message{Room: channel, From: bridge.Sender{Nick: "dave", Account: "dave"}, Time: time.Now()}, time.Now()); r.Refused {
			t.Errorf("a line on IRC: %+v", r)
		}
		h.has("told", h.xmpp.Whispers(), "bob: You cannot be heard in finance@rooms.corp.example until an encrypted chat")
		h.xmpp.Session("bob@corp.example", policy.Sealed, policy.Yes)
		if got := h.role("bob"); got != policy.Participant {
			t.Errorf("with a session: %s", got)
		}
		h.xmpp.Session("bob@corp.example", policy.Clear, policy.Yes)
		if got := h.role("bob"); got != "" {
			t.Errorf("it ended: %s", got)
		}
		for a, err := range h.g.Audit(context.Background(), guard.Query{Who: "eve@else.example"}) {
			must(t, err)
			if f := a.Facts; f.Affiliation.Value != "none" || f.Role.Value != "participant" || f.RungKnown != policy.Yes || f.Rung != policy.Clear {
				t.Errorf("the audit has %+v", f)
			}
		}
	})
}

// A session on any account of the bot counts, and while one cannot tell the best is not
// known.
func TestSessionsOfAllAccounts(t *testing.T) {
	other := guardtest.NewLeg("ops-bot", "xmpp")
	both := func(c *guard.Config) {
		open(here("good", policy.Quarantine, policy.If{Below: policy.Verified}))(c)
		c.Legs = append(c.Legs, other)
	}
	live(t, both, func(h *house) {
		const bob = "bob@corp.example"
		other.Session(bob, policy.Verified, policy.Yes)
		h.xmpp.Join(muc, inMUC("bob", bob, ""))
		if got := h.role("bob"); got != policy.Participant {
			t.Errorf("verified elsewhere: %s", got)
		}
		other.Session(bob, policy.Clear, policy.Unknown)
		h.xmpp.Session(bob, policy.Signed, policy.Yes)
		text, err := h.g.Explain("bob", "finance", policy.Join)
		must(t, err)
		h.has("one is away", strings.Split(text, "\n"), "encryption=unknown")
	})
}

// Rules by what somebody is in the room: decided anew when that changes, and compiled
// into the room's own doors by its own lists.
func TestStandingDecides(t *testing.T) {
	words := func(names ...string) (out policy.AffiliationSet) {
		for _, n := range names {
			a, err := policy.ParseAffiliation(n)
			if err != nil {
				t.Fatal(err)
			}
			out |= a
		}
		return out
	}
	live(t, open(here("strangers", policy.Quarantine, policy.If{Affiliations: words("none")})), func(h *house) {
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["bob@corp.example"] = policy.Member })
		h.xmpp.Join(muc, inMUC("bob", "bob@corp.example", ""))
		h.xmpp.Join(muc, inMUC("eve", "eve@else.example", ""))
		if b, e := h.role("bob"), h.role("eve"); b != policy.Participant || e != policy.Visitor {
			t.Errorf("bob is %s, eve is %s", b, e)
		}
		h.wait(time.Minute)
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if p.Config[policy.FieldModerated] != "1" {
				t.Error("strangers are heard as they come")
			}
		})
	})
	closed := func(c *guard.Config) {
		c.Policy.Rules[0] = here("members", policy.Allow, policy.If{Affiliations: words("member", "admin", "owner")})
	}
	live(t, closed, func(h *house) {
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["carol@corp.example"] = policy.Member })
		h.wait(6 * time.Minute)
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if p.Config[policy.FieldMembersOnly] != "1" || p.Affs["carol@corp.example"] != policy.Member || p.Affs["bob@corp.example"] != "" {
				t.Errorf("members-only %s, %v", p.Config[policy.FieldMembersOnly], p.Affs)
			}
		})
	})
}

// An occupant whose JID is hidden is one and the same under every nick, and when they
// come back, by the room's id: for bans, and for what they are told. Once the JID is
// seen the ban is of that.
func TestOccupantIsFollowed(t *testing.T) {
	nobodyProtected := func(c *guard.Config) {
		open()(c)
		c.Policy.Protected = nil // else it could be one of them
	}
	live(t, nobodyProtected, func(h *house) {
		line := func(nick, id string) bool { // they may be gone by now
			f := inMUC(nick, "", id)
			return h.g.In(&bridge.Message{Room: muc, From: bridge.Sender{Nick: nick}, Facts: &f, Time: time.Now()}, time.Now()).Refused
		}
		h.xmpp.Join(muc, inMUC("who", "", "1f2e3d4c5b6a"))
		h.xmpp.Join(muc, inMUC("else", "", "9f9f9f9f9f9f"))
		b, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "who", By: "alice"})
		must(t, err)
		if b.Mask != "occupant:bot/1f2e3d4c5b6a" || !line("who", "1f2e3d4c5b6a") || line("else", "9f9f9f9f9f9f") {
			t.Fatalf("%+v: refused by id %v, others %v", b, line("who", "1f2e3d4c5b6a"), line("else", "9f9f9f9f9f9f"))
		}
		h.xmpp.Join(muc, inMUC("again", "", "1f2e3d4c5b6a"))
		if !line("again", "1f2e3d4c5b6a") {
			t.Error("a new nick, and they are heard")
		}
		h.xmpp.Join(muc, inMUC("seen", "eve@else.example", "1f2e3d4c5b6a"))
		h.wait(time.Minute)
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if p.Affs["eve@else.example"] != policy.Outcast {
				t.Errorf("affiliations %v", p.Affs)
			}
		})
		n, err := h.g.Forgive(context.Background(), "eve@else.example", "alice")
		must(t, err)
		h.wait(time.Minute)
		h.xmpp.Change(muc, func(p *guardtestPlace) {
			if n != 1 || p.Affs["eve@else.example"] != "" {
				t.Errorf("%d forgiven, %v", n, p.Affs)
			}
		})
	})
}

// Who floods, goes and comes back under another nick, is still the one who floods.
func TestOccupantTakesFloodsAlong(t *testing.T) {
	loud := func(c *guard.Config) {
		open(policy.Rule{ID: "calm", Rooms: []string{"finance"}, Do: []policy.Do{policy.Speak}, If: policy.If{Floods: policy.FloodLines}, Effect: policy.Devoice})(c)
		c.Rooms[0].Floods = policy.FloodLimits{Lines: policy.Limit{Count: 3, Per: time.Minute}, Calm: time.Minute}
	}
	live(t, loud, func(h *house) {
		refused := func(nick string) bool {
			return h.g.In(&bridge.Message{Room: muc, From: bridge.Sender{Nick: nick}, Time: time.Now()}, time.Now()).Refused
		}
		h.xmpp.Join(muc, inMUC("loud", "", "1f2e3d4c5b6a"))
		for i := range 4 {
			h.xmpp.See(bridge.Sight{Kind: bridge.SightSaid, Leg: "bot", Room: muc, Facts: inMUC("loud", "", "1f2e3d4c5b6a"), Said: policy.Said{Hash: uint64(i)}})
		}
		if !refused("loud") {
			t.Fatal("four lines at once are no flood")
		}
		h.xmpp.Part(muc, "loud", false)
		h.xmpp.Join(muc, inMUC("other", "", "1f2e3d4c5b6a"))
		h.xmpp.Join(muc, inMUC("loud", "", "9f9f9f9f9f9f"))
		if !refused("other") || refused("loud") {
			t.Errorf("back under another nick: refused %v; another under the old one: %v", refused("other"), refused("loud"))
		}
	})
}

// On ejabberd a room is moderated for somebody's silence only while nobody is banned from
// it: bans would not hold in it. What is not kept then, is said.
func TestEjabberdBansBeforeSilence(t *testing.T) {
	live(t, open(here("strangers", policy.Quarantine, policy.If{Encrypted: policy.No})), func(h *house) {
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.MUCCaps.Ejabberd = true })
		moderated := func() (out string) {
			h.wait(time.Minute)
			h.xmpp.Change(muc, func(p *guardtestPlace) { out = p.Config[policy.FieldModerated] })
			return out
		}
		cannot := func() []string { return h.g.Status().Rooms[0].Places[1].Cannot }
		h.wait(6 * time.Minute)
		h.xmpp.Session("bob@corp.example", policy.Verified, policy.Yes)
		h.xmpp.Join(muc, inMUC("bob", "bob@corp.example", ""))
		h.xmpp.Join(muc, inMUC("eve", "eve@else.example", ""))
		if got := moderated(); got != "1" || len(cannot()) != 0 {
			t.Fatalf("moderated %s, cannot %q", got, cannot())
		}
		_, err := h.g.Ban(context.Background(), guard.BanOrder{Who: "mallory@else.example", By: "alice"})
		must(t, err)
		if got := moderated(); got != "0" {
			t.Errorf("with an outcast it is moderated %s", got)
		}
		h.has("cannot", cannot(), "silence: here bans hold only while the room is not moderated")
		// The banned one is back in, as it was moderated: out again.
		h.xmpp.Join(muc, inMUC("mallory", "mallory@else.example", ""))
		if got := h.role("mallory"); got != "" {
			t.Errorf("mallory is %s", got)
		}
		// One whom somebody else banned, too.
		h.xmpp.Change(muc, func(p *guardtestPlace) { p.Affs["trudy@else.example"] = policy.Outcast })
		h.xmpp.Session("trudy@else.example", policy.Verified, policy.Yes)
		h.xmpp.Join(muc, inMUC("trudy", "trudy@else.example", ""))
		if got := h.role("trudy"); got != "" {
			t.Errorf("trudy is %s", got)
		}
		h.xmpp.Change(muc, func(p *guardtestPlace) { delete(p.Affs, "trudy@else.example") })
		_, err = h.g.Lockdown(context.Background(), "finance", 10*time.Minute, "alice")
		must(t, err)
		if got := moderated(); got != "1" {
			t.Errorf("shut, it is moderated %s", got)
		}
		_, err = h.g.Lockdown(context.Background(), "finance", -1, "alice")
		must(t, err)
		if got := moderated(); got != "0" {
			t.Errorf("open again, it is moderated %s", got)
		}
		_, err = h.g.Forgive(context.Background(), "mallory@else.example", "alice")
		must(t, err)
		if got := moderated(); got != "1" || len(cannot()) != 0 {
			t.Errorf("without outcasts: moderated %s, cannot %q", got, cannot())
		}
	})
}
