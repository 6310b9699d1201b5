package bridge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/policy"
)

// whisperer is a leg that people can speak to alone.
type whisperer struct {
	Leg
	by   Listener
	mu   sync.Mutex // guards told while several are answered
	told []string
}

func (w *whisperer) Name() string    { return "corp" }
func (w *whisperer) Hear(l Listener) { w.by = l }
func (w *whisperer) Tell(nick, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
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
		tooMany := func(s string) bool { return strings.Contains(s, "Too many lines") }
		if n := len(leg.told); n != asideBurst+2 || !slices.ContainsFunc(leg.told, tooMany) {
			t.Errorf("%d answers to a flood of 50 and one line of another, want %d: %q", n, asideBurst+2, leg.told)
		}
	})
}

// Who waits for a server that does not answer keeps nobody else waiting; their own lines
// stay in order, and only so many wait.
func TestNobodyWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leg := &whisperer{}
		answered := make(chan struct{})
		c, err := New(Config{Legs: []Leg{leg}}, Deps{Asides: map[string]AsideDesk{"": deskFunc(func(a Aside) string {
			if strings.HasPrefix(a.From.Nick, "stuck") {
				<-answered
			}
			return a.Words[0]
		})}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ran := make(chan struct{})
		go func() { defer close(ran); _ = c.Run(ctx) }()
		synctest.Wait()
		says := func(nick, host, line string) {
			leg.by.Heard(Private{Leg: "corp", From: policy.NewIRCFacts("corp", nick, "u", host), Text: NewText(line)})
			synctest.Wait()
		}
		for _, word := range []string{"one", "two", "three"} {
			says("stuck", "h", word)
		}
		says("al", "other", "hello")
		if got := strings.Join(leg.told, "; "); got != "al: hello" {
			t.Errorf("while one waits, told is %q", got)
		}
		for i := range 2 * maxLanes { // all lanes are taken: the rest waits, and comes later
			says(fmt.Sprint("stuck", i), fmt.Sprint("h", i), "x")
		}
		close(answered)
		synctest.Wait()
		var own []string
		for _, l := range leg.told {
			if strings.HasPrefix(l, "stuck: ") {
				own = append(own, l)
			}
		}
		if got := strings.Join(own, "; "); got != "stuck: one; stuck: two; stuck: three" || len(leg.told) != 4+2*maxLanes {
			t.Errorf("then told is %q, and %d lines in all", got, len(leg.told))
		}
		cancel()
		<-ran
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

// TestStrangersFillNoLog: of lines for which there is no room the log is told once a
// minute and network, with their number.
func TestStrangersFillNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		c, err := New(Config{Legs: []Leg{&whisperer{}}}, Deps{
			Log:    slog.New(slog.NewTextHandler(&log, nil)),
			Asides: map[string]AsideDesk{"": deskFunc(func(Aside) string { return "" })},
		}) // it does not run: nobody takes the lines
		if err != nil {
			t.Fatal(err)
		}
		flood := func(leg string, n int) {
			for range n {
				c.Heard(Private{Leg: leg, From: policy.NewIRCFacts(leg, "eve", "e", "h"), Text: NewText("x")})
			}
		}
		flood("corp", maxAsides+1000)
		flood("libera", 10)
		time.Sleep(unheardEvery)
		flood("corp", 1)
		var told []string
		for l := range strings.Lines(log.String()) {
			_, l, _ = strings.Cut(strings.TrimSpace(l), "level=")
			told = append(told, l)
		}
		const line = `WARN msg="too many private lines at once" `
		if want := []string{line + "leg=corp n=1", line + "leg=libera n=1", line + "leg=corp n=1000"}; !slices.Equal(told, want) {
			t.Errorf("the log is told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
	})
}
