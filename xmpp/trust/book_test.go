package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// fpr makes a fingerprint of one hex digit.
func fpr(digit string) string { return strings.Repeat(digit, 40) }

// memory is a TrustKeeper that outlives a Book.
type memory struct {
	mu    sync.Mutex
	keys  map[id]e2ee.Key
	tries map[string]e2ee.SMPTries
	err   error
}

func newMemory() *memory { return &memory{keys: map[id]e2ee.Key{}, tries: map[string]e2ee.SMPTries{}} }

func (m *memory) TrustKeys(context.Context) ([]e2ee.Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.keys), func(a, b e2ee.Key) int { return a.First.Compare(b.First) }), m.err
}

func (m *memory) KeepKeys(_ context.Context, keys []e2ee.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	for _, k := range keys {
		if k.State == e2ee.KeyUnknown {
			delete(m.keys, idOf(&k))
		} else {
			m.keys[idOf(&k)] = k
		}
	}
	return nil
}

func (m *memory) SMPTries(context.Context) (map[string]e2ee.SMPTries, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.tries), m.err
}

func (m *memory) KeepTries(_ context.Context, person string, t e2ee.SMPTries) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.tries[person] = t
	return nil
}

// certified is a Certifier.
type certified map[string][]string

func (c certified) Certified(p *policy.Person, _ time.Time) []string { return c[p.Name] }

// world is a Book with what it needs: alice, whose OTR key A and OpenPGP key 1 are
// listed; bob, of whom nothing is known, on an account that trusts on first use and
// on one that does not; carol with an OpenPGP key and nothing else.
type world struct {
	*testing.T
	book              *Book
	keeper            *memory
	cas               certified
	now               time.Time
	alice, bob, carol *policy.Person
	notices           []Notice
	changed           []string
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, keeper: newMemory(), cas: certified{}, now: time.Unix(1_800_000_000, 0)}
	w.alice = &policy.Person{Name: "alice", OTR: []string{fpr("A")}, OpenPGP: []string{fpr("1")}}
	w.bob = &policy.Person{Name: "bob"}
	w.carol = &policy.Person{Name: "carol", OpenPGP: []string{fpr("3")}}
	w.restart()
	return w
}

func (w *world) config() Config {
	return Config{
		People:  []*policy.Person{w.alice, w.bob, w.carol},
		TOFU:    map[string]map[string]bool{"tofu": {"bob": true, "alice": true, "carol": true}},
		Secrets: map[string]string{"alice": "xyzzy", "bob": "plugh"},
	}
}

// restart makes the book anew of what was kept.
func (w *world) restart() {
	w.Helper()
	if w.book != nil {
		w.work()
	}
	b, err := New(context.Background(), w.config(), Deps{
		Keeper: w.keeper, Certifier: w.cas, Now: func() time.Time { return w.now },
		Own:     func(kind e2ee.KeyKind, f string) bool { return kind == e2ee.KeyOpenPGP && f == fpr("0") },
		Tell:    func(n Notice) { w.notices = append(w.notices, n) },
		Changed: func(p string) { w.changed = append(w.changed, p) },
	})
	if err != nil {
		w.Fatal(err)
	}
	w.book = b
	w.work()
	w.notices, w.changed = nil, nil
}

func (w *world) work() {
	w.Helper()
	if err := w.book.work(context.Background()); err != nil {
		w.Fatal(err)
	}
}

// told returns what was told since the last call.
func (w *world) told() string {
	w.work()
	var out []string
	for _, n := range w.notices {
		text := n.What.String()
		if n.Again {
			text += " again"
		}
		out = append(out, text)
	}
	w.notices = nil
	return strings.Join(out, ", ")
}

func (w *world) peer(account string, p *policy.Person) e2ee.Peer {
	return e2ee.Peer{Account: account, Bare: p.Name + "@x", Resource: "laptop", Person: p}
}

// meet expects what a key that comes is worth, "" for blocked with err.
func (w *world) meet(account string, p *policy.Person, kind e2ee.KeyKind, digit, rung string, err error) {
	w.Helper()
	got, gotErr := w.book.Meet(w.peer(account, p), kind, fpr(digit))
	again, againErr := w.book.Rung(w.peer(account, p), kind, fpr(digit))
	if got != again || !errors.Is(againErr, gotErr) {
		w.Errorf("Meet %v, %v; Rung then %v, %v", got, gotErr, again, againErr)
	}
	if err != nil {
		rung = "clear"
	}
	if got.String() != rung || !errors.Is(gotErr, err) {
		w.Errorf("Meet(%s, %s %s) = %v, %v; want %s, %v", p.Name, kind, digit, got, gotErr, rung, err)
	}
}

func (w *world) decide(f func(context.Context, Decision) (e2ee.Key, error), p *policy.Person, digit string, how e2ee.How, err error) {
	w.Helper()
	_, got := f(context.Background(), Decision{Person: p.Name, Kind: e2ee.KeyOTR, Fingerprint: fpr(digit), How: how, Who: "dave"})
	if !errors.Is(got, err) {
		w.Errorf("%v, want %v", got, err)
	}
}

func TestKeysThatCome(t *testing.T) {
	for _, tt := range []struct {
		name string
		run  func(w *world)
		told string
	}{
		{"listed", func(w *world) {
			w.meet("tofu", w.alice, e2ee.KeyOTR, "A", "verified", nil)
		}, ""},
		{"another than the listed one blocks, also where first ones are kept", func(w *world) {
			w.meet("tofu", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
			w.meet("tofu", w.alice, e2ee.KeyOTR, "A", "verified", nil)
		}, "blocked"},
		{"a blocked one is told of once a day", func(w *world) {
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
			w.now = w.now.Add(againEvery)
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
		}, "blocked, blocked again"},
		{"the first is kept", func(w *world) {
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
			w.restart()
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
		}, ""},
		{"and told of", func(w *world) { w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil) }, "kept"},
		{"a second does not take its place", func(w *world) {
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
			w.meet("tofu", w.bob, e2ee.KeyOTR, "D", "", e2ee.ErrKeyChanged)
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
		}, "kept, blocked"},
		{"kept for one bridge is no more than seen for another", func(w *world) {
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
			w.meet("pinned", w.bob, e2ee.KeyOTR, "C", "sealed", nil)
		}, "kept"},
		{"where nothing is kept the first is sealed, the second blocks", func(w *world) {
			w.meet("pinned", w.bob, e2ee.KeyOTR, "C", "sealed", nil)
			w.meet("pinned", w.bob, e2ee.KeyOTR, "D", "", e2ee.ErrKeyChanged)
			w.now = w.now.Add(time.Hour)
			w.restart()
			w.meet("pinned", w.bob, e2ee.KeyOTR, "D", "", e2ee.ErrKeyChanged)
			w.meet("pinned", w.bob, e2ee.KeyOTR, "C", "sealed", nil)
		}, "blocked again"},
		{"a key pinned in another scheme: nothing is kept", func(w *world) {
			w.meet("tofu", w.carol, e2ee.KeyOTR, "E", "", e2ee.ErrKeyChanged)
		}, "blocked"},
		{"certified", func(w *world) {
			w.cas["bob"] = []string{fpr("9")}
			w.meet("pinned", w.bob, e2ee.KeyOpenPGP, "9", "verified", nil)
			w.meet("pinned", w.bob, e2ee.KeyOpenPGP, "8", "", e2ee.ErrKeyChanged)
			w.cas["bob"] = nil // the company's key has expired
			w.meet("pinned", w.bob, e2ee.KeyOpenPGP, "9", "", e2ee.ErrKeyChanged)
		}, "blocked, blocked"},
		{"revoked", func(w *world) {
			w.decide(w.book.Revoke, w.alice, "A", e2ee.HowAdmin, nil)
			w.meet("tofu", w.alice, e2ee.KeyOTR, "A", "", e2ee.ErrKeyRevoked)
			w.meet("tofu", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
			w.restart()
			w.meet("tofu", w.alice, e2ee.KeyOTR, "A", "", e2ee.ErrKeyRevoked)
		}, "blocked again"},
		{"accepted, by whoever may", func(w *world) {
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
			w.decide(w.book.Accept, w.alice, "B", e2ee.HowAdmin, nil)
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "verified", nil)
			w.decide(w.book.Accept, w.alice, "D", e2ee.HowSession, nil) // never seen
			w.meet("pinned", w.alice, e2ee.KeyOTR, "D", "verified", nil)
			w.meet("pinned", w.alice, e2ee.KeyOTR, "A", "verified", nil)
		}, "blocked, accepted, accepted"},
		{"only an admin takes a revocation back", func(w *world) {
			w.decide(w.book.Revoke, w.alice, "B", e2ee.HowAdmin, nil)
			w.decide(w.book.Accept, w.alice, "B", e2ee.HowSession, ErrRevoked)
			w.decide(w.book.Accept, w.alice, "B", e2ee.HowSMP, ErrRevoked)
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyRevoked)
			w.decide(w.book.Accept, w.alice, "B", e2ee.HowAdmin, nil)
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "verified", nil)
		}, "revoked, blocked again, accepted"},
		{"a kept one that was revoked makes no room for another", func(w *world) {
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
			w.decide(w.book.Revoke, w.bob, "C", e2ee.HowAdmin, nil)
			w.meet("tofu", w.bob, e2ee.KeyOTR, "D", "", e2ee.ErrKeyChanged)
		}, "kept, revoked, blocked"},
		{"one of another kind was kept: no second is", func(w *world) {
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
			w.meet("tofu", w.bob, e2ee.KeyOpenPGP, "6", "", e2ee.ErrKeyChanged) // as a server may announce it
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
		}, "kept, blocked"},
		{"one of another kind was revoked: none is kept", func(w *world) {
			w.decide(w.book.Revoke, w.bob, "C", e2ee.HowAdmin, nil)
			w.meet("tofu", w.bob, e2ee.KeyOpenPGP, "6", "sealed", nil)
		}, "revoked, first"},
		{"the key of somebody else", func(w *world) {
			w.decide(w.book.Accept, w.bob, "A", e2ee.HowAdmin, ErrOther)
			w.meet("tofu", w.bob, e2ee.KeyOTR, "C", "signed", nil)
			w.decide(w.book.Accept, w.alice, "C", e2ee.HowSession, ErrOther) // kept is enough
		}, "kept"},
		{"the bot's own key", func(w *world) {
			w.meet("tofu", w.bob, e2ee.KeyOpenPGP, "0", "", e2ee.ErrKeyChanged) // its lines must not come back as bob's
			w.cas["bob"] = []string{fpr("0")}
			w.meet("tofu", w.bob, e2ee.KeyOpenPGP, "0", "", e2ee.ErrKeyChanged)
			if _, err := w.book.Accept(context.Background(), Decision{Person: "bob", Kind: e2ee.KeyOpenPGP, Fingerprint: fpr("0"), How: e2ee.HowAdmin}); !errors.Is(err, ErrOwn) {
				w.Errorf("accepted: %v", err)
			}
		}, "blocked"},
		{"nobody's", func(w *world) {
			w.decide(w.book.Accept, &policy.Person{Name: "eve"}, "A", e2ee.HowAdmin, ErrNoPerson)
			if _, err := w.book.Accept(context.Background(), Decision{Person: "bob", Fingerprint: fpr("A")}); !errors.Is(err, ErrUnseen) {
				w.Errorf("a key never seen: %v", err)
			}
			if _, err := w.book.Accept(context.Background(), Decision{Person: "bob", Fingerprint: "AABB"}); !errors.Is(err, ErrFingerprint) {
				w.Errorf("a key id: %v", err)
			}
		}, ""},
		{"taken out of the config", func(w *world) {
			w.alice.OTR = nil
			w.alice.OpenPGP = nil
			w.restart()
			w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "sealed", nil) // as if it had never been there
			w.now = w.now.Add(time.Second)
			w.meet("pinned", w.alice, e2ee.KeyOTR, "A", "", e2ee.ErrKeyChanged)
		}, "first, blocked"},
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

// TestKeysToSealTo: the best first, and none that only came.
func TestKeysToSealTo(t *testing.T) {
	w := newWorld(t)
	w.cas["alice"] = []string{fpr("7"), fpr("1")}
	w.meet("pinned", w.alice, e2ee.KeyOpenPGP, "5", "", e2ee.ErrKeyChanged)
	list := func(account string, p *policy.Person) string {
		var out []string
		for _, k := range w.book.Keys(w.peer(account, p), e2ee.KeyOpenPGP) {
			out = append(out, fmt.Sprintf("%c %s %s", k.Fingerprint[0], k.How, k.Rung))
		}
		return strings.Join(out, ", ")
	}
	if got, want := list("pinned", w.alice), "1 config verified, 7 authority verified"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	w.meet("tofu", w.bob, e2ee.KeyOpenPGP, "6", "signed", nil)
	if got, want := list("tofu", w.bob), "6 tofu signed"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if got := list("pinned", w.bob); got != "" {
		t.Errorf("a key kept for another bridge is sealed to: %s", got)
	}
}

// TestManyKeysCome: a server that makes keys up fills no more than its share, and
// the first of them stays.
func TestManyKeysCome(t *testing.T) {
	w := newWorld(t)
	for i := range 100 {
		w.now = w.now.Add(time.Second)
		_, _ = w.book.Meet(w.peer("pinned", w.bob), e2ee.KeyOTR, fmt.Sprintf("%040X", i+1))
	}
	w.work()
	if n := len(w.book.List("bob")); n != maxWaiting {
		t.Errorf("%d remembered", n)
	}
	if r, err := w.book.Rung(w.peer("pinned", w.bob), e2ee.KeyOTR, fmt.Sprintf("%040X", 1)); r != policy.Sealed || err != nil {
		t.Errorf("the first: %v, %v", r, err)
	}
	if len(w.notices) > maxNotices {
		t.Errorf("%d told", len(w.notices))
	}
	kept := 0
	for x := range w.keeper.keys {
		if x.person == "bob" {
			kept++
		}
	}
	if kept != maxWaiting {
		t.Errorf("%d kept", kept)
	}
}

// TestManyKeysAreToldFew: who makes keys up, and who signs presences with them, does
// not fill the admins' chats; a person's decisions and other people's keys are told.
func TestManyKeysAreToldFew(t *testing.T) {
	w := newWorld(t)
	for i := range 1000 {
		w.now = w.now.Add(time.Second)
		_, _ = w.book.Meet(w.peer("pinned", w.alice), e2ee.KeyOTR, fmt.Sprintf("%040X", i+1))
		w.book.Hint(w.peer("pinned", w.alice), e2ee.KeyOpenPGP, fmt.Sprintf("%040X", i+1))
		w.work()
	}
	if n := len(w.notices); n != noticeBurst {
		t.Errorf("%d notices in 1000 s", n)
	}
	w.now = w.now.Add(noticeEvery)
	_, _ = w.book.Meet(w.peer("pinned", w.alice), e2ee.KeyOTR, fpr("D"))
	w.work()
	if last := w.notices[len(w.notices)-1]; last.Untold == 0 || !strings.Contains(last.ForAdmins(), "more") {
		t.Errorf("how many were not told is not told: %q", last.ForAdmins())
	}
	w.notices = nil
	w.meet("pinned", w.carol, e2ee.KeyOTR, "E", "", e2ee.ErrKeyChanged)
	w.decide(w.book.Accept, w.alice, "B", e2ee.HowAdmin, nil)
	if got := w.told(); got != "blocked, accepted" {
		t.Errorf("told %q", got)
	}
}

// TestNoticesQuoteAddresses: a resource is its client's words, and its server's.
func TestNoticesQuoteAddresses(t *testing.T) {
	w := newWorld(t)
	p := w.peer("pinned", w.alice)
	p.Resource = "phone.\nAll is well: !trust accept alice " + strings.Repeat("x", 900) + "\u202e"
	_, _ = w.book.Meet(p, e2ee.KeyOTR, fpr("B"))
	w.work()
	for _, text := range []string{w.notices[0].ForAdmins(), w.notices[0].ForPerson()} {
		if strings.ContainsAny(text, "\n\u202e") || strings.Contains(text, "xxxxxxxxx") && len(text) > 800 {
			t.Errorf("%q", text)
		}
	}
}

// TestNothingIsAcceptedThatIsNotKept: and nothing revoked counts because of it.
func TestNothingIsAcceptedThatIsNotKept(t *testing.T) {
	w := newWorld(t)
	full := errors.New("disk full")
	w.keeper.err = full
	w.decide(w.book.Accept, w.alice, "B", e2ee.HowAdmin, full)
	w.decide(w.book.Revoke, w.alice, "A", e2ee.HowAdmin, full)
	w.keeper.err = nil
	w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
	w.meet("pinned", w.alice, e2ee.KeyOTR, "A", "", e2ee.ErrKeyRevoked)
	w.restart()
	w.meet("pinned", w.alice, e2ee.KeyOTR, "A", "", e2ee.ErrKeyRevoked)
}

func TestNotices(t *testing.T) {
	w := newWorld(t)
	w.meet("pinned", w.alice, e2ee.KeyOTR, "B", "", e2ee.ErrKeyChanged)
	w.work()
	if len(w.notices) != 1 {
		t.Fatalf("%d notices", len(w.notices))
	}
	n := w.notices[0]
	for _, part := range []string{"alice", "Expected: OTR AAAAAAAA AAAAAAAA", "Came: OTR key BBBBBBBB", "alice@x/laptop", "!trust accept alice " + fpr("B")} {
		if !strings.Contains(n.ForAdmins(), part) {
			t.Errorf("admins hear %q without %q", n.ForAdmins(), part)
		}
	}
	for _, part := range []string{"Expected: OTR AAAAAAAA", "Came: OTR key BBBBBBBB", "!trust add " + fpr("B")} {
		if !strings.Contains(n.ForPerson(), part) {
			t.Errorf("alice hears %q without %q", n.ForPerson(), part)
		}
	}
	for what := range whatNames {
		n.What = what
		if n.ForAdmins() == "" {
			t.Errorf("the admins hear nothing of %s", what)
		}
	}
}

func TestRunKeepsAndTells(t *testing.T) {
	keeper := newMemory()
	bob := &policy.Person{Name: "bob"}
	told, changed := make(chan Notice, 8), make(chan string, 8)
	b, err := New(t.Context(), Config{People: []*policy.Person{bob}}, Deps{
		Keeper: keeper, Tell: func(n Notice) { told <- n }, Changed: func(p string) { changed <- p },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	if p := <-changed; p != "bob" {
		t.Errorf("%s changed", p)
	}
	_, _ = b.Meet(e2ee.Peer{Person: bob}, e2ee.KeyOTR, fpr("A"))
	if n := <-told; n.What != CameFirst {
		t.Errorf("told %v", n.What)
	}
	cancel()
	<-done
	if len(keeper.keys) != 1 {
		t.Errorf("%d keys kept", len(keeper.keys))
	}
}
