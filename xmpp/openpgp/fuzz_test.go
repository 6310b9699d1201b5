package openpgp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

// FuzzPresence hands altered presence signatures to VerifyPresence: it must not
// panic, and nothing but the signature that was made may count.
func FuzzPresence(f *testing.F) {
	bot, alice, _, toBot := pair(f, Deps{})
	made, err := bot.SignPresence("here")
	if err != nil {
		f.Fatal(err)
	}
	raw, err := decodeArmor(nil, made.Text)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, "here")
	f.Add(raw, "")
	f.Add(append(bytes.Clone(raw), raw...), "here")
	f.Add(lit("x", 0), "here")
	f.Fuzz(func(t *testing.T, in []byte, status string) {
		x := element.New(NSSigned, "x").SetText(base64.StdEncoding.EncodeToString(in))
		err := alice.VerifyPresence(toBot, status, x)
		switch {
		case err == nil && status != "here":
			t.Fatalf("a signature over %q", status)
		case err != nil && strings.Contains(err.Error(), "panicked"):
			t.Fatal(err)
		case err != nil && !errors.Is(err, e2ee.ErrSignature) && !errors.Is(err, e2ee.ErrMalformed) &&
			!errors.Is(err, e2ee.ErrKeyChanged) && !errors.Is(err, e2ee.ErrTooLarge) && !errors.Is(err, e2ee.ErrNoKey):
			t.Fatalf("an error that nobody decides by: %v", err)
		}
	})
}

// FuzzKeys reads altered key files, as `drawbridge keys import` and the keyring
// do: what is read can be described, and what is imported holds no secret part.
func FuzzKeys(f *testing.F) {
	k := ourKey(f, "bot")
	f.Add(k.Public)
	f.Add(k.Secret)
	f.Add(append(bytes.Clone(k.Public), k.Public...))
	for _, armored := range [][]byte{k.Public, k.Secret} {
		_, body, _ := strings.Cut(string(armored), "\n\n")
		body, _, _ = strings.Cut(body, "\n=")
		if bin, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", "")); err == nil {
			f.Add(bin)
		}
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, in []byte) {
		infos, err := Describe(in, now)
		if err != nil {
			return
		}
		for _, i := range infos {
			if len(i.Fingerprint) != 40 && len(i.Fingerprint) != 64 {
				t.Fatalf("fingerprint %q", i.Fingerprint)
			}
		}
		if s, err := ParseSecret(in, nil, now); err == nil && s.Fingerprint() == "" {
			t.Fatal("a secret key without a fingerprint")
		}
	})
}
