package openpgp

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// TestLibraryReadsUs decrypts with go-crypto's own reader, which checks the order
// of packets strictly, and lets it write to us.
func TestLibraryReadsUs(t *testing.T) {
	bot, alice, p, _ := pair(t, Deps{})
	ents := pgp.EntityList{alice.Secret().own.entity, bot.Secret().own.entity}
	raw, _ := decodeArmor(nil, sealed(t, bot, p, greeting))
	md, err := pgp.ReadMessage(bytes.NewReader(raw), ents, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(md.UnverifiedBody)
	if err != nil || string(text) != greeting || md.SignatureError != nil || !md.IsSigned {
		t.Errorf("read %q, %v, signature %v", text, err, md.SignatureError)
	}
	for i, cfg := range []*packet.Config{
		nil,
		{DefaultCompressionAlgo: packet.CompressionZLIB},
		{DefaultHash: crypto.SHA512},
		{DefaultCipher: packet.CipherAES256},
	} {
		var b bytes.Buffer
		w, err := pgp.Encrypt(&b, []*pgp.Entity{bot.Secret().own.entity}, nil, []*pgp.Entity{alice.Secret().own.entity}, nil, cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(w, greeting)
		_ = w.Close()
		got, err := open(bot, p, string(appendArmor(nil, b.Bytes())), fmt.Sprint(i))
		if err != nil || got.Reveal() != greeting || got.Rung != policy.Verified {
			t.Errorf("config %d: %q, %v, %v", i, got.Reveal(), got.Rung, err)
		}
	}
}

// TestNewerPackets opens what newer software may send: SEIPD version 2 with a
// version 6 session key packet.
func TestNewerPackets(t *testing.T) {
	cfg := &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, AEADConfig: &packet.AEADConfig{DefaultMode: packet.AEADModeOCB},
		Time: func() time.Time { return time.Now().Add(-time.Minute) },
	}
	e, err := pgp.NewEntity("bot", "", "", cfg)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := armored(pgp.PrivateKeyType, func(b *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(b, nil) })
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecret(raw, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	keys, _ := ring(t, ourKey(t, "bot").Public)
	s := New(Config{Secret: secret, Keyring: keys}, Deps{})
	var b bytes.Buffer
	w, err := pgp.Encrypt(&b, []*pgp.Entity{e}, nil, nil, nil, cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, greeting)
	_ = w.Close()
	if first, rest, _ := nextPacket(b.Bytes()); first.body[0] != 6 || rest[0] != 0xc0|tagProtected {
		t.Fatalf("the library wrote version %d", first.body[0])
	}
	got, err := open(s, person("alice", false), string(appendArmor(nil, b.Bytes())), "1")
	if err != nil || got.Reveal() != greeting {
		t.Errorf("opened %q, %v", got.Reveal(), err)
	}
	data := b.Bytes()
	data[len(data)-1] ^= 1
	if got, err := open(s, person("alice", false), string(appendArmor(nil, data)), "2"); !errors.Is(err, e2ee.ErrMalformed) {
		t.Errorf("altered: %q, %v", got.Reveal(), err)
	}
}
