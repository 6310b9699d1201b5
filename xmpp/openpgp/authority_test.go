package openpgp

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

func TestAddressOf(t *testing.T) {
	for _, tt := range []struct{ uid, want string }{
		{"xmpp:Alice@Example.org", "alice@example.org"},
		{"alice@example.org", "alice@example.org"},
		{"Alice Liddell (work) <alice@example.org>", "alice@example.org"},
		{"Alice <xmpp:alice@example.org>", "alice@example.org"},
		{"alice@example.org <eve@example.org>", "eve@example.org"},
		{"alice@example.org eve@example.org", ""},
		{"Eve <eve@example.org> <alice@example.org>", ""},
		{"Alice", ""},
		{"alice@example.org/phone", ""},
		{"<alice@example.org", ""},
	} {
		if got := addressOf(tt.uid); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.uid, got, tt.want)
		}
	}
}

// TestAuthority: GnuPG certifies, revokes what it certified, and its own key ends.
func TestAuthority(t *testing.T) {
	h := newGPG(t)
	ca := h.generate(t, "ed25519", "company", "1y")
	alice := h.generate(t, "ed25519", "alice", "0")
	bob := h.generate(t, "ed25519", "bob", "0")
	carol := h.generate(t, "ed25519", "carol", "1d")
	sign := func(by, of *testKey, args ...string) {
		t.Helper()
		h.run(t, nil, append(append([]string{"--passphrase", testPass, "--local-user", by.fpr}, args...), "--quick-sign-key", of.fpr)...)
	}
	keys := func(which ...*testKey) *Authority {
		t.Helper()
		var files [][]byte
		for _, k := range which {
			files = append(files, h.run(t, nil, "--export", k.fpr))
		}
		ring, _ := ring(t, files...)
		return ring.Authority(ca.fpr)
	}
	people := map[string]*policy.Person{
		"alice": {Name: "alice", JIDs: []string{"alice@example.org"}},
		"bob":   {Name: "bob", JIDs: []string{"bob@example.org"}},
		"carol": {Name: "carol", JIDs: []string{"carol@example.org"}},
	}
	now := time.Now()
	expect := func(what string, a *Authority, person string, want *testKey, at time.Time) {
		t.Helper()
		got := strings.Join(a.Certified(people[person], at), " ")
		fpr := ""
		if want != nil {
			fpr = want.fpr
		}
		if got != fpr {
			t.Errorf("%s: %s has %q certified, want %q", what, person, got, fpr)
		}
		own, address := map[string]*testKey{"alice": alice, "bob": bob, "carol": carol}[person], ""
		if want != nil {
			address = person + "@example.org"
		}
		if got := strings.Join(a.Addresses([]string{own.fpr}, at), " "); got != address {
			t.Errorf("%s: the key of %s has the addresses %q, want %q", what, person, got, address)
		}
	}
	lapsed := func(what string, a *Authority, person string, want bool, at time.Time) {
		t.Helper()
		if got := a.Lapsed(people[person], at) != ""; got != want {
			t.Errorf("%s: lapsed %t of %s, want %t", what, got, person, want)
		}
	}
	expect("not certified", keys(ca, alice), "alice", nil, now)
	lapsed("not certified", keys(ca, alice), "alice", false, now)
	sign(ca, alice)
	now = time.Now().Add(time.Second)
	a := keys(ca, alice, bob)
	expect("certified", a, "alice", alice, now)
	lapsed("certified", a, "alice", false, now)
	expect("certified for alice only", a, "bob", nil, now)
	expect("without the company's key in the keyring", keys(alice), "alice", nil, now)
	if err := keys(alice).Problem(now); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("Problem = %v", err)
	}
	expect("the company's key has expired", a, "alice", nil, now.Add(366*24*time.Hour))
	lapsed("the company's key has expired", a, "alice", false, now.Add(366*24*time.Hour))
	if err := a.Problem(now.Add(366 * 24 * time.Hour)); !errors.Is(err, e2ee.ErrKeyExpired) {
		t.Errorf("Problem = %v", err)
	}
	sign(ca, carol)
	c := keys(ca, carol)
	expect("a key for a day", c, "carol", carol, time.Now().Add(time.Second))
	lapsed("a key for a day", c, "carol", false, time.Now().Add(time.Second))
	expect("a key that has expired", c, "carol", nil, time.Now().Add(25*time.Hour))
	lapsed("a key that has expired", c, "carol", true, time.Now().Add(25*time.Hour))
	lapsed("a key that has expired, of another", c, "alice", false, time.Now().Add(25*time.Hour))
	sign(alice, bob)
	expect("depth one", keys(ca, alice, bob), "bob", nil, time.Now().Add(time.Second))
	sign(ca, bob, "--default-cert-expire", "1d", "--ask-cert-expire")
	b := keys(ca, alice, bob)
	expect("certified for a day", b, "bob", bob, time.Now().Add(time.Second))
	lapsed("certified for a day", b, "bob", false, time.Now().Add(time.Second))
	expect("after that day", b, "bob", nil, time.Now().Add(25*time.Hour))
	lapsed("after that day", b, "bob", false, time.Now().Add(25*time.Hour))
	h.run(t, nil, "--passphrase", testPass, "--local-user", ca.fpr, "--quick-revoke-sig", alice.fpr, ca.fpr)
	expect("the certification was revoked", keys(ca, alice), "alice", nil, time.Now().Add(2*time.Second))
	lapsed("the certification was revoked", keys(ca, alice), "alice", true, time.Now().Add(2*time.Second))
	rev, err := os.ReadFile(filepath.Join(h.dir, "openpgp-revocs.d", ca.fpr+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	expect("before the company's key is revoked", keys(ca, bob), "bob", bob, time.Now().Add(time.Second))
	h.run(t, bytes.ReplaceAll(rev, []byte("\n:-----BEGIN"), []byte("\n-----BEGIN")), "--import")
	a = keys(ca, bob)
	expect("the company's key is revoked", a, "bob", nil, time.Now().Add(time.Second))
	if err := a.Problem(time.Now()); !errors.Is(err, e2ee.ErrKeyRevoked) {
		t.Errorf("Problem = %v", err)
	}
}

// TestLapsedOfReplacedKeys: what became of the keys that a newer one replaced says
// nothing of how that one ended.
func TestLapsedOfReplacedKeys(t *testing.T) {
	h := newGPG(t)
	start := time.Now()
	at := func(hours int) time.Time { return start.Add(time.Duration(hours) * time.Hour) }
	company := func(hours int, args ...string) {
		t.Helper()
		h.run(t, nil, append([]string{"--passphrase", testPass, "--faked-system-time", at(hours).UTC().Format("20060102T150405")}, args...)...)
	}
	ca := h.generate(t, "ed25519", "company", "1y")
	certify := func(hours int, of *testKey, args ...string) {
		t.Helper()
		company(hours, append(append([]string{"--local-user", ca.fpr}, args...), "--quick-sign-key", of.fpr)...)
	}
	expect := func(what, person string, hours int, want *testKey, certified int, files ...*testKey) {
		t.Helper()
		var exported [][]byte
		for _, k := range append(files, ca) {
			exported = append(exported, h.run(t, nil, "--export", k.fpr))
		}
		ring, _ := ring(t, exported...)
		a, p, fpr := ring.Authority(ca.fpr), &policy.Person{Name: person, JIDs: []string{person + "@example.org"}}, ""
		if want != nil {
			fpr = want.fpr
		}
		if got := a.Lapsed(p, at(hours)); got != fpr {
			t.Errorf("%s: %q of %s has lapsed, want %q", what, got, person, fpr)
		}
		if got := a.Certified(p, at(hours)); len(got) != certified {
			t.Errorf("%s: %s has %q certified, want %d", what, person, got, certified)
		}
	}
	old, replaced := h.generate(t, "ed25519", "alice", "1d"), h.generate(t, "ed25519", "alice", "0")
	certify(1, old)
	certify(12, replaced, "--default-cert-expire", "2d", "--ask-cert-expire")
	expect("both count", "alice", 13, nil, 2, old, replaced)
	expect("the old key has expired", "alice", 30, nil, 1, old, replaced)
	expect("the new certification has run out", "alice", 73, nil, 0, old, replaced)
	expect("of the old key alone", "alice", 30, old, 0, old)
	company(18, "--local-user", ca.fpr, "--quick-revoke-sig", old.fpr, ca.fpr)
	expect("the old certification was revoked after the new one was made", "alice", 20, nil, 1, old, replaced)
	expect("and the new one has run out", "alice", 73, nil, 0, old, replaced)

	old, replaced = h.generate(t, "ed25519", "bob", "0"), h.generate(t, "ed25519", "bob", "3d")
	certify(1, old, "--default-cert-expire", "1d", "--ask-cert-expire")
	certify(12, replaced)
	expect("the old certification has run out", "bob", 30, nil, 1, old, replaced)
	expect("the new key has expired", "bob", 73, replaced, 0, old, replaced)
}
