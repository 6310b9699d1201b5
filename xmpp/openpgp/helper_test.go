package openpgp

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// plain is text to seal.
type plain string

func (p plain) Reveal() string { return string(p) }

// ours is a key of our own making.
type ours struct {
	*Generated
	secret *Secret
}

var botKeys = sync.OnceValues(func() (ours, error) { return makeKey("bot") })

func makeKey(name string) (ours, error) {
	g, err := Generate(name, name+"@example.org", nil, NoExpiry, time.Now().Add(-time.Minute))
	if err != nil {
		return ours{}, err
	}
	s, err := ParseSecret(g.Secret, nil, time.Now())
	return ours{g, s}, err
}

func ourKey(t testing.TB, name string) ours {
	t.Helper()
	if name == "bot" {
		k, err := botKeys()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	k, err := makeKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ring returns a keyring of the given key files' contents.
func ring(t testing.TB, files ...[]byte) (*Keyring, string) {
	t.Helper()
	dir := t.TempDir()
	for i, f := range files {
		write(t, filepath.Join(dir, string(rune('a'+i))+".gpg"), f)
	}
	k, err := NewKeyring([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	return k, dir
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func person(name string, weak bool, fprs ...string) e2ee.Peer {
	return e2ee.Peer{
		Account: "acc", Self: "bot@example.org", Bare: name + "@example.org",
		Person: &policy.Person{Name: name, OpenPGP: fprs, AllowWeakKey: weak},
	}
}

func incoming(armor, id string) e2ee.Incoming {
	return e2ee.Incoming{
		Body: fallback, ID: id, Stamp: time.Now(),
		Children: []*element.Element{element.New("http://jabber.org/protocol/chatstates", "active"), element.New(NSEncrypted, "x").SetText(armor)},
	}
}

// sealed returns the armor of text sealed by s to p.
func sealed(t testing.TB, s *Scheme, p e2ee.Peer, text string) string {
	t.Helper()
	out, err := s.Seal(context.Background(), p, plain(text))
	if err != nil {
		t.Fatalf("Seal: %v", err)
	}
	return out.Children[0].Text
}

func open(s *Scheme, p e2ee.Peer, armor, id string) (e2ee.Opened, error) {
	return s.Open(context.Background(), p, incoming(armor, id))
}
