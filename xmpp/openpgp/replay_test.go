package openpgp

import (
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
)

// TestReplayOfAlteredBytes changes bytes that decryption does not look at: the
// hash of the ciphertext is new, the session key is not.
func TestReplayOfAlteredBytes(t *testing.T) {
	s, alice, p, toBot := pair(t, Deps{})
	msg := sealed(t, alice, toBot, "once")
	if _, err := open(s, p, msg, "id-1"); err != nil {
		t.Fatal(err)
	}
	raw, _ := decodeArmor(nil, msg)
	first, rest, _ := nextPacket(raw)
	// The same packets behind a marker, with other headers, behind a foreign key.
	foreign := append([]byte{0xc1, byte(len(first.body))}, first.body...)
	copy(foreign[3:11], "\x01\x02\x03\x04\x05\x06\x07\x08")
	for name, alt := range map[string][]byte{
		"marker":       append([]byte{0xca, 3, 'P', 'G', 'P'}, raw...),
		"old header":   append(append([]byte{0x84, byte(len(first.body))}, first.body...), rest...),
		"foreign key":  append(foreign, raw...),
		"hidden key":   append(append(append([]byte{0xc1, byte(len(first.body)), 3}, make([]byte, 8)...), first.body[9:]...), rest...),
		"the very one": raw,
	} {
		text := base64.StdEncoding.EncodeToString(alt)
		if _, err := open(s, p, text, "id-2"); !errors.Is(err, e2ee.ErrReplay) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := open(s, person("mallory", false), text, "id-1"); !errors.Is(err, e2ee.ErrReplay) {
			t.Errorf("%s, from somebody else: %v", name, err)
		}
		if got, err := open(s, p, text, "id-1"); err != nil || !got.Redelivered {
			t.Errorf("%s, redelivered: %v, %v", name, got.Redelivered, err)
		}
	}
}

func TestSignatureAge(t *testing.T) {
	now := time.Now()
	bot, alice, p, toBot := pair(t, Deps{Now: func() time.Time { return now }})
	alice.codec.now = func() time.Time { return time.Now().Add(30 * time.Second) } // a clock a little ahead
	msg := sealed(t, alice, toBot, "old")
	if _, err := open(bot, p, msg, "1"); err != nil {
		t.Errorf("fresh: %v", err)
	}
	bot.replay = e2ee.NewReplayCache(0, 0)
	now = now.Add(29 * 24 * time.Hour)
	if _, err := open(bot, p, msg, "2"); err != nil {
		t.Errorf("29 days old, as from offline storage: %v", err)
	}
	bot.replay = e2ee.NewReplayCache(0, 0)
	now = now.Add(2 * 24 * time.Hour)
	if _, err := open(bot, p, msg, "3"); !errors.Is(err, e2ee.ErrReplay) {
		t.Errorf("older than replays are remembered: %v", err)
	}
}
