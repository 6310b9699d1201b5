package otr

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"drawbridge/xmpp/otr/engine"
)

// TestKeyFiles: files as libotr 4.1.1 writes them, for profanity and for Pidgin, with
// the fingerprints it shows.
func TestKeyFiles(t *testing.T) {
	for _, tt := range []struct{ file, name, fpr string }{
		{"testdata/profanity-keys.txt", "alice@localhost", "EBE6468C0BE479AD413A5EDA8E0EAB8183C99942"},
		{"testdata/pidgin.private_key", "bob@localhost/home", "B3D3F4DA90D7C24D5E275A3D7F118EB9064946B2"},
	} {
		data, err := os.ReadFile(tt.file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseKeys(data)
		if err != nil || len(got) != 1 || got[0].Name != tt.name || got[0].Key.Fingerprint() != tt.fpr {
			t.Errorf("%s: %+v, %v", tt.file, got, err)
		}
	}
}

func TestKeysRoundTrip(t *testing.T) {
	in := []AccountKey{
		{Name: "bridge@localhost", Protocol: "prpl-jabber", Key: keys()[0]},
		{Name: `odd "name" \ (x)`, Protocol: "xmpp", Key: keys()[1]},
	}
	out, err := ParseKeys(FormatKeys(in))
	if err != nil || len(out) != 2 {
		t.Fatal(err)
	}
	for i := range in {
		if out[i].Name != in[i].Name || out[i].Protocol != in[i].Protocol || out[i].Key.Fingerprint() != in[i].Key.Fingerprint() {
			t.Errorf("%+v came back as %+v", in[i], out[i])
		}
	}
	f := []KnownKey{{"alice@x", "bot@x", "prpl-jabber", keys()[1].Fingerprint(), "verified"}, {"bob@x", "bot@x", "xmpp", keys()[0].Fingerprint(), ""}}
	back, err := ParseFingerprints(FormatFingerprints(f))
	if err != nil || fmt.Sprint(back) != fmt.Sprint(f) {
		t.Errorf("%v, %v", back, err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	good := string(FormatKeys([]AccountKey{{Name: "a", Key: keys()[0]}}))
	for _, in := range []string{
		"", "(", "()", "privkeys", "(privkeys)", "(privkeys (account (name a)))", good[:len(good)/2], good + "(", strings.Repeat("(", 100),
		`(privkeys (account (name "a`, "(privkeys (account (name #0#)))", "(privkeys (account (private-key (dsa (p #00#)))))",
	} {
		if got, err := ParseKeys([]byte(in)); !errors.Is(err, ErrKeyFile) && !errors.Is(err, engine.ErrKey) {
			t.Errorf("%.30q: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"a\tb", "a\tb\tc\tnot hex\t", "a\tb\tc\t\t"} {
		if _, err := ParseFingerprints([]byte(in)); !errors.Is(err, ErrKeyFile) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func FuzzParseKeys(f *testing.F) {
	f.Add(FormatKeys([]AccountKey{{Name: "a", Key: keys()[0]}}))
	f.Add([]byte(`(privkeys (account (name "x")(private-key (dsa (p #01#)))))`))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := ParseKeys(in)
		if err != nil {
			return
		}
		again, err := ParseKeys(FormatKeys(got))
		if err != nil || len(again) != len(got) || !bytes.Equal(FormatKeys(again), FormatKeys(got)) {
			t.Errorf("no round trip: %v", err)
		}
	})
}
