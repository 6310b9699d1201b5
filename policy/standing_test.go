package policy

import (
	"strings"
	"testing"
)

// standingSpec is a room held by what people are there, and by their encrypted sessions.
func standingSpec() Spec {
	at := func(names ...string) (out AffiliationSet) {
		for _, n := range names {
			a, _ := ParseAffiliation(n)
			out |= a
		}
		return out
	}
	visitor, _ := ParseRole("visitor")
	return Spec{
		People: []*Person{{Name: "alice", JIDs: []string{"alice@corp.example"}}},
		Rooms:  []Room{{"finance", Deny}, {"lobby", Allow}},
		Rules: []Rule{
			{ID: "members", Rooms: []string{"finance"}, Do: []Do{Join, Speak}, If: If{Affiliations: at("owner", "admin", "member")}, Effect: Allow},
			{ID: "sessions", Rooms: []string{"finance"}, Do: []Do{Join}, If: If{Below: Signed}, Effect: Quarantine},
			{ID: "silent", Rooms: []string{"lobby"}, Do: []Do{RelayIn}, If: If{Roles: visitor}, Effect: Deny},
			{ID: "plain", Rooms: []string{"lobby"}, Do: []Do{Speak}, If: If{Encrypted: No}, Except: []Who{{People: []string{"alice"}}}, Effect: Devoice},
			{ID: "ops", Rooms: []string{"lobby"}, Do: []Do{Op}, If: If{Affiliations: at("admin"), Encrypted: Yes}, Effect: Allow},
		},
	}
}

// occupant makes facts of words: "" is not known.
func occupant(is Affiliation, role Role, rung string) Facts {
	f := NewOccupantFacts("dev-bot", "nick")
	f.JID = Is("bob@corp.example", "presence", noon)
	if is != "" {
		f.Affiliation = Is(string(is), "presence", noon)
	}
	if role != "" {
		f.Role = Is(string(role), "presence", noon)
	}
	if r, err := ParseRung(rung); err == nil {
		f.Rung, f.RungKnown = r, Yes
	}
	return f
}

// Rules ask what somebody is in the room, and what the bot's sessions with them reach.
func TestDecideByStanding(t *testing.T) {
	p := compiled(t, standingSpec())
	for _, tt := range []struct {
		name   string
		facts  Facts
		room   string
		do     Do
		effect Effect
		rule   string
		asks   Missing
	}{
		{"a member by a known key", occupant(Member, Participant, "signed"), "finance", Join, Allow, "members", 0},
		{"an owner by a verified one", occupant(Owner, Moderator, "verified"), "finance", Join, Allow, "members", 0},
		{"a member without a session", occupant(Member, Participant, "clear"), "finance", Join, Quarantine, "sessions", 0},
		{"a member by a key nobody knows", occupant(Member, Participant, "sealed"), "finance", Join, Quarantine, "sessions", 0},
		{"a member whose JID is hidden, and so the sessions", with(occupant(Member, Participant, ""), func(f *Facts) { f.JID = Fact{} }), "finance", Join, Quarantine, "", MissingRung},
		{"who is nothing there", occupant(NoOne, Participant, "verified"), "finance", Join, Deny, "", 0},
		{"who is nothing there, without a session: quarantine is a way in", occupant(NoOne, Participant, "clear"), "finance", Join, Quarantine, "sessions", 0},
		{"what they are was not told: nobody is let in or thrown out by it", occupant("", Participant, "verified"), "finance", Join, Quarantine, "", MissingAffiliation},
		{"an outcast", occupant(Outcast, Participant, "verified"), "finance", Join, Deny, "", 0},
		{"on IRC nobody has an affiliation or sessions", onIRC("bob", Yes), "finance", Join, Deny, "", 0},
		{"a visitor's line", occupant(NoOne, Visitor, "clear"), "lobby", RelayIn, Deny, "silent", 0},
		{"a participant's", occupant(NoOne, Participant, "clear"), "lobby", RelayIn, Allow, "", 0},
		{"a line of who has a role we were not told", occupant(NoOne, "", "clear"), "lobby", RelayIn, Quarantine, "", MissingRole},
		{"who speaks without a session", occupant(NoOne, Participant, "clear"), "lobby", Speak, Devoice, "plain", 0},
		{"and with one", occupant(NoOne, Participant, "sealed"), "lobby", Speak, Allow, "", 0},
		{"excepted", with(occupant(NoOne, Participant, "clear"), func(f *Facts) { f.JID.Value = "alice@corp.example" }), "lobby", Speak, Allow, "", 0},
		{"an admin with a session is op", occupant(Admin, Participant, "sealed"), "lobby", Op, Allow, "ops", 0},
		{"an admin without is not", occupant(Admin, Moderator, "clear"), "lobby", Op, Deny, "", 0},
		{"nor a member", occupant(Member, Moderator, "verified"), "lobby", Op, Deny, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Decide(p, &tt.facts, Event{tt.room, tt.do}, noon)
			if d.Effect != tt.effect || d.Rule != tt.rule || d.Missing != tt.asks {
				t.Errorf("%s by %q, missing %q\nwant %s by %q, missing %q", d.Effect, d.Rule, d.Missing, tt.effect, tt.rule, tt.asks)
			}
		})
	}
}

// What is explained, and what somebody is told to do, about sessions and standing.
func TestExplainStanding(t *testing.T) {
	p := compiled(t, standingSpec())
	f := with(occupant(Member, Participant, "clear"), func(f *Facts) { f.Occupant = Is("9f2c5d7e11aa", "presence", noon) })
	d := Decide(p, &f, Event{"finance", Join}, noon)
	const want = `2026-11-21 12:00:00 finance  join by nick (bob@corp.example)  -> QUARANTINE
  who      anonymous: JID bob@corp.example (bound to nobody) (presence), occupant 9f2c5d7e
  facts    affiliation=member  role=participant  encryption=clear
  matched  members  affiliation is owner or admin or member -> allow
  matched  sessions encryption below signed -> quarantine   <- decided
  default  deny (room finance)
  would change if: not encryption below signed
`
	if got := Explain(p, &f, Event{"finance", Join}, d, noon, Told{}); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := p.Advice(&d); got != "begin an encrypted chat (OTR or OpenPGP) with the bot, from your own account, by a key that is known to it" {
		t.Errorf("advice: %s", got)
	}
	f = occupant(NoOne, Visitor, "clear")
	d = Decide(p, &f, Event{"lobby", RelayIn}, noon)
	if got := Explain(p, &f, Event{"lobby", RelayIn}, d, noon, Told{}); !strings.Contains(got, "would change if: role is not visitor\n") {
		t.Errorf("got\n%s", got)
	}
}

// A ban of an occupant holds under every nick, and for nobody else.
func TestBanOfAnOccupant(t *testing.T) {
	p := compiled(t, standingSpec())
	f := occupant(NoOne, Participant, "")
	f.JID, f.Occupant = Fact{}, Is("9f2c5d7e11aa", "presence", noon)
	bans := []BanRecord{{ID: "b1", Mask: f.OccupantMask()}}
	for _, tt := range []struct {
		name   string
		change func(*Facts)
		meets  bool
	}{
		{"under another nick", func(f *Facts) { f.Nick = "else" }, true},
		{"with a JID, now", func(f *Facts) { f.JID = Is("eve@else.example", "presence", noon) }, true},
		{"another occupant", func(f *Facts) { f.Occupant.Value = "9f2c" }, false},
		{"of another account's room", func(f *Facts) { f.Leg = "ops-bot" }, false},
		{"where ids are not told", func(f *Facts) { f.Occupant = Fact{Known: Never} }, false},
	} {
		g := with(f, tt.change)
		if p.FindBan(bans, &g, "lobby", noon); (g.Ban != nil) != tt.meets {
			t.Errorf("%s: %+v", tt.name, g.Ban)
		}
	}
	if g := occupant(NoOne, Participant, ""); g.OccupantMask() != "" {
		t.Error("a mask of nobody")
	}
}
