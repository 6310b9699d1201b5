//go:build e2e

package irc_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
	"drawbridge/irc"
	"drawbridge/policy"
)

var dev = irc.Room("net", "#dev")

// eyes is a watcher that remembers what it saw, and what is known of whom.
type eyes struct {
	mu     sync.Mutex // guards what follows
	sights []bridge.Sight
	known  map[string]policy.Facts // by nick, as last told
	came   func(nick string)       // called at SightCame
}

func (e *eyes) See(s *bridge.Sight) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.sights = append(e.sights, *s)
	if e.known == nil {
		e.known = map[string]policy.Facts{}
	}
	switch s.Kind {
	case bridge.SightHere, bridge.SightCame, bridge.SightChanged, bridge.SightRights:
		e.known[s.Facts.Nick] = s.Facts
	}
	if s.Kind == bridge.SightCame && e.came != nil {
		e.came(s.Facts.Nick)
	}
}

// saw reports whether a sight came that fits.
func (e *eyes) saw(fits func(s *bridge.Sight) bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.sights, func(s bridge.Sight) bool { return fits(&s) })
}

func (e *eyes) kind(k bridge.SightKind) bool {
	return e.saw(func(s *bridge.Sight) bool { return s.Kind == k })
}

func (e *eyes) facts(nick string) policy.Facts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.known[nick]
}

// states is account, certificate, TLS.
func states(f policy.Facts) [3]policy.Known {
	return [3]policy.Known{f.Account.Known, f.Cert.Known, f.TLS.Known}
}

// guardLeg runs a leg whose #dev is guarded, and waits until the guard has been told
// who is there.
func guardLeg(t *testing.T, l *lab.Lab, cfg irc.Config, e *eyes) *irc.Leg {
	t.Helper()
	return guardLegAt(t, l, cfg, e, nil)
}

// guardLegAt has the leg live by a clock; nil: the true one.
func guardLegAt(t *testing.T, l *lab.Lab, cfg irc.Config, e *eyes, now func() time.Time) *irc.Leg {
	t.Helper()
	cfg.Name, cfg.Nick, cfg.Channels = "net", "guard", channels("#dev")
	ctx, cancel := context.WithCancel(context.Background())
	leg, err := irc.New(cfg, irc.Deps{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	leg.Watch(e, []bridge.Room{dev})
	done := make(chan struct{})
	go func() { defer close(done); _ = leg.Run(ctx, &inbox{}) }()
	t.Cleanup(func() { cancel(); <-done })
	l.Await(time.Minute, "the guard is ready", func() bool { return e.kind(bridge.SightReady) })
	return leg
}

func apply(t *testing.T, leg *irc.Leg, lines ...policy.Command) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := leg.Apply(ctx, dev, bridge.Changes{Lines: lines}); err != nil {
		t.Fatal(err)
	}
}

func observe(t *testing.T, leg *irc.Leg) bridge.Observed {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o, err := leg.Observe(ctx, dev)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func command(verb string, params ...string) policy.Command {
	return policy.Command{Verb: verb, Params: params}
}

// awaitOp waits until the guard holds op, as a sight told.
func awaitOp(l *lab.Lab, e *eyes) {
	l.Helper()
	l.Await(time.Minute, "the guard holds op", func() bool {
		return e.saw(func(s *bridge.Sight) bool {
			return s.Self && strings.Contains(s.Rights, "o") && (s.Kind == bridge.SightRights || s.Kind == bridge.SightHere)
		})
	})
}

const everything = policy.MissingAccount | policy.MissingCert | policy.MissingTLS

// TestRealGuardFacts: what is known of whom, on a network that tells all and on one
// that tells little.
func TestRealGuardFacts(t *testing.T) {
	t.Run("inspircd", func(t *testing.T) {
		t.Parallel()
		l := lab.New(t)
		s := l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
		cert := l.CA.Issue("alice")
		s.Register("alice", "sekrit", cert.SHA256())
		old := l.IRCUserTLS(s, "old", nil, "#dev")
		e := &eyes{}
		leg := guardLeg(t, l, irc.Config{Servers: []string{s.Addr}, TLSOff: true}, e)
		if got := states(e.facts("old")); got != [3]policy.Known{policy.No, policy.Unknown, policy.Yes} {
			t.Errorf("old was found with %v", got)
		}
		old.Quit()
		alice := l.IRCUserTLS(s, "alice", cert)
		alice.Send("PRIVMSG NickServ :IDENTIFY alice sekrit")
		alice.Expect("You are now logged in")
		alice.Join("#dev")
		l.IRCUser(s, "bob", "#dev")
		l.Await(time.Minute, "both are seen", func() bool { return e.facts("alice").Nick != "" && e.facts("bob").Nick != "" })
		if got := e.facts("alice").Account; got.Known != policy.Yes || got.Value != "alice" {
			t.Errorf("alice joined with the account %v", got)
		}
		leg.Lookup(dev, "alice", everything)
		leg.Lookup(dev, "bob", everything)
		l.Await(time.Minute, "both are looked up", func() bool {
			return states(e.facts("alice")) == [3]policy.Known{policy.Yes, policy.Yes, policy.Yes} &&
				states(e.facts("bob")) == [3]policy.Known{policy.No, policy.No, policy.No}
		})
		if got := e.facts("alice").Cert.Value; got != cert.SHA256() {
			t.Errorf("her certificate is %q", got)
		}
		bob := e.facts("bob")
		l.IRCUser(s, "carol", "#dev").Send("PRIVMSG NickServ :REGISTER sekrit carol@mail.example")
		l.Await(time.Minute, "carol's login", func() bool { return e.facts("carol").Account.Value == "carol" })
		if bob.Leg != "net" || bob.Host == "" || time.Since(bob.Since) > time.Minute || time.Since(e.facts("old").Since) < time.Minute {
			t.Errorf("bob %+v, old since %s", bob, e.facts("old").Since)
		}
	})
	t.Run("ngircd", func(t *testing.T) {
		t.Parallel()
		l := lab.New(t)
		s := l.NgIRCd(lab.NgIRCd{})
		e := &eyes{}
		leg := guardLeg(t, l, irc.Config{Servers: []string{s.Addr}, TLSOff: true}, e)
		l.IRCUserTLS(s, "alice", nil, "#dev")
		l.IRCUser(s, "bob", "#dev")
		l.Await(time.Minute, "both are seen", func() bool { return e.facts("alice").Nick != "" && e.facts("bob").Nick != "" })
		leg.Lookup(dev, "alice", everything)
		leg.Lookup(dev, "bob", everything)
		l.Await(time.Minute, "both are looked up", func() bool {
			return states(e.facts("alice")) == [3]policy.Known{policy.Never, policy.Never, policy.Yes} &&
				states(e.facts("bob")) == [3]policy.Known{policy.Never, policy.No, policy.No}
		})
		if e.kind(bridge.SightServices) {
			t.Error("a network without services has lost them")
		}
	})
}

// TestRealGuardObserve: what the guard sets is what it reads, and what is refused comes back.
func TestRealGuardObserve(t *testing.T) {
	for _, name := range []string{"inspircd", "ngircd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			var s *lab.IRCServer
			if name == "inspircd" {
				s = l.InspIRCd(lab.InspIRCd{})
			} else {
				s = l.NgIRCd(lab.NgIRCd{})
			}
			e := &eyes{}
			leg := guardLeg(t, l, irc.Config{Servers: []string{s.Addr}, TLSOff: true}, e)
			awaitOp(l, e)
			bob := l.IRCUser(s, "bob", "#dev")
			before := observe(t, leg)
			want := policy.Channel{
				Name: "#dev", Set: "ms", Key: new(string), Topic: new(string),
				Lists:  []policy.List{{Mode: 'b', Want: []string{"evil!*@*", "bad!*@*"}}, {Mode: 'e', Want: []string{"*!*@10.0.0.9"}}, {Mode: 'I', Want: []string{"*!*@10.0.0.8"}}},
				Status: []policy.Status{{Nick: "bob", Give: "v"}},
			}
			*want.Key, *want.Topic = "sesame", "the plans"
			lines, err := policy.PlanChannel(want, before.Channel, before.ChannelCaps, 0)
			if err != nil || len(lines) == 0 {
				t.Fatal(lines, err)
			}
			apply(t, leg, lines...)
			l.Await(time.Minute, "the topic, which comes last", func() bool {
				return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightMode && s.What == "topic" && s.By.Facts.Self })
			})
			after := observe(t, leg)
			t.Logf("%+v", after)
			if !after.Holds || after.ServicesDown != (name == "inspircd") {
				t.Errorf("op %v, services down %v", after.Holds, after.ServicesDown)
			}
			if rest, err := policy.PlanChannel(want, after.Channel, after.ChannelCaps, 0); err != nil || len(rest) != 0 {
				t.Errorf("still to do: %v, %v", rest, err)
			}
			want.Key = nil
			want.Remove = []policy.Removal{{Nick: "bob", Reason: "log in, then come back"}}
			lines, err = policy.PlanChannel(want, after.Channel, after.ChannelCaps, 1)
			if err != nil || len(lines) != 1 {
				t.Fatal(lines, err)
			}
			apply(t, leg, lines...)
			bob.Expect("KICK #dev bob :log in, then come back")
			apply(t, leg, command("MODE", "#dev", "+X"))
			l.Await(time.Minute, "the refusal", func() bool {
				return e.saw(func(s *bridge.Sight) bool {
					return s.Kind == bridge.SightRefused && s.What == "MODE #dev +X" && strings.Contains(s.Text, "472")
				})
			})
			leg.Whisper(dev, "bob", "you were asked to log in")
			bob.Expect("NOTICE bob :you were asked to log in")
			if name == "inspircd" {
				apply(t, leg, command("MODE", "#dev", "+i"))
				l.Await(time.Minute, "the door is shut", func() bool {
					return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightMode && s.What == "+i" })
				})
				bob.Send("KNOCK #dev :let me in")
				l.Await(time.Minute, "the knock", func() bool {
					return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightInvited && s.Facts.Nick == "bob" })
				})
			}
		})
	}
}

// TestRealGuardInvites: an invitation lets somebody past +i, once, and where the server
// knows times, not after its own.
func TestRealGuardInvites(t *testing.T) {
	for _, name := range []string{"inspircd", "ngircd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			var s *lab.IRCServer
			if name == "inspircd" {
				s = l.InspIRCd(lab.InspIRCd{Fast: true})
			} else {
				s = l.NgIRCd(lab.NgIRCd{Fast: true})
			}
			e := &eyes{}
			leg := guardLeg(t, l, irc.Config{Servers: []string{s.Addr}, TLSOff: true}, e)
			awaitOp(l, e)
			bob := l.IRCUser(s, "bob")
			refused := func() {
				t.Helper()
				n := len(bob.Lines())
				bob.Send("JOIN #dev")
				l.Await(time.Minute, "the door is shut", func() bool { return strings.Contains(strings.Join(bob.Lines()[n:], "\n"), " 473 ") })
			}
			apply(t, leg, command("MODE", "#dev", "+i"))
			l.Await(time.Minute, "the door", func() bool {
				return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightMode && s.What == "+i" })
			})
			refused()
			apply(t, leg, command("INVITE", "bob", "#dev"))
			bob.Expect(" INVITE bob ")
			bob.Join("#dev")
			bob.Send("PART #dev")
			bob.Expect(" PART ")
			refused()
			if name == "ngircd" {
				return
			}
			apply(t, leg, command("INVITE", "bob", "#dev", "1"))
			l.Await(time.Minute, "the end of the invitation", func() bool {
				n, lines := len(bob.Lines()), ""
				bob.Send("INVITE") // which lists them
				lab.Poll(time.Minute, func() bool { lines = strings.Join(bob.Lines()[n:], "\n"); return strings.Contains(lines, " 337 ") })
				return strings.Count(strings.Join(bob.Lines(), "\n"), " INVITE bob ") == 2 && strings.Contains(lines, " 337 ") && !strings.Contains(lines, " 336 ")
			})
			refused()
		})
	}
}

// TestRealGuardChanServ: what ChanServ keeps is read and set, its locks refuse what
// goes against them, and op is regained through it.
func TestRealGuardChanServ(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	cert := l.CA.Issue("guard")
	s.Register("guard", "sekrit", cert.SHA256())
	s.Register("alice", "sekrit")
	alice := l.IRCUser(s, "alice", "#dev")
	e := &eyes{}
	leg := guardLeg(t, l, irc.Config{
		Servers: []string{strings.Replace(s.TLSAddr, "127.0.0.1", "localhost", 1)}, CAFile: l.CA.File,
		CertFile: cert.CertFile, KeyFile: cert.KeyFile, SASL: irc.SASLConfig{Mechanism: irc.SASLExternal, Account: "guard"},
	}, e)
	if got := states(e.facts("guard")); got != [3]policy.Known{policy.Yes, policy.Unknown, policy.Yes} {
		t.Errorf("of itself the guard knows %v", got)
	}
	alice.Send("MODE #dev +o guard")
	awaitOp(l, e)
	apply(t, leg, command("PRIVMSG", "ChanServ", "REGISTER #dev"))
	l.Await(time.Minute, "the channel is registered", func() bool { return observe(t, leg).Channel.Access["guard"] != "" })
	alice.Send("MODE #dev -o guard")
	l.Await(time.Minute, "the guard loses op", func() bool {
		return e.saw(func(s *bridge.Sight) bool {
			return s.Kind == bridge.SightRights && s.Self && s.Rights == "" && s.By.Nick == "alice" && !s.By.Server
		})
	})
	apply(t, leg, command("PRIVMSG", "ChanServ", "OP #dev guard"))
	l.Await(time.Minute, "ChanServ gives op back", func() bool {
		return e.saw(func(s *bridge.Sight) bool {
			return s.Kind == bridge.SightRights && s.Self && s.Rights == "o" && s.By.Nick == "ChanServ" && s.By.Server
		})
	})
	seen := observe(t, leg)
	t.Logf("%+v", seen)
	if seen.ChannelCaps.Services != policy.Atheme || seen.ServicesDown || !strings.Contains(seen.Channel.Access["guard"], "F") || seen.Channel.TopicLock {
		t.Fatalf("ChanServ keeps %+v", seen)
	}
	want := policy.Channel{Name: "#dev", MLock: "+nt-i", TopicLock: true, Access: []policy.Access{{Account: "alice", Flags: "V"}}}
	lines, err := policy.PlanChannel(want, seen.Channel, seen.ChannelCaps, 0)
	if err != nil || len(lines) != 3 {
		t.Fatal(lines, err)
	}
	apply(t, leg, lines...)
	l.Await(time.Minute, "ChanServ keeps what was asked", func() bool {
		seen = observe(t, leg)
		rest, err := policy.PlanChannel(want, seen.Channel, seen.ChannelCaps, 0)
		return err == nil && len(rest) == 0
	})
	apply(t, leg, command("MODE", "#dev", "+i"))
	l.Await(time.Minute, "the mode lock refuses", func() bool {
		return e.saw(func(s *bridge.Sight) bool {
			return s.Kind == bridge.SightRefused && s.What == "MODE #dev +i" && strings.Contains(s.Text, "742")
		})
	})
}

// TestRealGuardServices: with services away nobody is taken for one without an
// account, and a minute after their return everybody counts again.
func TestRealGuardServices(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	s.Register("alice", "sekrit")
	alice := l.IRCUser(s, "alice", "#dev")
	alice.Send("PRIVMSG NickServ :IDENTIFY alice sekrit")
	alice.Expect("You are now logged in")
	l.IRCUser(s, "bob", "#dev")
	e := &eyes{}
	var ahead atomic.Int64 // of the leg's clock
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	leg := guardLegAt(t, l, irc.Config{Servers: []string{s.Addr}, TLSOff: true}, e, now)
	s.StopServices()
	l.Await(time.Minute, "services are missed", func() bool {
		return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightServices && s.Down }) && e.facts("bob").Account.Known == policy.Unknown
	})
	l.IRCUser(s, "carol", "#dev")
	l.Await(time.Minute, "carol is seen", func() bool { return e.facts("carol").Nick != "" })
	if a, c := e.facts("alice").Account, e.facts("carol").Account; a.Known != policy.Yes || c.Known != policy.Unknown {
		t.Errorf("while services are away alice has %v, carol %v", a, c)
	}
	if !observe(t, leg).ServicesDown {
		t.Error("a look does not say that services are away")
	}
	s.StartServices()
	observe(t, leg) // their return has been told before,
	observe(t, leg) // and who they are
	if e.facts("carol").Account.Known != policy.Unknown || e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightServices && !s.Down }) {
		t.Error("whoever is not logged in counts at once after their return")
	}
	ahead.Store(int64(2 * time.Minute))
	observe(t, leg) // which wakes it
	l.Await(time.Minute, "services are back", func() bool {
		return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightServices && !s.Down }) &&
			e.facts("bob").Account.Known == policy.No && e.facts("carol").Account.Known == policy.No
	})
}

// TestRealGuardImpostor: who has the nick NickServ as the bot connects, while services
// are away, is not them; as Atheme returns it is.
func TestRealGuardImpostor(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
	l.IRCUser(s, "bob", "#dev")
	eve := l.IRCUser(s, "eve")
	s.StopServices()
	eve.Send("NICK NickServ")
	eve.Expect(" NICK :NickServ")
	e := &eyes{}
	var ahead atomic.Int64 // of the leg's clock
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	leg := guardLegAt(t, l, irc.Config{Servers: []string{s.Addr}, TLSOff: true}, e, now)
	l.Await(time.Minute, "services are missed", func() bool {
		return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightServices && s.Down })
	})
	if bob := e.facts("bob").Account; bob.Known != policy.Unknown || !observe(t, leg).ServicesDown {
		t.Errorf("with an impostor bob has %v, or a look says that services are there", bob)
	}
	if seen, err := leg.Account(t.Context(), "bob"); !errors.Is(err, bridge.ErrNotReady) {
		t.Errorf("the impostor is asked about accounts: %+v, %v", seen, err)
	}
	s.StartServices()
	if !lab.Poll(time.Minute, eve.Gone) {
		t.Error("services leave the impostor their nick")
	}
	observe(t, leg) // their return has been told before,
	observe(t, leg) // and who they are
	ahead.Store(int64(2 * time.Minute))
	observe(t, leg) // which wakes it
	l.Await(time.Minute, "services are back", func() bool {
		return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightServices && !s.Down }) && e.facts("bob").Account.Known == policy.No
	})
}

// TestRealGuardNetsplit: an op given on the far side of a netsplit comes back as set by
// a server, and the merge is told once it has settled.
func TestRealGuardNetsplit(t *testing.T) {
	t.Parallel()
	l := lab.New(t)
	a, b, link := l.LinkedInspIRCd(lab.InspIRCd{Fast: true})
	link.Join()
	e := &eyes{}
	leg := guardLeg(t, l, irc.Config{Servers: []string{a.Addr}, TLSOff: true}, e)
	awaitOp(l, e)
	dave, eve := l.IRCUser(b, "dave", "#dev"), l.IRCUser(b, "eve", "#dev")
	apply(t, leg, command("MODE", "#dev", "+o", "dave"))
	dave.Expect("MODE #dev +o :dave")
	link.Split()
	l.Await(time.Minute, "the split", func() bool {
		return e.saw(func(s *bridge.Sight) bool { return s.Kind == bridge.SightWent && s.Facts.Nick == "eve" && s.Split })
	})
	dave.Send("MODE #dev +o eve")
	eve.Expect("MODE #dev +o :eve")
	dave.Send("MODE #dev +b *!*@10.0.0.1")
	dave.Expect("MODE #dev +b")
	link.Join()
	l.Await(time.Minute, "the merge has settled", func() bool { return e.kind(bridge.SightMerged) })
	foreign := func(what string) bool {
		return e.saw(func(s *bridge.Sight) bool {
			return (s.Kind == bridge.SightRights || s.Kind == bridge.SightMode) && s.What == what && s.By.Server && s.By.Nick == "b.test"
		})
	}
	if !foreign("+o eve") || !foreign("+b *!*@10.0.0.1") {
		t.Errorf("what the other side did was not seen: %+v", e.sights)
	}
	seen := observe(t, leg)
	if seen.Channel.Present["eve"] != "o" || !slices.Contains(seen.Channel.Lists['b'], "*!*@10.0.0.1") {
		t.Errorf("after the merge: %+v", seen.Channel)
	}
	apply(t, leg, command("MODE", "#dev", "-o", "eve"))
	eve.Expect("MODE #dev -o :eve")
}
