package e2ee_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// fake is a scheme that reaches a rung or fails.
type fake struct {
	name string
	rung policy.Rung
	err  error
}

func (f fake) Name() string                         { return f.name }
func (f fake) Claims(in e2ee.Incoming) bool         { return in.Body == f.name }
func (f fake) Reach(e2ee.Peer) (policy.Rung, error) { return f.rung, f.err }
func (f fake) Seal(context.Context, e2ee.Peer, e2ee.Plain) (e2ee.Payload, error) {
	return e2ee.Payload{}, nil
}

func (f fake) Open(context.Context, e2ee.Peer, e2ee.Incoming) (e2ee.Opened, error) {
	return e2ee.Opened{}, nil
}

var (
	nobody  = &policy.Person{Name: "nobody"}
	pgpOnly = &policy.Person{Name: "alice", OpenPGP: []string{"A"}}
	otrOnly = &policy.Person{Name: "bob", OTR: []string{"B"}}
	both    = &policy.Person{Name: "carol", OpenPGP: []string{"A"}, OTR: []string{"B"}}
)

func TestChoose(t *testing.T) {
	pgp := fake{name: "openpgp", rung: policy.Verified}
	expired := fake{name: "openpgp", err: e2ee.ErrKeyExpired}
	otr := fake{name: "otr", rung: policy.Sealed}
	otrUp := fake{name: "otr", rung: policy.Verified}
	for _, tt := range []struct {
		name    string
		schemes []e2ee.Scheme
		order   string
		floor   policy.Rung
		person  *policy.Person
		want    string
		err     error
	}{
		{"first of the order", []e2ee.Scheme{otrUp, pgp}, "openpgp otr", policy.Verified, both, "openpgp", nil},
		{"the other order", []e2ee.Scheme{otrUp, pgp}, "otr openpgp", policy.Verified, both, "otr", nil},
		{"expired: the next", []e2ee.Scheme{expired, otrUp}, "openpgp otr", policy.Verified, both, "otr", nil},
		{"never below the floor", []e2ee.Scheme{otr}, "otr", policy.Signed, nobody, "", e2ee.ErrFloor},
		{"sealed will do", []e2ee.Scheme{otr}, "otr", policy.Sealed, nobody, "otr", nil},
		{"a pin elsewhere forbids", []e2ee.Scheme{expired, otrUp}, "openpgp otr", policy.Sealed, pgpOnly, "", e2ee.ErrOtherPinned},
		{"and says what the pinned one lacks", []e2ee.Scheme{expired, otrUp}, "openpgp otr", policy.Sealed, pgpOnly, "", e2ee.ErrKeyExpired},
		{"also where the pinned scheme is not built", []e2ee.Scheme{pgp}, "openpgp", policy.Sealed, otrOnly, "", e2ee.ErrOtherPinned},
		{"listed but not built", nil, "ox", policy.Sealed, pgpOnly, "", e2ee.ErrNotBuilt},
		{"nothing listed", []e2ee.Scheme{pgp}, "", policy.Clear, both, "", e2ee.ErrFloor},
		{"no session yet: another that reaches goes first", []e2ee.Scheme{fake{name: "otr", err: e2ee.ErrHandshake}, pgp}, "otr openpgp", policy.Verified, both, "openpgp", nil},
		{"a clear floor is still never clear", []e2ee.Scheme{fake{name: "openpgp"}}, "openpgp", policy.Clear, both, "", e2ee.ErrFloor},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, rung, err := e2ee.Choose(tt.schemes, strings.Fields(tt.order), tt.floor, e2ee.Peer{Person: tt.person})
			if tt.err != nil {
				if !errors.Is(err, tt.err) || !errors.Is(err, e2ee.ErrFloor) || s != nil || rung != policy.Clear {
					t.Fatalf("Choose = %v, %v, %v; want %v", s, rung, err, tt.err)
				}
				return
			}
			if err != nil || s.Name() != tt.want || rung < tt.floor {
				t.Fatalf("Choose = %v, %v, %v; want %s", s, rung, err, tt.want)
			}
		})
	}
}

// TestChooseBegins: where nothing reaches the floor yet, keys are agreed on.
func TestChooseBegins(t *testing.T) {
	begins := fake{name: "otr", err: e2ee.ErrHandshake}
	pgp := fake{name: "openpgp", err: e2ee.ErrKeyExpired}
	order := []string{"openpgp", "otr"}
	s, rung, err := e2ee.Choose([]e2ee.Scheme{pgp, begins}, order, policy.Verified, e2ee.Peer{Person: both})
	if err != nil || s != e2ee.Scheme(begins) || rung != policy.Clear {
		t.Errorf("Choose = %v, %v, %v", s, rung, err)
	}
	if s, _, err := e2ee.Choose([]e2ee.Scheme{pgp, begins}, order, policy.Verified, e2ee.Peer{Person: pgpOnly}); err == nil {
		t.Errorf("begins %v with a person whose pin is elsewhere", s)
	}
	up := fake{name: "openpgp", rung: policy.Verified}
	for _, tt := range []struct {
		name   string
		with   e2ee.Scheme
		order  []string
		person *policy.Person
		want   bool
	}{
		{"the other cannot", pgp, order, both, true},
		{"the other can", up, order, both, false},
		{"the other can, and is liked less", up, []string{"otr", "openpgp"}, both, true},
		{"the other may not", up, order, otrOnly, true},
		{"it may not itself", up, order, pgpOnly, false},
		{"not listed", pgp, []string{"openpgp"}, both, false},
	} {
		if got := e2ee.Prefers([]e2ee.Scheme{tt.with, begins}, tt.order, begins, e2ee.Peer{Person: tt.person}); got != tt.want {
			t.Errorf("%s: Prefers = %v", tt.name, got)
		}
	}
}

func TestClaim(t *testing.T) {
	schemes := []e2ee.Scheme{fake{name: "openpgp"}, fake{name: "otr"}}
	for _, tt := range []struct {
		name, body, order string
		person            *policy.Person
		want              string
		err               error
	}{
		{"its own", "otr", "openpgp otr", otrOnly, "otr", nil},
		{"nobody's", "hello", "openpgp otr", both, "", nil},
		{"not listed", "otr", "openpgp", both, "otr", e2ee.ErrNotListed},
		{"pinned elsewhere", "otr", "openpgp otr", pgpOnly, "otr", e2ee.ErrOtherPinned},
		{"no pins at all", "otr", "otr", nobody, "otr", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := e2ee.Claim(schemes, strings.Fields(tt.order), e2ee.Peer{Person: tt.person}, e2ee.Incoming{Body: tt.body})
			got := ""
			if s != nil {
				got = s.Name()
			}
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Claim = %q, %v; want %q, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestReplayCache(t *testing.T) {
	t0 := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	c := e2ee.NewReplayCache(time.Hour, 3)
	for i, tt := range []struct {
		what, bare, id string
		after          time.Duration
		want           e2ee.Verdict
	}{
		{"one", "a@x", "1", 0, e2ee.Fresh},
		{"one", "a@x", "1", 0, e2ee.Redelivery},
		{"one", "a@x", "2", 0, e2ee.Replayed},
		{"one", "b@x", "1", 0, e2ee.Replayed}, // another peer, same id
		{"one", "a@x", "", 0, e2ee.Replayed},
		{"two", "a@x", "", time.Minute, e2ee.Fresh},
		{"two", "a@x", "", time.Minute, e2ee.Replayed}, // without ids nothing is a redelivery
		{"three", "a@x", "3", 2 * time.Minute, e2ee.Fresh},
		{"four", "a@x", "4", 3 * time.Minute, e2ee.Fresh}, // pushes "one" out
		{"two", "a@x", "9", 3 * time.Minute, e2ee.Replayed},
		{"three", "a@x", "9", 62*time.Minute - 1, e2ee.Replayed},
		{"three", "a@x", "9", 63 * time.Minute, e2ee.Fresh}, // past the span
	} {
		if got, _ := c.Mark([]byte(tt.what), tt.bare, tt.id, t0.Add(tt.after)); got != tt.want {
			t.Errorf("row %d: Mark(%s, %s, %q) = %v, want %v", i, tt.what, tt.bare, tt.id, got, tt.want)
		}
		if i == 8 {
			if h := c.Horizon(t0.Add(tt.after)); !h.Equal(t0) {
				t.Errorf("horizon %v: a message as old as the one pushed out would pass", h)
			}
		}
	}
	if h := c.Horizon(t0.Add(2 * time.Hour)); !h.Equal(t0.Add(time.Hour)) {
		t.Errorf("horizon %v, want the span", h)
	}
}

func TestRedeliveryEnds(t *testing.T) {
	t0 := time.Now()
	c := e2ee.NewReplayCache(0, 0)
	c.Mark([]byte("x"), "a@x", "1", t0)
	if v, _ := c.Mark([]byte("x"), "a@x", "1", t0.Add(e2ee.RedeliverySpan-1)); v != e2ee.Redelivery {
		t.Errorf("within the span: %v", v)
	}
	if v, _ := c.Mark([]byte("x"), "a@x", "1", t0.Add(e2ee.RedeliverySpan)); v != e2ee.Replayed {
		t.Errorf("past the span: %v", v)
	}
}

// TestReplayOutlivesTheProcess: a cache told what another has seen judges like
// it, and not like it of what nobody kept.
func TestReplayOutlivesTheProcess(t *testing.T) {
	t0 := time.Now()
	key := [32]byte{1}
	before, after := e2ee.OpenReplayCache(time.Hour, 2, key), e2ee.OpenReplayCache(time.Hour, 2, key)
	_, kept := before.Mark([]byte("kept"), "a@x", "1", t0)
	_, _ = before.Mark([]byte("lost with the process"), "a@x", "2", t0)
	if !after.Know(kept) || after.Know(kept[1:]) || after.Know(nil) {
		t.Error("Know takes another thing than what Mark returns")
	}
	for _, tt := range []struct {
		what, id string
		want     e2ee.Verdict
	}{
		{"kept", "1", e2ee.Redelivery},
		{"kept", "9", e2ee.Replayed},
		{"lost with the process", "2", e2ee.Fresh},
	} {
		got, seen := after.Mark([]byte(tt.what), "a@x", tt.id, t0.Add(time.Minute))
		if got != tt.want || (seen != nil) != (got == e2ee.Fresh) {
			t.Errorf("%s under %s: %v, want %v; seen %x", tt.what, tt.id, got, tt.want, seen)
		}
	}
	_, more := before.Mark([]byte("more"), "a@x", "3", t0.Add(2*time.Minute))
	after.Know(more)
	if h := after.Horizon(t0.Add(2 * time.Minute)); !h.Equal(t0) || after.Len() != 2 {
		t.Errorf("pushed out by size: horizon %v, %d left", h.Sub(t0), after.Len())
	}
}

func TestReplayCacheStaysBounded(t *testing.T) {
	c := e2ee.NewReplayCache(time.Hour, 100)
	now := time.Now()
	for i := range 10000 {
		c.Mark([]byte{byte(i), byte(i >> 8), 1}, "a@x", "", now.Add(time.Duration(i)*time.Millisecond))
	}
	if c.Len() != 100 {
		t.Errorf("holds %d", c.Len())
	}
}

var _ e2ee.Session = talker{}

// talker is a scheme with a session with one resource.
type talker struct {
	fake
	with string
}

func (s talker) Established(p e2ee.Peer) bool                        { return p.Resource == s.with }
func (s talker) Arrive(e2ee.Peer, string, bool) (out []e2ee.Payload) { return nil }
func (s talker) Leave(e2ee.Peer)                                     {}
func (s talker) Quit(e2ee.Peer) []e2ee.Payload                       { return nil }
func (s talker) Due(time.Time) []e2ee.Letter                         { return nil }

func TestClaimRefusesClearTextInsideASession(t *testing.T) {
	schemes := []e2ee.Scheme{fake{name: "openpgp"}, talker{fake{name: "otr"}, "phone"}}
	order := []string{"openpgp", "otr"}
	for _, tt := range []struct {
		name, resource string
		in             e2ee.Incoming
		want           string
		err            error
	}{
		{"clear inside", "phone", e2ee.Incoming{Body: "hello"}, "otr", e2ee.ErrClear},
		{"another resource", "desk", e2ee.Incoming{Body: "hello"}, "", nil},
		{"no body: a chat state", "phone", e2ee.Incoming{}, "", nil},
		{"said before the session, perhaps", "phone", e2ee.Incoming{Body: "hello", Delayed: true}, "", nil},
		{"the session's own", "phone", e2ee.Incoming{Body: "otr"}, "otr", nil},
		{"another scheme's", "phone", e2ee.Incoming{Body: "openpgp"}, "openpgp", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := e2ee.Claim(schemes, order, e2ee.Peer{Resource: tt.resource, Person: both}, tt.in)
			if got := ""; s != nil {
				got = s.Name()
				if got != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("Claim = %q, %v; want %q, %v", got, err, tt.want, tt.err)
				}
			} else if tt.want != "" || err != nil {
				t.Errorf("Claim = nothing, %v; want %q, %v", err, tt.want, tt.err)
			}
		})
	}
}

// announcer is a scheme that a peer is known to read or not.
type announcer struct {
	fake
	ability e2ee.Ability
}

func (a announcer) Features() []string                   { return nil }
func (a announcer) Announce(string) ([]e2ee.Item, error) { return nil, nil }
func (a announcer) Node() string                         { return "" }
func (a announcer) Ability(e2ee.Peer) e2ee.Ability       { return a.ability }
func (a announcer) Take(e2ee.Peer, string, *element.Element, error) (next []string, changed bool) {
	return nil, false
}

// TestChooseWhatIsRead: of schemes that reach the floor, one that the peer reads; and
// the preferred one where that makes no difference.
func TestChooseWhatIsRead(t *testing.T) {
	ox := func(a e2ee.Ability) e2ee.Scheme {
		return announcer{fake{name: "ox", rung: policy.Verified}, a}
	}
	pgp := fake{name: "openpgp", rung: policy.Verified}
	weak := fake{name: "openpgp", rung: policy.Sealed}
	for _, tt := range []struct {
		name    string
		schemes []e2ee.Scheme
		order   string
		want    string
		err     error
	}{
		{"able", []e2ee.Scheme{ox(e2ee.Able), pgp}, "ox openpgp", "ox", nil},
		{"unable: the next", []e2ee.Scheme{ox(e2ee.Unable), pgp}, "ox openpgp", "openpgp", nil},
		{"not asked: wait", []e2ee.Scheme{ox(e2ee.Unasked), pgp}, "ox openpgp", "", e2ee.ErrAsking},
		{"not asked, and nothing else listed", []e2ee.Scheme{ox(e2ee.Unasked), pgp}, "ox", "ox", nil},
		{"unable, and nothing else listed", []e2ee.Scheme{ox(e2ee.Unable), pgp}, "ox", "ox", nil},
		{"unable, and the next is below the floor", []e2ee.Scheme{ox(e2ee.Unable), weak}, "ox openpgp", "ox", nil},
		{"preferred less: not waited for", []e2ee.Scheme{ox(e2ee.Unasked), pgp}, "openpgp ox", "openpgp", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, rung, err := e2ee.Choose(tt.schemes, strings.Fields(tt.order), policy.Verified, e2ee.Peer{Person: pgpOnly})
			got := ""
			if s != nil {
				got = s.Name()
			}
			if got != tt.want || !errors.Is(err, tt.err) || got != "" && rung != policy.Verified {
				t.Errorf("Choose = %q, %v, %v; want %q, %v", got, rung, err, tt.want, tt.err)
			}
		})
	}
}

// talking is a fake with sessions; of several floors it reaches its own.
type talking struct {
	fake
	e2ee.Session
}

func (f talking) Name() string                           { return f.fake.Name() }
func (f talking) Claims(in e2ee.Incoming) bool           { return f.fake.Claims(in) }
func (f talking) Reach(p e2ee.Peer) (policy.Rung, error) { return f.fake.Reach(p) }
func (f talking) Seal(ctx context.Context, p e2ee.Peer, text e2ee.Plain) (e2ee.Payload, error) {
	return f.fake.Seal(ctx, p, text)
}

func (f talking) Open(ctx context.Context, p e2ee.Peer, in e2ee.Incoming) (e2ee.Opened, error) {
	return f.fake.Open(ctx, p, in)
}

// signing is a fake that signs presences.
type signing struct{ fake }

func (signing) SignPresence(string) (*element.Element, error)            { return nil, nil }
func (signing) VerifyPresence(e2ee.Peer, string, *element.Element) error { return nil }

// TestSessions: what a person's clients have shown, and not what is only known of them.
func TestSessions(t *testing.T) {
	otr := func(rung policy.Rung, err error) e2ee.Scheme {
		return talking{fake: fake{name: "otr", rung: rung, err: err}}
	}
	pgp := signing{fake{name: "openpgp", rung: policy.Verified}}
	ox := func(a e2ee.Ability) e2ee.Scheme {
		return announcer{fake: fake{name: "ox", rung: policy.Verified}, ability: a}
	}
	for _, tt := range []struct {
		name    string
		schemes []e2ee.Scheme
		person  *policy.Person
		signed  bool
		want    policy.Rung
	}{
		{"a verified session", []e2ee.Scheme{otr(policy.Verified, nil)}, otrOnly, false, policy.Verified},
		{"one by a key first seen", []e2ee.Scheme{otr(policy.Sealed, nil)}, nobody, false, policy.Sealed},
		{"none", []e2ee.Scheme{otr(policy.Clear, e2ee.ErrHandshake)}, otrOnly, false, policy.Clear},
		{"one by a key that was revoked", []e2ee.Scheme{otr(policy.Verified, e2ee.ErrKeyRevoked)}, otrOnly, false, policy.Clear},
		{"one beside a pin elsewhere", []e2ee.Scheme{otr(policy.Sealed, nil), pgp}, pgpOnly, false, policy.Clear},
		{"a pinned key that nobody has shown", []e2ee.Scheme{pgp}, pgpOnly, false, policy.Clear},
		{"and that signed their presence", []e2ee.Scheme{pgp}, pgpOnly, true, policy.Signed},
		{"a key that is announced", []e2ee.Scheme{ox(e2ee.Able)}, pgpOnly, false, policy.Signed},
		{"one that is not", []e2ee.Scheme{ox(e2ee.Unable)}, pgpOnly, true, policy.Clear},
		{"the best of all", []e2ee.Scheme{pgp, ox(e2ee.Able), otr(policy.Verified, nil)}, both, true, policy.Verified},
		{"no scheme", nil, both, true, policy.Clear},
	} {
		if got := e2ee.Sessions(tt.schemes, []string{"openpgp", "ox", "otr"}, e2ee.Peer{Person: tt.person}, tt.signed); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := e2ee.Sessions([]e2ee.Scheme{otr(policy.Verified, nil)}, []string{"openpgp"}, e2ee.Peer{Person: otrOnly}, false); got != policy.Clear {
		t.Errorf("a scheme that the bridge does not list: %s", got)
	}
}
