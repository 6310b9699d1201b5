//go:build e2e

package irc_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/lab"
	"drawbridge/irc"
)

// TestRealSTS: a network configured without TLS asks for it: nothing but CAP LS is
// ever said in clear, and a new process does not even dial the clear port.
func TestRealSTS(t *testing.T) {
	l := lab.New(t)
	s := l.InspIRCd(lab.InspIRCd{Fast: true, STS: true})
	proxy := l.Proxy(s.Addr)
	proxy.Record()
	box := newJournalled()
	cfg := irc.Config{
		Servers: []string{strings.Replace(proxy.Addr, "127.0.0.1", "localhost", 1)}, TLSOff: true, CAFile: l.CA.File,
		Password: "secret", Channels: channels("#dev"),
	}
	run := func(cfg irc.Config, check func(*irc.Leg)) {
		t.Helper()
		ctx, stop := context.WithCancel(context.Background())
		leg, done := runLegIn(ctx, t, cfg, box, irc.Deps{Cursors: box})
		check(leg)
		stop()
		<-done
		if up, _ := proxy.Recorded(); up != "CAP LS 302\r\n" {
			t.Errorf("said in clear: %q", up)
		}
	}
	joined := func(leg *irc.Leg) {
		t.Helper()
		awaitRooms(t, l, leg)
		if notes := strings.Join(leg.Status().Notes, "; "); !strings.Contains(notes, "sts") {
			t.Errorf("notes: %s", notes)
		}
	}
	run(cfg, joined)
	run(cfg, joined)
	if n := proxy.Opened(); n != 1 {
		t.Errorf("the clear port was dialled %d times", n)
	}
	cfg.CAFile = ""
	run(cfg, func(leg *irc.Leg) {
		l.Await(time.Minute, "refused", func() bool {
			st := leg.Status()
			return st.State == bridge.StateRefused && strings.Contains(st.Detail, "ca_file")
		})
	})
	if n := proxy.Opened(); n != 1 {
		t.Errorf("the clear port was dialled %d times", n)
	}
}
