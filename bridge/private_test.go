package bridge

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/policy"
)

// whisperer is a leg that people can speak to alone.
type whisperer struct {
	Leg
	by   Listener
	told []string
}

func (w *whisperer) Name() string    { return "corp" }
func (w *whisperer) Hear(l Listener) { w.by = l }
func (w *whisperer) Tell(nick, text string) {
	w.told = append(w.told, nick+": "+text)
}

func (w *whisperer) Run(ctx context.Context, _ Sink) error {
	<-ctx.Done()
	return nil
}

type deskFunc func(a Aside) string

func (f deskFunc) Aside(_ context.Context, a Aside) string { return f(a) }

func TestPrivateLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leg := &whisperer{}
		desks := map[string]AsideDesk{
			"!move": deskFunc(func(a Aside) string { return "account " + a.Account() + ", " + strings.Join(a.Words, "|") }),
			"":      deskFunc(func(a Aside) string { return "no command: " + strings.Join(a.Words, "|") }),
			"!boom": deskFunc(func(Aside) string { panic("boom") }),
		}
		c, err := New(Config{Legs: []Leg{leg}}, Deps{Asides: desks})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { _ = c.Run(ctx) }()
		synctest.Wait()
		from := policy.NewIRCFacts("corp", "al", "alice", "host")
		from.Account = policy.Is("alice", "account-tag", time.Now())
		for _, tt := range []struct{ line, want string }{
			{"!move  de\x00utsch", "al: account alice, !move|deutsch"},
			{"!MOVE back", "al: account alice, !move|back"},
			{"!boom", ""}, // contained
			{"alice@example.org", "al: no command: alice@example.org"},
			{"!other", ""},
			{"  ", ""},
		} {
			leg.told = nil
			leg.by.Heard(Private{Leg: "corp", From: from, Text: NewText(tt.line)})
			synctest.Wait()
			if got := strings.Join(leg.told, "; "); got != tt.want {
				t.Errorf("%q: told %q, want %q", tt.line, got, tt.want)
			}
			time.Sleep(time.Minute)
		}
		leg.told = nil
		for range 50 { // one host floods; another is heard all the same
			leg.by.Heard(Private{Leg: "corp", From: from, Text: NewText("x")})
		}
		from.Host = "other"
		leg.by.Heard(Private{Leg: "corp", From: from, Text: NewText("!move")})
		synctest.Wait()
		if n := len(leg.told); n != asideBurst+2 || !strings.Contains(leg.told[asideBurst], "Too many lines") {
			t.Errorf("%d answers to a flood of 50 and one line of another, want %d: %q", n, asideBurst+2, leg.told)
		}
	})
}

func TestHostRateIsBounded(t *testing.T) {
	var rate hostRate
	now := time.Now()
	for i := range asideHosts + 100 {
		rate.allow(string(rune(i))+"@h", now)
	}
	if len(rate) > asideHosts {
		t.Errorf("%d hosts kept, want at most %d", len(rate), asideHosts)
	}
	if later := now.Add(time.Hour); !hears(&rate, "new@h", later) || len(rate) > 10 {
		t.Errorf("after an hour %d hosts are kept, and a new one is not heard", len(rate))
	}
}

func hears(h *hostRate, host string, now time.Time) bool {
	ok, _ := h.allow(host, now)
	return ok
}
