package openpgp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drawbridge/xmpp/e2ee"
)

// Each reader's gpg opens a file of many packets, and gpg is content with it.
func TestGPGOpensAFileToMany(t *testing.T) {
	alice, bob := key(t, "ed25519"), key(t, "rsa2048")
	k, _ := ring(t, alice.public, bob.public)
	text := bytes.Repeat([]byte("what was said, line by line\n"), 20_000)
	var out bytes.Buffer
	w, err := k.EncryptFile(&out, []Reader{{Person: "alice", Fingerprint: alice.fpr}, {Fingerprint: bob.fpr}}, "dev.html", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for p := text; len(p) > 0; p = p[min(len(p), 7_001):] {
		if _, err := w.Write(p[:min(len(p), 7_001)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(out.Bytes(), []byte("said")) || out.Len() > len(text)/10 {
		t.Errorf("%d bytes of %d: not encrypted, or not compressed", out.Len(), len(text))
	}
	for _, who := range []*testKey{alice, bob} {
		// One at a time: gpg would take whichever key it has.
		h := newGPG(t)
		h.run(t, who.secret, "--passphrase", testPass, "--import")
		got, status, err := h.try(out.Bytes(), "--passphrase", testPass, "--decrypt")
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes, %v\n%s", who.kind, len(got), err, status)
		}
		for _, want := range []string{"DECRYPTION_OKAY", "GOODMDC", "dev.html"} {
			if !strings.Contains(status, want) {
				t.Errorf("%s: gpg does not say %s:\n%s", who.kind, want, status)
			}
		}
	}
}

// A key that nobody should use is refused by name, and nothing is written.
func TestFileRefusesKeys(t *testing.T) {
	good, weak, sign := key(t, "ed25519"), key(t, "rsa1024"), key(t, "signonly")
	expired, err := Generate("old", "old@example.org", nil, time.Hour, time.Now().Add(-2*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	h := newGPG(t)
	gone := h.generate(t, "ed25519", "gone", "0")
	rev, err := os.ReadFile(filepath.Join(h.dir, "openpgp-revocs.d", gone.fpr+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	h.run(t, bytes.Replace(rev, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), "--import")
	k, _ := ring(t, good.public, weak.public, sign.public, expired.Public, h.run(t, nil, "--export", gone.fpr))
	for _, tt := range []struct {
		name string
		r    Reader
		want error
	}{
		{"expired", Reader{Fingerprint: expired.Fingerprint}, e2ee.ErrKeyExpired},
		{"revoked", Reader{Fingerprint: gone.fpr}, e2ee.ErrKeyRevoked},
		{"signs only", Reader{Fingerprint: sign.fpr}, ErrNoEncryptionKey},
		{"weak", Reader{Fingerprint: weak.fpr}, e2ee.ErrKeyWeak},
		{"unknown", Reader{Fingerprint: strings.Repeat("A", 40)}, e2ee.ErrNoKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			_, err := k.EncryptFile(&out, []Reader{{Fingerprint: good.fpr}, tt.r}, "x", time.Now())
			var ke *KeyError
			if !errors.Is(err, tt.want) || !errors.As(err, &ke) || ke.Fingerprint != tt.r.Fingerprint || out.Len() > 0 {
				t.Errorf("err = %v, %d bytes written; want %v", err, out.Len(), tt.want)
			}
		})
	}
	if _, err := k.EncryptFile(io.Discard, nil, "x", time.Now()); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("to nobody: %v", err)
	}
	if _, err := k.EncryptFile(io.Discard, []Reader{{Fingerprint: weak.fpr, AllowWeak: true}}, "x", time.Now()); err != nil {
		t.Errorf("a weak key that is allowed: %v", err)
	}
}
