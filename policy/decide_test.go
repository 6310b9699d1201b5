package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// testSpec is the policy of facts: a closed room and a lobby.
func testSpec() Spec {
	return Spec{
		People: []*Person{
			{Name: "alice", Groups: []string{"staff", "admins"}, JIDs: []string{"alice@corp.example"}, OpenPGP: []string{"A1"}, IRC: map[string]IRCIdentity{"corp": {Accounts: []string{"Alice"}, CertFPs: []string{"aa"}}}},
			{Name: "bob", Groups: []string{"staff", "finance"}, JIDs: []string{"bob@corp.example"}, IRC: map[string]IRCIdentity{"corp": {Accounts: []string{"bob"}, Hosts: []string{"*@bob.home.example"}}}},
			{Name: "carol", Certified: []string{"carol@corp.example"}, JIDs: []string{"carol@corp.example"}, OTR: []string{"C3"}},
			{Name: "mallory", Groups: []string{"fired"}, IRC: map[string]IRCIdentity{"corp": {Accounts: []string{"mallory"}}}},
		},
		Groups:    []Group{{"company", "corp.example"}},
		Rooms:     []Room{{"finance", Deny}, {"lobby", Allow}},
		Protected: []string{"alice"},
		Binds:     []Bind{{"", Account, "corp", "peerbot"}},
		Rules: []Rule{
			{ID: "fin-join", Rooms: []string{"finance"}, Do: []Do{Join, Speak}, Who: Who{Groups: []string{"finance", "admins"}}, Effect: Allow},
			{ID: "company", Rooms: []string{"finance"}, Do: []Do{Join}, Who: Who{Groups: []string{"company"}, AtLeast: RealJID}, Effect: Allow},
			{ID: "no-plain", Rooms: []string{"finance"}, Do: []Do{Join}, If: If{TLS: No}, Effect: Kick, Reason: "TLS is required here"},
			{ID: "fired", Do: []Do{Join}, Who: Who{Groups: []string{"fired"}}, Effect: Ban, For: time.Hour},
			{ID: "enc-relay", Rooms: []string{"finance"}, Do: []Do{RelayIn}, If: If{Encrypted: No}, Effect: Deny},
			{ID: "flooders", Rooms: []string{"lobby"}, Do: []Do{Speak}, If: If{Floods: FloodLines}, Except: []Who{{Groups: []string{"staff"}}}, Effect: Devoice},
			{ID: "guests", Rooms: []string{"lobby"}, Do: []Do{Join}, Who: Who{Anonymous: true}, Effect: Quarantine, For: 8 * time.Hour},
			{ID: "ticket", Rooms: []string{"finance"}, Do: []Do{Invite}, Who: Who{Groups: []string{"admins"}, AtLeast: Key}, Effect: Allow},
			{ID: "ops", Rooms: []string{"lobby"}, Do: []Do{Op}, Who: Who{People: []string{"bob"}}, Effect: Allow},
		},
	}
}

func compiled(t testing.TB, s Spec) *Policy {
	t.Helper()
	p, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// onIRC makes facts: account "" is none and "?" unknown.
func onIRC(account string, tls Known) Facts {
	f := NewIRCFacts("corp", "nick", "user", "10.0.0.7")
	f.Account, f.Cert, f.TLS = IsNot("extended-join", noon), IsNot("WHOIS", noon), Fact{Known: tls, From: "WHOX", At: noon.Add(-3 * time.Millisecond)}
	switch account {
	case "":
	case "?":
		f.Account = Fact{}
	default:
		f.Account = Is(account, "extended-join", noon)
	}
	return f
}

func inMUC(jid string) Facts {
	f := NewOccupantFacts("dev-bot", "nick")
	f.Affiliation, f.Role = Is(string(NoOne), "presence", noon), Is(string(Participant), "presence", noon)
	f.Occupant = Fact{Known: Never}
	if jid != "" {
		f.JID = Is(jid, "presence", noon)
	}
	return f
}

func with(f Facts, change func(*Facts)) Facts { change(&f); return f }

func TestDecide(t *testing.T) {
	p := compiled(t, testSpec())
	for _, tt := range []struct {
		name   string
		facts  Facts
		room   string
		do     Do
		effect Effect
		rule   string
		acts   Acts
	}{
		{"a member", onIRC("bob", Yes), "finance", Join, Allow, "fin-join", 0},
		{"an account is compared whatever its case", onIRC("BOB", Yes), "finance", Join, Allow, "fin-join", 0},
		{"a stranger", onIRC("", Yes), "finance", Join, Deny, "", ActTell | ActWithhold | ActKick},
		{"a stranger without TLS", onIRC("", No), "finance", Join, Kick, "no-plain", ActWithhold | ActKick},
		{"a member without TLS: deny overrides", onIRC("bob", No), "finance", Join, Kick, "no-plain", ActWithhold | ActKick},
		{"services down: nobody is removed", onIRC("?", Yes), "finance", Join, Quarantine, "", ActLookUp | ActTell | ActWithhold | ActDevoice},
		{"services down and no TLS: it may be alice", onIRC("?", No), "finance", Join, Quarantine, "no-plain", ActLookUp | ActTell | ActWithhold | ActDevoice},
		{"TLS not known", onIRC("bob", Unknown), "finance", Join, Quarantine, "", ActLookUp | ActTell | ActWithhold | ActDevoice},
		{"a stranger whose TLS is not known is still a stranger", onIRC("", Unknown), "finance", Join, Deny, "", ActLookUp | ActTell | ActWithhold | ActKick},
		{"a nick is nobody", with(onIRC("", Yes), func(f *Facts) { f.Nick = "alice" }), "finance", Join, Deny, "", ActTell | ActWithhold | ActKick},
		{"a host is not an account", with(onIRC("", Yes), func(f *Facts) { f.Host = "bob.home.example" }), "finance", Join, Deny, "", ActTell | ActWithhold | ActKick},
		{"protected is not removed", onIRC("alice", No), "finance", Join, Alert, "no-plain", ActAlert},
		{"protected by certificate", with(onIRC("", No), func(f *Facts) { f.Cert = Is("aa", "WHOIS", noon) }), "finance", Join, Alert, "no-plain", ActAlert},
		{"a peer is protected", onIRC("peerbot", No), "finance", Join, Alert, "no-plain", ActAlert},
		{"the bot itself", with(onIRC("", No), func(f *Facts) { f.Self = true }), "finance", Join, Alert, "no-plain", ActAlert},
		{"a JID of a member", inMUC("bob@corp.example"), "finance", Join, Allow, "fin-join", 0},
		{"a JID certified by the company", inMUC("carol@corp.example"), "finance", Join, Allow, "company", 0},
		{"a MUC cannot tell of TLS", inMUC("eve@else.example"), "finance", Join, Deny, "", ActTell | ActWithhold | ActKick},
		{"an occupant whose JID is hidden", inMUC(""), "finance", Join, Quarantine, "", ActLookUp | ActTell | ActWithhold | ActDevoice},
		{"a rule of all rooms", onIRC("mallory", Yes), "lobby", Join, Ban, "fired", ActWithhold | ActKick | ActBan},
		{"a guest", onIRC("", Yes), "lobby", Join, Quarantine, "guests", ActTell | ActWithhold | ActDevoice},
		{"a guest whose time is over", with(onIRC("", Yes), func(f *Facts) { f.Since = noon.Add(-8 * time.Hour) }), "lobby", Join, Allow, "", 0},
		{"clear text", with(onIRC("bob", Yes), func(f *Facts) { f.RungKnown = Yes }), "finance", RelayIn, Deny, "enc-relay", ActTell | ActDevoice | ActWithhold},
		{"sealed text", with(onIRC("bob", Yes), func(f *Facts) { f.RungKnown, f.Rung = Yes, Sealed }), "finance", RelayIn, Allow, "", 0},
		{"a flood", with(onIRC("", Yes), func(f *Facts) { f.Floods = FloodLines | FloodCaps }), "lobby", Speak, Devoice, "flooders", ActDevoice | ActWithhold},
		{"a flood of staff", with(onIRC("bob", Yes), func(f *Facts) { f.Floods = FloodLines }), "lobby", Speak, Allow, "", 0},
		{"an account is no ticket", onIRC("alice", Yes), "finance", Invite, Deny, "", ActTell | ActWithhold},
		{"a key is", with(inMUC("alice@corp.example"), func(f *Facts) { f.Key = Is("A1", "OTR", noon) }), "finance", Invite, Allow, "ticket", ActInvite},
		{"op for whom a rule names", onIRC("bob", Yes), "lobby", Op, Allow, "ops", ActOp},
		{"op for others", onIRC("mallory", Yes), "lobby", Op, Deny, "", ActTell | ActDeop},
		{"op where no rule speaks of it", onIRC("mallory", Yes), "finance", Op, Allow, "", 0},
		{"a room without a guard", onIRC("", No), "attic", Join, Allow, "", 0},
		{"a ban", with(onIRC("bob", Yes), func(f *Facts) { f.Ban = &BanRecord{ID: "b1", Until: noon.Add(1)} }), "lobby", Speak, Ban, "b1", ActWithhold | ActKick | ActBan},
		{"a ban that is over", with(onIRC("bob", Yes), func(f *Facts) { f.Ban = &BanRecord{ID: "b1", Until: noon} }), "lobby", Speak, Allow, "", 0},
		{"a ban of another room", with(onIRC("bob", Yes), func(f *Facts) { f.Ban = &BanRecord{ID: "b1", Rooms: []string{"finance"}} }), "lobby", Speak, Allow, "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Decide(p, &tt.facts, Event{tt.room, tt.do}, noon)
			if d.Effect != tt.effect || d.Rule != tt.rule || d.Acts != tt.acts {
				t.Errorf("%s by %q, acts %s, missing %s\nwant %s by %q, acts %s", d.Effect, d.Rule, d.Acts, d.Missing, tt.effect, tt.rule, tt.acts)
			}
		})
	}
}

// A verdict says what would settle it, and when time alone does.
func TestDecideMissingAndAgain(t *testing.T) {
	p := compiled(t, testSpec())
	f := onIRC("?", Unknown)
	if d := Decide(p, &f, Event{"finance", Join}, noon); d.Missing != MissingAccount|MissingTLS {
		t.Errorf("missing %s", d.Missing)
	}
	f = inMUC("")
	if d := Decide(p, &f, Event{"finance", Join}, noon); d.Missing != MissingJID {
		t.Errorf("missing %s", d.Missing)
	}
	f = onIRC("", Yes)
	f.Since = noon.Add(-time.Hour)
	if d := Decide(p, &f, Event{"lobby", Join}, noon); !d.Again.Equal(noon.Add(7 * time.Hour)) {
		t.Errorf("again at %s", d.Again)
	}
	f = onIRC("mallory", Yes)
	if d := Decide(p, &f, Event{"lobby", Join}, noon); !d.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("until %s", d.Until)
	}
}

func TestCompileRefuses(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"two of one id":         func(s *Spec) { s.Rules[1].ID = s.Rules[0].ID },
		"no such room":          func(s *Spec) { s.Rules[0].Rooms = []string{"attic"} },
		"nothing to do":         func(s *Spec) { s.Rules[0].Do = nil },
		"all excepted":          func(s *Spec) { s.Rules[0].Except = []Who{{}} },
		"a default that kicks":  func(s *Spec) { s.Rooms[0].Default = Kick },
		"more rules than steps": func(s *Spec) { s.Rules = manyRules(MaxRules + 1) },
		"more groups than bits": func(s *Spec) {
			for i := range maxGroups {
				s.Rules[0].Who.Groups = append(s.Rules[0].Who.Groups, fmt.Sprint("g", i))
			}
		},
	} {
		s := testSpec()
		change(&s)
		if _, err := Compile(s); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
}

// manyRules are rules of one room and action, of all kinds, few of which match.
func manyRules(n int) []Rule {
	out := make([]Rule, n)
	for i := range out {
		r := Rule{ID: fmt.Sprint("r", i), Rooms: []string{"finance"}, Do: []Do{Join}, Effect: Effect(i % 7)}
		switch i % 5 {
		case 0:
			r.Who = Who{Groups: []string{fmt.Sprint("g", i)}}
		case 1:
			r.Who, r.Except = Who{Groups: []string{"staff"}}, []Who{{Groups: []string{"admins"}}}
		case 2:
			r.If = If{TLS: No, Account: Yes}
			if i%2 == 0 {
				r.If = If{Below: Signed, Affiliations: 1<<2 | 1<<3, Roles: 1 << 1}
			}
		case 3:
			r.Who = Who{Anonymous: true}
		case 4:
			r.Who, r.If = Who{People: []string{"bob"}, AtLeast: Cert}, If{Floods: FloodLines}
		}
		out[i] = r
	}
	return out
}

func BenchmarkDecide(b *testing.B) {
	s := testSpec()
	s.Rules = manyRules(50)
	p := compiled(b, s)
	for name, f := range map[string]Facts{"known": onIRC("bob", Yes), "unknown": onIRC("?", Unknown), "muc": inMUC("bob@corp.example")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := Decide(p, &f, Event{"finance", Join}, noon); len(d.Trace()) != 50 {
					b.Fatal("not all rules were asked")
				}
			}
		})
	}
}

// What BenchmarkDecide counts is held here: no garbage for each join.
func TestDecideAllocatesNothing(t *testing.T) {
	s := testSpec()
	s.Rules = manyRules(50)
	p := compiled(t, s)
	for _, f := range []Facts{onIRC("bob", Unknown), inMUC("bob@corp.example")} {
		if n := testing.AllocsPerRun(100, func() { Decide(p, &f, Event{"finance", Join}, noon) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}

// Of two rules that match the most severe wins, whatever their order and the room's
// default, which holds where nothing lets somebody in.
func TestMostSevereWins(t *testing.T) {
	for _, base := range []Effect{Allow, Deny} {
		for a := Allow; a <= Ban; a++ {
			for b := Allow; b <= Ban; b++ {
				s := Spec{Rooms: []Room{{"r", base}}, Rules: []Rule{{ID: "one", Do: []Do{Join}, Effect: a}, {ID: "two", Do: []Do{Join}, Effect: b}}}
				want := max(a, b)
				if admits := func(e Effect) bool { return e == Allow || e == Quarantine }; !admits(a) && !admits(b) {
					want = max(want, base)
				}
				f := onIRC("bob", Yes)
				d := Decide(compiled(t, s), &f, Event{"r", Join}, noon)
				if d.Effect != want {
					t.Errorf("%s and %s in a room of %s: %s, want %s", a, b, base, d.Effect, want)
				}
				if a == b && d.Basis == ByRule && d.Rule != "one" {
					t.Errorf("of two %s the rule is %q", a, d.Rule)
				}
			}
		}
	}
}

// Of two bans the longer wins, for ever before all; of equals the ID that comes first.
func TestLongestBanWins(t *testing.T) {
	for _, tt := range []struct {
		a, b time.Duration
		rule string
	}{{time.Hour, 2 * time.Hour, "b"}, {2 * time.Hour, time.Hour, "a"}, {0, time.Hour, "a"}, {time.Hour, 0, "b"}, {time.Hour, time.Hour, "a"}} {
		rules := []Rule{{ID: "a", Do: []Do{Join}, Effect: Ban, For: tt.a}, {ID: "b", Do: []Do{Join}, Effect: Ban, For: tt.b}}
		for range 2 {
			slices.Reverse(rules)
			f := onIRC("bob", Yes)
			if d := Decide(compiled(t, Spec{Rooms: []Room{{"r", Allow}}, Rules: rules}), &f, Event{"r", Join}, noon); d.Rule != tt.rule {
				t.Errorf("%s and %s: %q, want %q", tt.a, tt.b, d.Rule, tt.rule)
			}
		}
	}
}

// What a protected person does and may not is told to the admins, whatever it is.
func TestProtectedIsTold(t *testing.T) {
	s := testSpec()
	s.Rules = append(s.Rules, Rule{ID: "mute", Rooms: []string{"lobby"}, Do: []Do{Speak}, Effect: Kick})
	f := onIRC("alice", Yes)
	d := Decide(compiled(t, s), &f, Event{"lobby", Speak}, noon)
	if d.Effect != Deny || d.Protected != Yes || d.Acts != ActAlert|ActDevoice|ActWithhold|ActTell {
		t.Errorf("%s, protected %s, acts %s", d.Effect, d.Protected, d.Acts)
	}
}

// An exception that a network can never tell is none: who hangs on it is not excepted.
func TestNoExceptionByWhatIsNeverTold(t *testing.T) {
	s := Spec{Rooms: []Room{{"r", Allow}}, Rules: []Rule{{ID: "out", Do: []Do{Join}, Except: []Who{{Hosts: []string{"*@office.example"}}}, Effect: Kick}}}
	f := inMUC("eve@else.example")
	if d := Decide(compiled(t, s), &f, Event{"r", Join}, noon); d.Effect != Kick {
		t.Errorf("%s", d.Effect)
	}
}
