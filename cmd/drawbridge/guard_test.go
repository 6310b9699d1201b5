package main

import (
	"bytes"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/internal/config"
	"drawbridge/irc"
	"drawbridge/policy"
	"drawbridge/xmpp"
)

// guardedFull is full with rooms that a guard holds.
func guardedFull() *config.Config {
	c := full()
	c.Safety = config.Safety{MaxRemovals: config.MaxRemovals{Count: 3, Per: time.Hour, Share: 7}, TwoPerson: []string{"ban-mask"}, Protected: []string{"alice"}, ID: "one", Peers: []config.Peer{{Name: "two", IRC: []config.PeerIRC{{Name: "corp", Account: "b2"}}, JIDs: []string{"b2@x"}}}}
	c.Rooms = []config.Room{
		{
			Name: "finance", IRC: &config.RoomIRC{Network: "open", Channel: "#Finance"}, XMPP: &config.RoomXMPP{Account: "idle", Room: "f@m"}, Default: "deny",
			Lock: config.RoomLock{Modes: "+ns", Topic: true, Affiliations: true, RotateKey: time.Hour}, Follow: "ops", DryRun: true,
			Flood: &config.Flood{Lines: &config.Rate{Count: 5, Per: time.Second}}, Joins: &config.MassJoin{Count: 9, Per: time.Minute, For: time.Hour},
		},
		{Name: "dev", IRC: &config.RoomIRC{Network: "corp", Channel: "#dev"}, Default: "allow"},
	}
	for i := range c.Bridges {
		if c.Bridges[i].Name == "two" {
			c.Bridges[i].XMPP.Rooms = []config.MUC{{Room: "f@m", Require: "clear"}}
		}
	}
	c.Rules = []config.Rule{{ID: "in", Do: []string{"join"}, Who: config.Who{People: []string{"alice"}}, Effect: "allow"}}
	return c
}

func TestGuardConfigSetsEverything(t *testing.T) {
	c := guardedFull()
	k, err := openKeys(&config.Config{}, nil, nil, newQuiet())
	if err != nil {
		t.Fatal(err)
	}
	got := guardConfig(c, k, nil, nil)
	allSet(t, got, map[string]string{"Legs": "none is given"})
	allSet(t, got.Rooms[0], nil)
	allSet(t, got.Peers[0], nil)
	allSet(t, got.Policy, map[string]string{"Groups": "none has a domain", "Binds": "nobody is linked"})
	if got.Rooms[0].Bridged != "two" || got.Rooms[1].Bridged != "" {
		t.Errorf("bridged: %q, %q", got.Rooms[0].Bridged, got.Rooms[1].Bridged)
	}
	if got.Rooms[0].Channel != irc.Room("open", "#finance") || got.Rooms[0].MUC != (bridge.Room{Leg: "idle", Kind: bridge.MUC, Name: "f@m"}) {
		t.Errorf("places %+v", got.Rooms[0])
	}
	if _, err := policy.Compile(got.Policy); err != nil {
		t.Error(err)
	}
}

// TestGuardedRoomsAreJoined: also those that no bridge has, and each once.
func TestGuardedRoomsAreJoined(t *testing.T) {
	c := guardedFull()
	if got := legNames(c); !slices.Equal(got, []string{"corp", "open", "bot", "idle"}) {
		t.Errorf("legs %v", got)
	}
	if got, want := ircConfig(c, c.Network("open")).Channels, []irc.ChannelConfig{{Name: "#o"}, {Name: "#Finance"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("channels %v, want %v", got, want)
	}
	if got, want := ircConfig(c, c.Network("corp")).Channels, []irc.ChannelConfig{{Name: "#Dev", Key: "k"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("channels %v, want %v", got, want)
	}
	if got, want := xmppConfig(c, c.Account("idle")).Rooms, []xmpp.RoomConfig{{JID: "f@m"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("rooms %v, want %v", got, want)
	}
}

// TestLeavers: whose rights end, and why.
func TestLeavers(t *testing.T) {
	old := &policy.Person{Name: "bob", OpenPGP: []string{"A", "B"}, OTR: []string{"C"}, Certified: []string{"bob@corp.example"}}
	for _, tt := range []struct {
		name string
		now  *policy.Person // nil: gone
		want string         // "": nobody leaves
	}{
		{"the same", &policy.Person{Name: "bob", OpenPGP: []string{"B", "A"}, OTR: []string{"C"}, Certified: []string{"bob@corp.example"}}, ""},
		{"more keys", &policy.Person{Name: "bob", OpenPGP: []string{"A", "B", "D"}, OTR: []string{"C"}, Certified: []string{"bob@corp.example"}}, ""},
		{"gone", nil, "taken out of the configuration"},
		{"no key left", &policy.Person{Name: "bob", Gone: true}, "every key was revoked or expired"},
		{"a key less", &policy.Person{Name: "bob", OpenPGP: []string{"A"}, OTR: []string{"C"}, Certified: []string{"bob@corp.example"}}, "a key was revoked, expired or taken out"},
		{"no OTR key", &policy.Person{Name: "bob", OpenPGP: []string{"A", "B"}, Certified: []string{"bob@corp.example"}}, "a key was revoked, expired or taken out"},
		{"not certified", &policy.Person{Name: "bob", OpenPGP: []string{"A", "B"}, OTR: []string{"C"}}, "not certified by the company's key any more"},
	} {
		var now []*policy.Person
		if tt.now != nil {
			now = append(now, tt.now)
		}
		got := ""
		for _, l := range leavers([]*policy.Person{old}, now, nil, nil) {
			got += l.why
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	had := map[string][]string{"bob": {"A", "B", "C", "K"}} // K was kept at first sight
	for _, tt := range []struct {
		name      string
		now       policy.Person
		have      []string
		keys      []string
		all, kept bool
	}{
		{"one of two keys", policy.Person{Name: "bob", OpenPGP: []string{"A"}, OTR: old.OTR, Certified: old.Certified}, []string{"A", "C", "K"}, []string{"B"}, false, false},
		{"the one that was kept", *old, []string{"A", "B", "C"}, []string{"K"}, false, true},
		{"one that is only kept from now on", policy.Person{Name: "bob", OpenPGP: []string{"A"}, OTR: old.OTR, Certified: old.Certified}, had["bob"], nil, false, false},
		{"all", policy.Person{Name: "bob", Gone: true}, nil, nil, true, false},
	} {
		got := leavers([]*policy.Person{old}, []*policy.Person{&tt.now}, had, map[string][]string{"bob": tt.have})
		if len(got) != 1 || got[0].all != tt.all || got[0].kept != tt.kept || !slices.Equal(got[0].keys, tt.keys) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	if got := leavers(nil, []*policy.Person{old}, nil, had); len(got) > 0 {
		t.Errorf("who comes leaves: %v", got)
	}
}

// TestUntoldIsWarnedOfOnce: a rule about accounts on a network that tells none, once it is
// known that it tells none, with its line in the file.
func TestUntoldIsWarnedOfOnce(t *testing.T) {
	var out bytes.Buffer
	b := &bot{cfg: guardedFull(), log: slog.New(slog.NewTextHandler(&out, nil))}
	s := guard.Status{Rooms: []guard.RoomStatus{{Name: "dev", Places: []guard.PlaceStatus{{Room: irc.Room("corp", "#dev")}}}}}
	b.warnUntold(s)
	if out.Len() > 0 {
		t.Errorf("before anything is known: %s", out.String())
	}
	s.Rooms[0].Places[0].Never = policy.MissingAccount
	for range 3 {
		b.warnUntold(s)
	}
	if n := strings.Count(out.String(), "rules[0].who: network corp never tells of anybody's account"); n != 1 {
		t.Errorf("warned %d times: %s", n, out.String())
	}
}
