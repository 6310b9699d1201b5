package xmpp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// anyOrder is a fakeScheme whose messages may be sealed side by side.
type anyOrder struct{ *fakeScheme }

func (anyOrder) Unordered() {}

// TestSendAllKeepsTheOrder: what several cores seal leaves in order, and nothing
// overtakes a message that cannot leave.
func TestSendAllKeepsTheOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		texts string
		sent  int
		err   error
	}{
		{"all", "a b c d e f g h", 8, nil},
		{"one too large", "a b too_large d e", 2, e2ee.ErrTooLarge},
		{"the scheme panics", "a panic c panic", 1, errSchemePanic},
		{"a key counts less than when it was chosen", "a revoked_meanwhile c", 1, e2ee.ErrFloor},
		{"the first is too large", "too_large b", 0, e2ee.ErrTooLarge},
	} {
		for _, scheme := range []e2ee.Scheme{&fakeScheme{}, anyOrder{&fakeScheme{}}} {
			t.Run(fmt.Sprintf("%s/%T", tt.name, scheme), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, testConfig())
					r.leg.deps.Schemes = []e2ee.Scheme{scheme}
					r.start()
					defer r.stop()
					r.skipStart()
					r.online("alice@x.org/a")
					r.drain()
					var ms []bridge.Outgoing
					for i, text := range strings.Fields(tt.texts) {
						ms = append(ms, chatOut(fmt.Sprint("m", i), strings.ReplaceAll(text, "_", " ")))
						ms[i].Floor = policy.Verified
					}
					n, err := r.leg.SendAll(context.Background(), ms)
					if n != tt.sent || !errors.Is(err, tt.err) {
						t.Errorf("SendAll = %d, %v; want %d, %v", n, err, tt.sent, tt.err)
					}
					for i := range n {
						e := r.st.Sent()
						text, _ := hex.DecodeString(e.Child(nsFake, "x").Text)
						if want := "alice:" + strings.Fields(tt.texts)[i]; string(text) != want || e.Get("id") != ms[i].ID {
							t.Errorf("message %d: %q, id %s", i, text, e.Get("id"))
						}
					}
				})
			})
		}
	}
}

// TestHeldSoon: what a handshake or an answer will end makes the bot's own words wait.
func TestHeldSoon(t *testing.T) {
	for _, tt := range []struct {
		err  error
		soon bool
	}{
		{e2ee.ErrNoKey, false},
		{e2ee.ErrHandshake, true},
		{&e2ee.ChoiceError{Tries: []e2ee.Try{{Scheme: "ox", Err: e2ee.ErrAsking}}}, true},
		{fmt.Errorf("otr: no session with alice: %w", e2ee.ErrHandshake), true},
		{&e2ee.ChoiceError{Tries: []e2ee.Try{{Scheme: "ox", Err: e2ee.ErrKeyExpired}, {Scheme: "openpgp", Err: e2ee.ErrNoKey}}}, false},
		{&e2ee.ChoiceError{Tries: []e2ee.Try{{Scheme: "ox", Err: e2ee.ErrNoKey}, {Scheme: "otr", Err: e2ee.ErrHandshake}}}, true},
		{fmt.Errorf("%w: reaches only sealed", e2ee.ErrFloor), false},
	} {
		if h := held(tt.err); h.Soon != tt.soon || !errors.Is(h, tt.err) || h.Reason == "" {
			t.Errorf("%v: soon %v, %v", tt.err, h.Soon, h)
		}
	}
}

// drain forgets what was sent so far.
func (r *rig) drain() {
	synctest.Wait()
	for r.st.Sent() != nil {
	}
}
