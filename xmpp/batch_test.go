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

// drain forgets what was sent so far.
func (r *rig) drain() {
	synctest.Wait()
	for r.st.Sent() != nil {
	}
}
