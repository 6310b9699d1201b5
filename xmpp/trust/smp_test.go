package trust

import (
	"context"
	"errors"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

func (w *world) begin(p *policy.Person, digit string, err error) func(e2ee.SMPOutcome) {
	w.Helper()
	secret, end, got := w.book.BeginSMP(w.peer("pinned", p), fpr(digit))
	if !errors.Is(got, err) || (got == nil) != (len(secret) > 0 && end != nil) {
		w.Fatalf("BeginSMP(%s) = %d bytes, %v; want %v", p.Name, len(secret), got, err)
	}
	return end
}

func TestSMP(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(w *world)
		told string
	}{
		{"known: the key is verified, the secret used up", func(w *world) {
			w.begin(w.bob, "C", nil)(e2ee.SMPMatched)
			w.meet("pinned", w.bob, e2ee.KeyOTR, "C", "verified", nil)
			w.begin(w.bob, "C", e2ee.ErrSecretUsed)
			w.restart()
			w.meet("pinned", w.bob, e2ee.KeyOTR, "C", "verified", nil)
			w.begin(w.bob, "C", e2ee.ErrSecretUsed)
		}, ""},
		{"and people hear of it", func(w *world) { w.begin(w.bob, "C", nil)(e2ee.SMPMatched) }, "secret known"},
		{"three failures over several keys close it", func(w *world) {
			for _, key := range []string{"C", "D", "E"} {
				w.begin(w.bob, key, nil)(e2ee.SMPFailed)
			}
			w.begin(w.bob, "F", e2ee.ErrSMPBlocked)
			w.begin(w.alice, "A", nil)(e2ee.SMPAbandoned) // somebody else's are apart
		}, "secret not known, secret not known, secret not known, too many tries, not compared"},
		{"closed outlives the day and the process, until it is cleared", func(w *world) {
			for range MaxFailed {
				w.begin(w.bob, "C", nil)(e2ee.SMPFailed)
			}
			w.restart()
			w.now = w.now.Add(10 * FailedSpan)
			w.begin(w.bob, "C", e2ee.ErrSMPBlocked)
			if got := w.book.SMPBlocked(); len(got) != 1 || got[0] != "bob" {
				w.Errorf("blocked: %v", got)
			}
			if err := w.book.ClearSMP(context.Background(), "bob", "dave"); err != nil {
				w.Error(err)
			}
			w.begin(w.bob, "C", nil)(e2ee.SMPMatched)
		}, "cleared, secret known"},
		{"fewer are forgotten after a day", func(w *world) {
			for range 5 {
				w.begin(w.bob, "C", nil)(e2ee.SMPFailed)
				w.now = w.now.Add(FailedSpan / 2)
			}
			w.begin(w.bob, "C", nil)
		}, "secret not known, secret not known, secret not known, secret not known, secret not known"},
		{"abandoned before anything was said costs nothing", func(w *world) {
			for range 10 {
				w.begin(w.bob, "C", nil)(e2ee.SMPAbandoned)
			}
			w.now = w.now.Add(brokenEvery)
			w.begin(w.bob, "C", nil)(e2ee.SMPAbandoned)
			w.begin(w.bob, "C", nil)(e2ee.SMPMatched)
		}, "not compared, not compared, secret known"},
		{"what is under way counts, and what the crash cut off", func(w *world) {
			first := w.begin(w.bob, "C", nil)
			w.begin(w.bob, "C", nil)
			w.begin(w.bob, "C", nil)
			w.begin(w.bob, "C", e2ee.ErrSMPBusy)
			first(e2ee.SMPAbandoned)
			first(e2ee.SMPFailed) // a second end is none
			w.begin(w.bob, "C", nil)
			w.restart()
			w.begin(w.bob, "C", e2ee.ErrSMPBlocked)
		}, ""},
		{"three that crashes cut off close it for good", func(w *world) {
			for range MaxFailed {
				w.begin(w.bob, "C", nil)
				w.restart()
			}
			w.now = w.now.Add(2 * FailedSpan)
			w.restart()
			w.begin(w.bob, "C", e2ee.ErrSMPBlocked)
			w.now = w.now.Add(2 * FailedSpan)
			w.restart()
			w.begin(w.bob, "C", e2ee.ErrSMPBlocked)
		}, ""},
		{"another secret is a new one", func(w *world) {
			w.begin(w.bob, "C", nil)(e2ee.SMPMatched)
			cfg := w.config()
			cfg.Secrets["bob"] = "another"
			w.book.Apply(cfg)
			w.begin(w.bob, "D", nil)
		}, "secret known"},
		{"no secret", func(w *world) { w.begin(w.carol, "C", e2ee.ErrNoSecret) }, ""},
		{"a revoked key is not asked, and cannot win", func(w *world) {
			end := w.begin(w.bob, "C", nil)
			w.decide(w.book.Revoke, w.bob, "C", e2ee.HowAdmin, nil)
			w.begin(w.bob, "C", e2ee.ErrKeyRevoked)
			end(e2ee.SMPMatched)
			w.meet("pinned", w.bob, e2ee.KeyOTR, "C", "", e2ee.ErrKeyRevoked)
		}, "revoked, secret not known, blocked again"},
		{"what cannot be counted is not begun", func(w *world) {
			w.keeper.err = errors.New("disk full")
			w.begin(w.bob, "C", w.keeper.err)
			w.keeper.err = nil
			for range MaxFailed {
				w.begin(w.bob, "C", nil)(e2ee.SMPFailed)
				w.now = w.now.Add(time.Minute)
			}
			w.told()
		}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			tt.run(w)
			if got := w.told(); got != tt.told {
				t.Errorf("told %q, want %q", got, tt.told)
			}
		})
	}
}
