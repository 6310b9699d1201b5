package main

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"drawbridge/bridge"
	"drawbridge/internal/config"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

// TestReplayToAnotherAccount: an XEP-0027 message does not say whom it is for. Two
// accounts may have one key, and the server could hand to the second what was
// said to the first: in another bridge.
func TestReplayToAnotherAccount(t *testing.T) {
	dir := t.TempDir()
	if _, err := makeHouse(dir); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(filepath.Join(dir, "drawbridge.yaml"), loadOptions())
	if err != nil {
		t.Fatal(err)
	}
	first, err := openKeys(c, nil, nil, newQuiet())
	if err != nil {
		t.Fatal(err)
	}
	// A reload brings the second account.
	grown := *c
	second := *c.Account("bot")
	second.Name, second.JID = "ops", "ops@corp.example"
	grown.Accounts = append(append([]config.Account(nil), c.Accounts...), second)
	k, err := openKeys(&grown, first, c, newQuiet())
	if err != nil {
		t.Fatal(err)
	}
	bot, ops := k.accounts["bot"], k.accounts["ops"]
	if bot == nil || ops == nil || bot == ops {
		t.Fatalf("schemes %p, %p", bot, ops)
	}

	public, err := bot.Secret().Public()
	if err != nil {
		t.Fatal(err)
	}
	keys := t.TempDir()
	if _, err := openpgp.Import(keys, public, time.Now()); err != nil {
		t.Fatal(err)
	}
	ring, err := openpgp.NewKeyring([]string{keys})
	if err != nil {
		t.Fatal(err)
	}
	client := openpgp.New(openpgp.Config{Secret: bot.Secret(), Keyring: ring, Unsigned: true}, openpgp.Deps{})
	toBot := e2ee.Peer{Bare: "bot@corp.example", Person: &policy.Person{Name: "bot", OpenPGP: []string{bot.Secret().Fingerprint()}}}
	sealed, err := client.Seal(t.Context(), toBot, bridge.NewText("for the first bridge"))
	if err != nil {
		t.Fatal(err)
	}
	from := e2ee.Peer{Bare: "alice@corp.example", Person: &policy.Person{Name: "alice"}}
	in := e2ee.Incoming{Children: sealed.Children, ID: "one", Stamp: time.Now()}
	if o, err := bot.Open(t.Context(), from, in); err != nil || o.Redelivered {
		t.Fatalf("the first account: %v, %v", o.Redelivered, err)
	}
	if o, err := ops.Open(t.Context(), from, in); err == nil && !o.Redelivered {
		t.Error("the second account takes what was said to the first")
	}
	in.ID = "two"
	if _, err := ops.Open(t.Context(), from, in); !errors.Is(err, e2ee.ErrReplay) {
		t.Errorf("under another id: %v", err)
	}
}
