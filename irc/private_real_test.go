//go:build e2e

package irc_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
	"drawbridge/irc"
	"drawbridge/policy"
)

// ears hear what is said to the bot alone.
type ears struct {
	mu   sync.Mutex // guards said
	said []bridge.Private
}

func (e *ears) Heard(p bridge.Private) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.said = append(e.said, p)
}

// heard is the line of that text.
func (e *ears) heard(text string) (bridge.Private, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.said {
		if p.Text.Reveal() == text {
			return p, true
		}
	}
	return bridge.Private{}, false
}

// TestRealPrivate: what is said to the bot alone comes with the account that said it: by
// the line itself on InspIRCd, by WHOIS on ngIRCd, which has no accounts. Answers are
// notices, in pieces where they are long.
func TestRealPrivate(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"inspircd", "ngircd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lab.New(t)
			var s *lab.IRCServer
			if name == "inspircd" {
				s = l.InspIRCd(lab.InspIRCd{Fast: true, Services: true})
				s.Register("alice", "sesame")
			} else {
				s = l.NgIRCd(lab.NgIRCd{Fast: true})
			}
			alice := l.IRCUser(s, "al", "#dev")
			if name == "inspircd" {
				alice.Send("PRIVMSG NickServ :IDENTIFY alice sesame")
				alice.Expect(" 900 ")
			}
			eve := l.IRCUser(s, "alice2")
			hears := &ears{}
			leg, err := irc.New(irc.Config{Name: "net", Servers: []string{s.Addr}, TLSOff: true, Nick: "bridge", Channels: channels("#dev")}, irc.Deps{})
			if err != nil {
				t.Fatal(err)
			}
			leg.Hear(hears)
			runAndWait(t, leg)
			awaitRooms(t, l, leg)
			alice.Send("PRIVMSG bridge :!move by alice")
			eve.Send("PRIVMSG bridge :!move by eve")
			l.Await(time.Minute, "both lines", func() bool {
				_, one := hears.heard("!move by alice")
				_, two := hears.heard("!move by eve")
				return one && two
			})
			one, _ := hears.heard("!move by alice")
			two, _ := hears.heard("!move by eve")
			if want := map[string]policy.Known{"inspircd": policy.Yes, "ngircd": policy.No}[name]; one.From.Account.Known != want || want == policy.Yes && one.From.Account.Value != "alice" {
				t.Errorf("alice's account is %+v", one.From.Account)
			}
			if two.From.Account.Known != policy.No {
				t.Errorf("eve's account is %+v", two.From.Account)
			}
			if len(one.Rooms) != 1 || len(two.Rooms) != 0 {
				t.Errorf("rooms %v and %v", one.Rooms, two.Rooms)
			}
			long := strings.Repeat("schön ", 150)
			leg.Tell("al", "first\n"+long+"end")
			answer := func() string {
				var got strings.Builder
				for _, line := range alice.Lines() {
					if _, text, ok := strings.Cut(line, " NOTICE al :"); ok && strings.HasPrefix(line, ":bridge!") {
						got.WriteString(text + " ")
					}
				}
				return strings.Join(strings.Fields(got.String()), " ")
			}
			if want := "first " + long + "end"; !lab.Poll(time.Minute, func() bool { return answer() == want }) {
				t.Errorf("the answer came as %q", answer())
			}
		})
	}
}

// runAndWait runs a leg until the test ends.
func runAndWait(t *testing.T, leg *irc.Leg) {
	t.Helper()
	done := make(chan struct{})
	ctx := t.Context()
	go func() {
		defer close(done)
		_ = leg.Run(ctx, &inbox{})
	}()
	t.Cleanup(func() { <-done })
}
