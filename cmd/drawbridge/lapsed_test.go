package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/internal/config"
	"drawbridge/policy"
	"drawbridge/xmpp/openpgp"
)

// TestLapsedHeld: that somebody meant a key to end counts as it ends, and not later,
// when something else goes: the file of the key that replaced it, say.
func TestLapsedHeld(t *testing.T) {
	made := time.Now().Add(-time.Hour)
	at := &packet.Config{Time: func() time.Time { return made }, Algorithm: packet.PubKeyAlgoEdDSA}
	entity := func(email string) *pgp.Entity {
		t.Helper()
		e, err := pgp.NewEntity("", "", email, at)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	company, old := entity("keys@corp.example"), entity("alice@corp.example")
	for name := range old.Identities {
		if err := old.SignIdentity(name, company, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := old.Revoke(packet.KeyRetired, "", at); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, e := range []*pgp.Entity{company, old} {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i, ".gpg")))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Serialize(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ring, err := openpgp.NewKeyring([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	b := &bot{keys: &keys{ring: ring}, cfg: &config.Config{
		Keyring: config.Keyring{Authority: fmt.Sprintf("%X", company.PrimaryKey.Fingerprint)},
		People:  []config.Person{{Name: "alice", JIDs: []string{"alice@corp.example"}}},
	}}
	revoked := fmt.Sprintf("%X", old.PrimaryKey.Fingerprint)
	for _, tt := range []struct {
		what string
		held []string
		want int
	}{
		{"the key was theirs until now", []string{"A", revoked}, 1},
		{"it had been replaced before", []string{"A"}, 0},
	} {
		b.spec.People = []*policy.Person{{Name: "bob", OpenPGP: []string{revoked}}, {Name: "alice", OpenPGP: tt.held}}
		if got := b.lapsed("alice"); len(got) != tt.want {
			t.Errorf("%s: lapsed %q, want %d", tt.what, got, tt.want)
		}
	}
}
