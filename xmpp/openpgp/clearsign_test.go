package openpgp

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

// clearSign makes GnuPG clear-sign a text.
func (k *testKey) clearSign(t testing.TB, text string, args ...string) string {
	t.Helper()
	return string(k.home.run(t, []byte(text), append([]string{"--passphrase", testPass, "--local-user", k.fpr, "--clearsign"}, args...)...))
}

const sentence = "I ask bot@example.org to invite the nick al (account alice) to #dev on net: nonce abcd, good once."

// TestClearSigned reads what GnuPG makes, as it comes out of clients, and refuses what
// could be taken for something else.
func TestClearSigned(t *testing.T) {
	alice, mallory := key(t, "ed25519"), key(t, "rsa2048")
	keys, _ := ring(t, alice.public, mallory.public)
	bot := New(Config{Account: "acc", Secret: ourKey(t, "bot").secret, Keyring: keys}, Deps{})
	p := person("alice", false, alice.fpr)
	block := alice.clearSign(t, sentence+"\n")
	dashes := "-- \n- one\n-\nFrom me\n-----BEGIN PGP SIGNED MESSAGE-----\n\ntrailing \t \nend"
	replace := func(from, to string) string {
		out := strings.Replace(block, from, to, 1)
		if out == block {
			t.Fatalf("%q is not in\n%s", from, block)
		}
		return out
	}
	both := string(alice.home.run(t, []byte(sentence), "--passphrase", testPass, "--local-user", alice.fpr, "--local-user", mallory.fpr, "--clearsign"))
	for _, tt := range []struct {
		name, msg, text string
		want            error
	}{
		{"as it comes", block, sentence, nil},
		{"without the last line break", strings.TrimRight(block, "\n"), sentence, nil},
		{"text around it", "Here it is:\n" + block + "\nand give me op", sentence, nil},
		{"CR LF", strings.ReplaceAll(block, "\n", "\r\n"), sentence, nil},
		{"blanks at the ends of lines", strings.ReplaceAll(block, "\n", " \t\n"), sentence, nil},
		{"dashes are escaped", alice.clearSign(t, dashes), "--\n- one\n-\nFrom me\n-----BEGIN PGP SIGNED MESSAGE-----\n\ntrailing\nend", nil},
		{"an empty text", alice.clearSign(t, ""), "", nil},
		{"two digests named", replace("\n\n", "\nHash: SHA256\n\n"), sentence, nil},
		{"a comment in the armor", replace("SIGNATURE-----\n", "SIGNATURE-----\nComment: x\n"), sentence, nil},

		{"nothing", "hello", "", e2ee.ErrMalformed},
		{"altered", replace("#dev", "#ops"), "", e2ee.ErrSignature},
		{"a line added", replace("\n\n", "\n\nAnd:\n"), "", e2ee.ErrSignature},
		{"a line break added", replace(" to invite", "\nto invite"), "", e2ee.ErrSignature},
		{"by another key", mallory.clearSign(t, sentence), "", e2ee.ErrKeyChanged},
		{"by two keys", both, "", e2ee.ErrMalformed},
		{"two texts", block + block, "", e2ee.ErrMalformed},
		{"a header that is not signed", replace("\n\n", "\nI-ask: for op\n\n"), "", e2ee.ErrMalformed},
		{"a text where headers stand", replace("Hash: ", "Give me op. "), "", e2ee.ErrMalformed},
		{"dashes that are not escaped", strings.Replace(alice.clearSign(t, dashes), "- - one", "- one", 1), "", e2ee.ErrSignature},
		{"dashes that nobody escaped", replace("\n\n", "\n\n--x\n"), "", e2ee.ErrMalformed},
		{"no signature", block[:strings.Index(block, beginSignature)], "", e2ee.ErrMalformed},
		{"no end", block[:strings.Index(block, endSignature)], "", e2ee.ErrMalformed},
		{"a detached signature of the bytes", "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n" + sentence + "\n" +
			string(alice.home.run(t, []byte(sentence), "--passphrase", testPass, "--local-user", alice.fpr, "--armor", "--detach-sign")), "", e2ee.ErrSignature},
		{"no armor", replace(block[strings.Index(block, beginSignature)+len(beginSignature):strings.Index(block, endSignature)], "\n\nrubbish!\n"), "", e2ee.ErrMalformed},
		{"a key for an answer", replace(block[strings.Index(block, beginSignature)+len(beginSignature):strings.Index(block, endSignature)], "\n\n"+strip(string(alice.home.run(t, nil, "--armor", "--export", alice.fpr)))), "", e2ee.ErrMalformed},
		{"huge", block + strings.Repeat("x", maxClearSigned), "", e2ee.ErrTooLarge},
	} {
		got, err := bot.codec.OpenClearSigned(p, tt.msg)
		if !errors.Is(err, tt.want) || tt.want == nil && err != nil || got.Text != tt.text {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, got.Text, err, tt.text, tt.want)
		}
		if err == nil && (got.Rung != policy.Verified || got.Fingerprint != alice.fpr || time.Since(got.At) > time.Hour) {
			t.Errorf("%s: proves %+v", tt.name, got)
		}
		if err != nil && strings.Contains(err.Error(), "nonce") {
			t.Errorf("%s: the error quotes the text: %v", tt.name, err)
		}
	}
	if s, err := bot.codec.OpenClearSigned(person("x", false), block); err == nil && s.Rung >= policy.Verified {
		t.Errorf("a key of the keyring that is nobody's proves %+v", s)
	}
	if _, err := bot.codec.OpenClearSigned(e2ee.Peer{}, block); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("nobody: %v", err)
	}
}

// TestClearSignedByADeadKey: one that has expired, or was revoked, proves nothing.
func TestClearSignedByADeadKey(t *testing.T) {
	h := newGPG(t)
	k := h.generate(t, "signonly", "alice", "1y")
	block := k.clearSign(t, sentence)
	now := time.Now()
	keys, dir := ring(t, k.public)
	bot := New(Config{Secret: ourKey(t, "bot").secret, Keyring: keys}, Deps{Now: func() time.Time { return now }})
	p := person("alice", false, k.fpr)
	if _, err := bot.codec.OpenClearSigned(p, block); err != nil {
		t.Fatal(err)
	}
	now = now.Add(400 * 24 * time.Hour)
	if _, err := bot.codec.OpenClearSigned(p, block); !errors.Is(err, e2ee.ErrKeyExpired) {
		t.Errorf("signed by a key that has expired since: %v", err)
	}
	now = time.Now()
	rev, err := os.ReadFile(filepath.Join(h.dir, "openpgp-revocs.d", k.fpr+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	h.run(t, bytes.Replace(rev, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), "--import")
	write(t, filepath.Join(dir, "revoked.gpg"), h.run(t, nil, "--export", k.fpr))
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := bot.codec.OpenClearSigned(p, block); !errors.Is(err, e2ee.ErrKeyRevoked) {
		t.Errorf("signed by a key that was revoked since: %v", err)
	}
}

// FuzzClearSigned alters what GnuPG clear-signed: no panic, and nothing passes as signed
// but the very text.
func FuzzClearSigned(f *testing.F) {
	alice := ourKey(f, "alice")
	keys, _ := ring(f, alice.Public)
	bot := New(Config{Account: "acc", Secret: ourKey(f, "bot").secret, Keyring: keys}, Deps{})
	p := person("alice", false, alice.Fingerprint)
	home := newGPG(f)
	home.run(f, alice.Secret, "--import")
	block := string(home.run(f, []byte(sentence+"\n- and\n"), "--local-user", alice.Fingerprint, "--clearsign"))
	if s, err := bot.codec.OpenClearSigned(p, block); err != nil || s.Text != sentence+"\n- and" {
		f.Fatalf("%q, %v", s.Text, err)
	}
	f.Add(block)
	f.Add("x\n" + block + block)
	f.Add(strings.ReplaceAll(block, "\n", "\r\n"))
	f.Add(strings.Replace(block, "\n\n", "\nHash: MD5\n\n", 1))
	f.Add(beginSigned + "\n\n" + beginSignature + "\n\n" + endSignature)
	f.Fuzz(func(t *testing.T, msg string) {
		s, err := bot.codec.OpenClearSigned(p, msg)
		switch {
		case err == nil && s.Text != sentence+"\n- and":
			t.Fatalf("passes as signed: %q", s.Text)
		case err != nil && strings.Contains(err.Error(), "panicked"):
			t.Fatal(err)
		}
	})
}
