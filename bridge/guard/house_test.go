package guard_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/guard/guardtest"
	"drawbridge/policy"
)

var (
	channel = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#finance"}
	muc     = bridge.Room{Leg: "bot", Kind: bridge.MUC, Name: "finance@rooms.corp.example"}
	lobby   = bridge.Room{Leg: "corp", Kind: bridge.Channel, Name: "#lobby"}
)

// house is a guard that holds finance (closed, a channel and a MUC) and lobby (open),
// in a bubble of synctest.
type house struct {
	t         *testing.T
	g         *guard.Guard
	cfg       guard.Config
	deps      guard.Deps
	irc, xmpp *guardtest.Leg
	store     guard.Store
	stop      func()

	mu     sync.Mutex // guards all below
	alarms []string
	told   map[string][]string // by person, in their encrypted chats
	slow   time.Duration       // that telling takes
}

func person(name string, groups ...string) *policy.Person {
	return &policy.Person{
		Name: name, JIDs: []string{name + "@corp.example"}, Groups: groups,
		IRC: map[string]policy.IRCIdentity{"corp": {Accounts: []string{name}}},
	}
}

func config() guard.Config {
	both := []policy.Do{policy.Join, policy.Speak}
	return guard.Config{
		Policy: policy.Spec{
			People: []*policy.Person{person("alice", "finance", "ops"), person("bob", "finance"), person("carol")},
			Rooms:  []policy.Room{{Name: "finance", Default: policy.Deny}, {Name: "lobby"}},
			Rules: []policy.Rule{
				{ID: "finance-in", Rooms: []string{"finance"}, Do: both, Who: policy.Who{Groups: []string{"finance"}}, Effect: policy.Allow},
				{ID: "ops", Rooms: []string{"finance"}, Do: []policy.Do{policy.Op}, Who: policy.Who{Groups: []string{"ops"}}, Effect: policy.Allow},
				{ID: "tls-only", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Join}, If: policy.If{TLS: policy.No}, Effect: policy.Kick, Reason: "connect with TLS, then come back"},
				{ID: "spam", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Speak}, If: policy.If{Floods: policy.FloodLines}, Effect: policy.Ban, For: time.Hour},
				{ID: "shout", Rooms: []string{"lobby"}, Do: []policy.Do{policy.Speak}, If: policy.If{Floods: policy.FloodCaps}, Effect: policy.Quarantine},
			},
			Protected: []string{"alice"},
		},
		Rooms: []guard.Room{
			{Name: "finance", Channel: channel, MUC: muc, Modes: "+nts", Topic: true},
			{Name: "lobby", Channel: lobby, Floods: policy.FloodLimits{Lines: policy.Limit{Count: 5, Per: 5 * time.Second}, Caps: policy.Limit{Count: 2, Per: time.Minute}}},
		},
	}
}

// live runs test with a running guard whose rooms are joined.
func live(t *testing.T, change func(*guard.Config), test func(h *house)) {
	t.Helper()
	liveWith(t, change, nil, test)
}

// liveWith is live, with other deps.
func liveWith(t *testing.T, change func(*guard.Config), deps func(*guard.Deps), test func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, change)
		if deps != nil {
			deps(&h.deps)
		}
		h.start()
		defer func() { h.stop() }()
		h.ready()
		test(h)
	})
}

func newHouse(t *testing.T, change func(*guard.Config)) *house {
	h := &house{t: t, cfg: config(), irc: guardtest.NewLeg("corp", "irc"), xmpp: guardtest.NewLeg("bot", "xmpp"), store: &failing{Store: guard.NewMemory()}, told: map[string][]string{}}
	h.cfg.Legs = []bridge.Enforcer{h.irc, h.xmpp}
	h.irc.Open(channel).Flags = "nt"
	h.irc.Open(lobby)
	h.xmpp.Open(muc)
	if change != nil {
		change(&h.cfg)
	}
	return h
}

// start makes a guard and runs it.
func (h *house) start() {
	h.t.Helper()
	deps := h.deps
	deps.Store = h.store
	deps.Alarm = func(text string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.alarms = append(h.alarms, text)
	}
	deps.Tell = func(person, text string) bool {
		time.Sleep(h.slow)
		h.mu.Lock()
		defer h.mu.Unlock()
		if person == "bob" { // he has no encrypted chat
			return false
		}
		h.told[person] = append(h.told[person], text)
		return true
	}
	g, err := guard.New(h.cfg, deps)
	if err != nil {
		h.t.Fatal(err)
	}
	h.g = g
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	synctest.Wait()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Run: %v", err)
		}
		h.stop = func() {}
	}
}

// ready joins the rooms, and takes away what making them ready changed.
func (h *house) ready() {
	h.irc.Ready(channel)
	h.irc.Ready(lobby)
	h.xmpp.Ready(muc)
	h.wait(time.Second)
	h.irc.Lines()
	h.xmpp.Lines()
}

// wait lets the time pass, and all that it leads to happen.
func (h *house) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// bansOf is what stands in the list of bans of a channel.
func (h *house) bansOf(room bridge.Room) (out []string) {
	h.irc.Change(room, func(p *guardtestPlace) { out = slices.Clone(p.Lists['b']) })
	return out
}

func (h *house) takeAlarms() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.alarms
	h.alarms = nil
	return out
}

// acts returns what stands in the audit, as "who effect rule: result".
func (h *house) acts(q guard.Query) (out []string) {
	h.t.Helper()
	h.wait(time.Second)
	for a, err := range h.g.Audit(context.Background(), q) {
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s", a.Who, a.Effect, a.Rule, a.Result)))
	}
	return out
}

// onIRC is somebody with an account; "": none, "?": not known.
func onIRC(nick, account string) policy.Facts {
	f := policy.NewIRCFacts("corp", nick, nick, nick+".example")
	f.TLS, f.Cert = policy.Is("", "WHOX", time.Time{}), policy.IsNot("276", time.Time{})
	switch account {
	case "?":
	case "":
		f.Account = policy.IsNot("extended-join", time.Time{})
	default:
		f.Account = policy.Is(account, "extended-join", time.Time{})
	}
	return f
}

func onXMPP(nick, jid string) policy.Facts {
	f := policy.NewXMPPFacts("bot", nick)
	f.JID = policy.Is(jid, "presence", time.Time{})
	return f
}

func (h *house) same(what string, got []string, want ...string) {
	h.t.Helper()
	if !slices.Equal(got, want) {
		h.t.Errorf("%s:\n  %s\nwant:\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// has fails unless a line of got contains each of want.
func (h *house) has(what string, got []string, want ...string) {
	h.t.Helper()
	for _, w := range want {
		if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, w) }) {
			h.t.Errorf("%s: nothing with %q in\n  %s", what, w, strings.Join(got, "\n  "))
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type guardtestPlace = guardtest.Place
