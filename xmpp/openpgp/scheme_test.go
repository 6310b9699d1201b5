package openpgp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
)

func TestConformance(t *testing.T) {
	for _, unsigned := range []bool{false, true} {
		t.Run(fmt.Sprintf("unsigned=%v", unsigned), func(t *testing.T) {
			e2eetest.Run(t, e2eetest.Harness{
				Ends: func(t testing.TB) (a, b e2eetest.End) {
					bot, alice := ourKey(t, "bot"), ourKey(t, "alice")
					keys, _ := ring(t, bot.Public, alice.Public)
					a.Scheme = New(Config{Secret: bot.secret, Keyring: keys, Unsigned: unsigned}, Deps{})
					b.Scheme = New(Config{Secret: alice.secret, Keyring: keys, Unsigned: unsigned}, Deps{})
					a.Peer, b.Peer = person("alice", false, alice.Fingerprint), person("bot", false, bot.Fingerprint)
					return a, b
				},
				Keyless: func(t testing.TB) (e2ee.Scheme, e2ee.Peer) {
					bot := ourKey(t, "bot")
					keys, _ := ring(t, bot.Public)
					return New(Config{Secret: bot.secret, Keyring: keys}, Deps{}), person("alice", false, strings.Repeat("A", 40))
				},
				Body: func(o e2ee.Opened) string { return o.Reveal() },
			})
		})
	}
}

// pair returns the bot's scheme and a person's, and how each sees the other.
func pair(t testing.TB, deps Deps) (bot, alice *Scheme, toAlice, toBot e2ee.Peer) {
	b, a := ourKey(t, "bot"), ourKey(t, "alice")
	keys, _ := ring(t, b.Public, a.Public)
	return New(Config{Account: "acc", Secret: b.secret, Keyring: keys}, deps),
		New(Config{Secret: a.secret, Keyring: keys}, Deps{}),
		person("alice", false, a.Fingerprint), person("bot", false, b.Fingerprint)
}

func TestPayload(t *testing.T) {
	bot, _, p, _ := pair(t, Deps{})
	out, err := bot.Seal(context.Background(), p, plain("hello"))
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Children) != 1 || !out.Children[0].Is("jabber:x:encrypted", "x") || out.EME != "jabber:x:encrypted" || !out.Store || out.NoCopy {
		t.Errorf("payload %+v", out)
	}
	if out.Body != "This message is encrypted (XEP-0027)." {
		t.Errorf("fallback body %q", out.Body)
	}
	// What all five clients read: base64 at 64 columns, a checksum line, no more.
	lines := strings.Split(out.Children[0].Text, "\n")
	for i, l := range lines {
		switch {
		case i == len(lines)-1 && (len(l) != 5 || l[0] != '='):
			t.Errorf("last line %q is no checksum", l)
		case i < len(lines)-2 && len(l) != 64, len(l) > 64, l == "", strings.ContainsAny(l, ": -\r"):
			t.Errorf("line %d: %q", i, l)
		}
	}
}

// TestSealedToOneSubkey looks at the packets: one recipient, no key of our own,
// version 3 and 1 of the packets, nothing else outside.
func TestSealedToOneSubkey(t *testing.T) {
	bot, alice, p, _ := pair(t, Deps{})
	data, err := decodeArmor(nil, sealed(t, bot, p, "hello"))
	if err != nil {
		t.Fatal(err)
	}
	first, rest, err := nextPacket(data)
	if err != nil || first.tag != tagSessionKey || first.body[0] != 3 {
		t.Fatalf("first packet %d, %v", first.tag, err)
	}
	if hidden, ours := forUs(first.body, alice.Secret()); hidden || !ours {
		t.Error("not sealed to the person's subkey")
	}
	second, rest, err := nextPacket(rest)
	if err != nil || second.tag != tagProtected || second.body[0] != 1 || len(rest) != 0 {
		t.Errorf("second packet %d, %d bytes after it, %v", second.tag, len(rest), err)
	}
}

func TestRungs(t *testing.T) {
	bot, alice, p, toBot := pair(t, Deps{})
	unpinned := p
	unpinned.Person = &policy.Person{Name: "alice"}
	msg := sealed(t, alice, toBot, "signed")
	alice.unsigned = true
	bare := sealed(t, alice, toBot, "bare")
	for _, tt := range []struct {
		name, armor string
		peer        e2ee.Peer
		rung        policy.Rung
	}{
		{"signed by the pinned key", msg, p, policy.Verified},
		{"unsigned is sealed whatever is pinned", bare, p, policy.Sealed},
		{"signed, nothing pinned to check it with", msg, unpinned, policy.Sealed},
		{"unsigned, nothing pinned", bare, e2ee.Peer{Bare: "x@y"}, policy.Sealed},
	} {
		bot.replay = e2ee.NewReplayCache(0, 0)
		got, err := open(bot, tt.peer, tt.armor, "1")
		if err != nil || got.Rung != tt.rung || (got.Fingerprint != "") != (tt.rung == policy.Verified) || got.Signed.IsZero() == (tt.rung == policy.Verified) {
			t.Errorf("%s: rung %v, key %q, %v", tt.name, got.Rung, got.Fingerprint, err)
		}
	}
}

func TestWrongRecipient(t *testing.T) {
	bot, alice, p, _ := pair(t, Deps{})
	msg := sealed(t, bot, p, "for alice")
	if _, err := open(bot, p, msg, "1"); !errors.Is(err, e2ee.ErrWrongKey) {
		t.Errorf("our own message to alice: %v", err)
	}
	// A signed message re-sealed to another recipient is not for them.
	carol := ourKey(t, "carol")
	keys, _ := ring(t, carol.Public, ourKey(t, "bot").Public, alice.Secret().mustPublic(t))
	resealed := reseal(t, alice, msg, carol, keys)
	bob := New(Config{Secret: carol.secret, Keyring: keys}, Deps{})
	_, err := open(bob, person("bot", false, ourKey(t, "bot").Fingerprint), resealed, "1")
	if !errors.Is(err, e2ee.ErrSignature) {
		t.Errorf("a signature for somebody else: %v", err)
	}
}

func (nopCloser) Close() error { return nil }

func TestNothingIsLogged(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	bot, alice, p, toBot := pair(t, Deps{Log: log})
	got, err := open(bot, p, sealed(t, alice, toBot, "canary-text"), "1")
	if err != nil {
		t.Fatal(err)
	}
	log.Info("opened", "got", got, "secret", bot.Secret(), "scheme", fmt.Sprintf("%v %+v", got, bot.Secret()))
	if strings.Contains(b.String(), "canary-text") || strings.Contains(b.String(), "entity") {
		t.Errorf("log: %s", b.String())
	}
}
