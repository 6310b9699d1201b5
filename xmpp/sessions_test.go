package xmpp

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"drawbridge/bridge"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// seated is a talker whose key reaches what its session does.
type seated struct {
	*talker
	keep sync.Mutex // guards rung
	rung policy.Rung
}

func (s *seated) Reach(p e2ee.Peer) (policy.Rung, error) {
	s.keep.Lock()
	defer s.keep.Unlock()
	if !s.Established(p) {
		return policy.Clear, e2ee.ErrHandshake
	}
	return s.rung, nil
}

func (s *seated) set(session bool, rung policy.Rung) {
	s.keep.Lock()
	defer s.keep.Unlock()
	s.talker.set(session, false)
	s.rung = rung
}

// TestSessionsOfAPerson: how far the sessions with a person reach, by each thing that
// shows it, and that the guard hears of each change, of whom it asked about.
func TestSessionsOfAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		s := &seated{talker: &talker{fakeScheme: r.scheme}}
		r.leg.deps.Schemes = []e2ee.Scheme{s}
		r.leg.talks = talking(r.leg.deps.Schemes)
		w := r.watchTestRoom()
		is := func(when, jid string, rung policy.Rung, known policy.Known) {
			t.Helper()
			if got, k := r.leg.Sessions(jid); got != rung || k != known {
				t.Errorf("%s: %s, %s; want %s, %s", when, got, k, rung, known)
			}
		}
		hears := func(when, want string) {
			t.Helper()
			synctest.Wait()
			if got := w.next(); got != want {
				t.Errorf("%s: the guard hears %q, want %q", when, got, want)
			}
		}
		is("before the account is connected", "alice@x.org", policy.Clear, policy.Unknown)
		is("a stranger has none, ever", "eve@else.example", policy.Clear, policy.Yes)
		r.start()
		defer r.stop()
		r.skipStart()
		r.push("<presence from='alice@x.org/a'/>")
		hears("connected", "nothing")
		is("just now", "alice@x.org", policy.Clear, policy.Unknown)
		time.Sleep(sessionGrace)
		hears("nothing came", "sessions alice@x.org")
		is("nothing came", "alice@x.org", policy.Clear, policy.Yes)
		s.set(true, policy.Sealed)
		time.Sleep(2 * time.Second)
		hears("a session by a new key", "sessions alice@x.org")
		is("a session by a new key", "alice@x.org", policy.Sealed, policy.Yes)
		s.set(true, policy.Verified)
		r.leg.TrustChanged("alice")
		hears("the key is accepted", "sessions alice@x.org")
		is("the key is accepted", "alice@x.org/any", policy.Verified, policy.Yes)
		s.set(false, policy.Verified)
		time.Sleep(2 * time.Second)
		hears("it ended", "sessions alice@x.org")
		is("it ended", "alice@x.org", policy.Clear, policy.Yes)
		// A second asker is told the newest at once, and then the first one is, too.
		s.set(true, policy.Signed)
		is("asked before it was told", "alice@x.org", policy.Signed, policy.Yes)
		hears("asked before it was told", "sessions alice@x.org")
		hears("nobody asked about bob", "nothing")
	})
}

// TestSignedPresenceIsASession: a key without a session counts as far as signed, while a
// resource shows a presence that it signed, and the key is one that may be used.
func TestSignedPresenceIsASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, withRoom())
		r.watchTestRoom()
		r.start()
		defer r.stop()
		r.skipStart()
		is := func(when string, rung policy.Rung) {
			t.Helper()
			synctest.Wait()
			if got, _ := r.leg.Sessions("alice@x.org"); got != rung {
				t.Errorf("%s: %s, want %s", when, got, rung)
			}
		}
		show := func(res, x string) {
			r.push("<presence from='alice@x.org/" + res + "'>" + x + "</presence>")
		}
		show("a", "")
		is("unsigned", policy.Clear)
		show("a", "<x xmlns='jabber:x:signed'>bad</x>")
		is("badly signed", policy.Clear)
		show("b", "<x xmlns='jabber:x:signed'>good</x>")
		is("signed by one of two", policy.Signed)
		show("b", "")
		is("not any more", policy.Clear)
		r.scheme.setSigned("later")
		show("b", "<x xmlns='jabber:x:signed'>later</x>")
		is("signed again", policy.Signed)
		r.scheme.setReach("alice", e2ee.ErrKeyRevoked)
		is("by a key that is revoked", policy.Clear)
		r.scheme.setReach("alice", nil)
		r.scheme.setSigned("")
		r.leg.KeysChanged()
		is("by one that is not pinned any more", policy.Clear)
		r.scheme.setSigned("later")
		r.leg.TrustChanged("alice")
		is("and again", policy.Signed)
		r.push("<presence from='alice@x.org/b' type='unavailable'/>")
		is("it went", policy.Clear)
	})
}

// TestHeardOfSessionsWithoutARoom: an account that holds no room tells of sessions, too.
func TestHeardOfSessionsWithoutARoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, testConfig())
		w := &witness{}
		r.leg.Watch(w, []bridge.Room{})
		r.start()
		defer r.stop()
		r.skipStart()
		if _, known := r.leg.Sessions("bob@y.org"); known != policy.Unknown {
			t.Errorf("just connected: %s", known)
		}
		r.push("<presence from='bob@y.org/a'><x xmlns='jabber:x:signed'>good</x></presence>")
		synctest.Wait()
		if got := w.next(); got != "sessions bob@y.org" {
			t.Errorf("the guard hears %q", got)
		}
	})
}
