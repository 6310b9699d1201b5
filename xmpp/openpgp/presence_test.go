package openpgp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

func TestPresenceSignature(t *testing.T) {
	bot, alice, p, toBot := pair(t, Deps{})
	x, err := bot.SignPresence("here & there")
	if err != nil {
		t.Fatal(err)
	}
	again, _ := bot.SignPresence("here & there")
	if again.Text != x.Text || again == x {
		t.Error("a status is signed once, and each presence has its own element")
	}
	for _, tt := range []struct {
		name, status string
		peer         e2ee.Peer
		x            *element.Element
		want         error
	}{
		{"good", "here & there", toBot, x, nil},
		{"another status", "here &amp; there", toBot, x, e2ee.ErrSignature},
		{"trimmed", "here & there ", toBot, x, e2ee.ErrSignature},
		{"another person's key", "here & there", p, x, e2ee.ErrKeyChanged},
		{"nothing pinned", "here & there", person("x", false), x, e2ee.ErrNoKey},
		{"unsigned", "here & there", toBot, nil, e2ee.ErrSignature},
		{"rubbish", "", toBot, element.New(NSSigned, "x").SetText("rubbish!"), e2ee.ErrMalformed},
		{"empty", "", toBot, element.New(NSSigned, "x"), e2ee.ErrMalformed},
		{"huge", "", toBot, element.New(NSSigned, "x").SetText(strings.Repeat("A", 1<<20)), e2ee.ErrTooLarge},
		{"a literal", "", toBot, element.New(NSSigned, "x").SetText(base64.StdEncoding.EncodeToString(lit("", 0))), e2ee.ErrMalformed},
	} {
		if err := alice.VerifyPresence(tt.peer, tt.status, tt.x); !errors.Is(err, tt.want) || tt.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	// A key of another kind of signature will not do: a certification, say.
	other := ourKey(t, "other")
	bot.SetSecret(other.secret)
	fresh, err := bot.SignPresence("here & there")
	if err != nil || fresh.Text == x.Text {
		t.Errorf("after the key changed the presence is signed anew: %v", err)
	}
	for i := range 3 * presenceCache {
		if _, err := bot.SignPresence(fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(bot.codec.own.Load().presence); n > presenceCache {
		t.Errorf("%d signatures kept", n)
	}
}

// TestSignatureOfAnotherKind makes sure that a signature made for something else
// does not pass for one over a text.
func TestSignatureOfAnotherKind(t *testing.T) {
	_, alice, _, toBot := pair(t, Deps{})
	key, err := ourKey(t, "bot").secret.signingKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []packet.SignatureType{packet.SigTypeGenericCert, packet.SigTypeDirectSignature, packet.SigTypeKeyRevocation} {
		sig := newSignature(key, time.Now())
		sig.SigType = typ
		var b bytes.Buffer
		if err := sign(&b, sig, key, []byte("status")); err != nil {
			t.Fatal(err)
		}
		x := element.New(NSSigned, "x").SetText(base64.StdEncoding.EncodeToString(b.Bytes()))
		if err := alice.VerifyPresence(toBot, "status", x); !errors.Is(err, e2ee.ErrSignature) {
			t.Errorf("type %#x: %v", typ, err)
		}
	}
}
