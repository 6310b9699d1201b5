package openpgp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/element"
)

const greeting = "grüße ☃ — *fett*\nzweite Zeile & <b>"

// TestGPGMatrix talks to GnuPG with each type of key at the other end, both ways:
// messages with and without a signature, and signed presence.
func TestGPGMatrix(t *testing.T) {
	bot := ourKey(t, "bot")
	for _, kind := range []string{"rsa2048", "rsa3072", "rsa4096", "rsaone", "ed25519", "nistp256", "nistp384", "nistp521", "brainpool", "rsa1024", "dsa1024"} {
		weak := kind == "rsa1024" || kind == "dsa1024"
		t.Run(kind, func(t *testing.T) {
			if testing.Short() && kind == "rsa4096" {
				t.Skip("slow")
			}
			k := key(t, kind)
			k.home.run(t, bot.Public, "--import")
			keys, _ := ring(t, k.public)
			p := person("alice", weak, k.fpr)
			exchange(t, New(Config{Secret: bot.secret, Keyring: keys}, Deps{}), p, k, bot.Fingerprint)
			if weak {
				weakIsLogged(t, bot.secret, keys, p)
				refusedUnlessAllowed(t, New(Config{Secret: bot.secret, Keyring: keys}, Deps{}), person("alice", false, k.fpr), k, bot.Fingerprint)
			}
		})
	}
}

// TestGPGBotKeys gives the bot each type of key that gpg makes, protected by a
// passphrase, with GnuPG and an ed25519 key at the other end.
func TestGPGBotKeys(t *testing.T) {
	alice := key(t, "ed25519")
	for _, kind := range []string{"rsa2048", "rsa3072", "rsaone", "ed25519", "nistp256", "nistp384", "nistp521", "brainpool"} {
		t.Run(kind, func(t *testing.T) {
			k := key(t, kind)
			secret, err := ParseSecret(k.secret, []byte(testPass), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if secret.Fingerprint() != k.fpr {
				t.Errorf("fingerprint %s, gpg says %s", secret.Fingerprint(), k.fpr)
			}
			keys, _ := ring(t, alice.public)
			exchange(t, New(Config{Secret: secret, Keyring: keys}, Deps{}), person("alice", false, alice.fpr), alice, k.fpr)
		})
	}
}

// exchange sends everything both ways between s, with the bot's key, and k in gpg.
func exchange(t *testing.T, s *Scheme, p e2ee.Peer, k *testKey, bot string) {
	t.Helper()
	if rung, err := s.Reach(p); err != nil || rung != policy.Verified {
		t.Fatalf("Reach = %v, %v", rung, err)
	}
	text, status := k.home.decrypt(t, sealed(t, s, p, greeting))
	if text != greeting {
		t.Errorf("gpg reads %q", text)
	}
	if !strings.Contains(status, "GOODSIG") || !validSig(status, bot) {
		t.Errorf("gpg sees no good signature:\n%s", status)
	}
	s.unsigned = true
	if text, status = k.home.decrypt(t, sealed(t, s, p, greeting)); text != greeting || strings.Contains(status, "SIG") {
		t.Errorf("unsigned: gpg reads %q\n%s", text, status)
	}
	if !strings.Contains(status, "GOODMDC") {
		t.Errorf("gpg sees no MDC:\n%s", status)
	}
	for i, tt := range []struct {
		args []string
		rung policy.Rung
	}{
		{[]string{"-e", "-r", bot}, policy.Sealed},
		{[]string{"-e", "-r", bot, "-r", k.fpr}, policy.Sealed},                            // profanity, Gajim
		{[]string{"-e", "-r", k.fpr, "-r", bot, "--compress-algo", "none"}, policy.Sealed}, // Dino's order
		{[]string{"-e", "-R", bot}, policy.Sealed},                                         // hidden recipient
		{[]string{"-e", "-r", bot, "--compress-algo", "zip"}, policy.Sealed},
		{[]string{"-e", "-r", bot, "--compress-algo", "bzip2"}, policy.Sealed},
		{[]string{"-e", "-r", bot, "--cipher-algo", "AES"}, policy.Sealed},
		{[]string{"-e", "-r", bot, "--cipher-algo", "3DES"}, policy.Sealed},
		{[]string{"-s", "-e", "-u", k.fpr, "-r", bot}, policy.Verified},
		{[]string{"-s", "-e", "--textmode", "-u", k.fpr, "-r", bot}, policy.Verified},
		{[]string{"-s", "-e", "-u", k.fpr, "-r", bot, "--compress-algo", "none"}, policy.Verified},
	} {
		got, err := open(s, p, k.home.encrypt(t, greeting, tt.args...), fmt.Sprint("m", i))
		if err != nil {
			t.Errorf("gpg %v: %v", tt.args, err)
			continue
		}
		if got.Reveal() != greeting || got.Rung != tt.rung {
			t.Errorf("gpg %v: opened %q, rung %v", tt.args, got.Reveal(), got.Rung)
		}
		if want := map[bool]string{true: k.fpr}[tt.rung == policy.Verified]; got.Fingerprint != want {
			t.Errorf("gpg %v: signed by %q, want %q", tt.args, got.Fingerprint, want)
		}
	}
	presences(t, s, p, k)
}

// validSig reports whether gpg saw a signature by the key with this fingerprint.
func validSig(status, fpr string) bool {
	for line := range strings.Lines(status) {
		if strings.Contains(line, " VALIDSIG ") && strings.Contains(line, fpr) {
			return true
		}
	}
	return false
}

// presences signs and verifies statuses both ways.
func presences(t *testing.T, s *Scheme, p e2ee.Peer, k *testKey) {
	t.Helper()
	for _, status := range []string{"", "here & there <é>", " two  blanks \n"} {
		x, err := s.SignPresence(status)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		write(t, dir+"/sig", full("SIGNATURE", x.Text))
		write(t, dir+"/text", []byte(status))
		k.home.run(t, nil, "--verify", dir+"/sig", dir+"/text")
		for _, args := range [][]string{{"-b"}, {"-b", "--textmode"}} { // types 0x00 and 0x01
			sig := k.home.encrypt(t, status, append(args, "-u", k.fpr)...)
			x := element.New(NSSigned, "x").SetText(sig)
			if err := s.VerifyPresence(p, status, x); err != nil {
				t.Errorf("presence %q signed by gpg %v: %v", status, args, err)
			}
			if err := s.VerifyPresence(p, status+"!", x); !errors.Is(err, e2ee.ErrSignature) {
				t.Errorf("a signature over another status: %v", err)
			}
		}
	}
}

// weakIsLogged: each use of a weak key is allowed, the first is told.
func weakIsLogged(t *testing.T, secret *Secret, keys *Keyring, p e2ee.Peer) {
	t.Helper()
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := New(Config{Account: "acc", Secret: secret, Keyring: keys}, Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		if _, err := s.Reach(p); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "weak key in use"); n != 1 || !strings.Contains(log.String(), p.Person.OpenPGP[0]) {
		t.Errorf("logged %d times: %s", n, &log)
	}
}

func refusedUnlessAllowed(t *testing.T, s *Scheme, p e2ee.Peer, k *testKey, bot string) {
	t.Helper()
	if _, err := s.Reach(p); !errors.Is(err, e2ee.ErrKeyWeak) || !strings.Contains(err.Error(), "allow_weak_key") {
		t.Errorf("Reach with a weak key: %v", err)
	}
	if out, err := s.Seal(t.Context(), p, plain("x")); !errors.Is(err, e2ee.ErrKeyWeak) || len(out.Children) > 0 {
		t.Errorf("Seal to a weak key: %v", err)
	}
	if got, err := open(s, p, k.home.encrypt(t, greeting, "-s", "-e", "-u", k.fpr, "-r", bot), "w"); err == nil {
		t.Errorf("a signature by a weak key: opened, rung %v", got.Rung)
	}
}

func TestSHA1Signatures(t *testing.T) {
	bot, k := ourKey(t, "bot"), key(t, "rsa2048")
	keys, _ := ring(t, k.public)
	k.home.run(t, bot.Public, "--import")
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{})
	msg := k.home.encrypt(t, greeting, "-s", "-e", "--digest-algo", "SHA1", "--weak-digest", "MD5", "-u", k.fpr, "-r", bot.Fingerprint)
	if _, err := open(s, person("alice", false, k.fpr), msg, "1"); !errors.Is(err, e2ee.ErrSignature) || !errors.Is(err, e2ee.ErrKeyWeak) {
		t.Errorf("SHA-1 over a message: %v", err)
	}
	got, err := open(s, person("alice", true, k.fpr), msg, "1")
	if err != nil || got.Rung != policy.Verified {
		t.Errorf("SHA-1 with allow_weak_key: rung %v, %v", got.Rung, err)
	}
}

// TestGPGUsesGeneratedKey imports a key of `drawbridge keys generate`, secret and
// public, into GnuPG and lets it do everything with it.
func TestGPGUsesGeneratedKey(t *testing.T) {
	for _, pass := range []string{"", testPass} {
		g, err := Generate("Dev bridge", "dev@corp.example", []byte(pass), 0, time.Now().Add(-time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		h := newGPG(t)
		h.run(t, g.Secret, "--passphrase", pass, "--import")
		list := string(h.run(t, nil, "--with-colons", "--with-fingerprint", "--list-secret-keys"))
		for _, want := range []string{g.Fingerprint, "xmpp\\x3adev@corp.example", "Dev bridge <xmpp\\x3adev@corp.example>", ":22:", ":18:"} {
			if !strings.Contains(list, want) {
				t.Errorf("gpg does not list %q:\n%s", want, list)
			}
		}
		msg := h.run(t, []byte(greeting), "--passphrase", pass, "-a", "-s", "-e", "-u", g.Fingerprint, "-r", g.Fingerprint)
		if got := string(h.run(t, msg, "--passphrase", pass, "-d")); got != greeting {
			t.Errorf("gpg reads %q", got)
		}
		secret, err := ParseSecret(g.Secret, []byte(pass), time.Now())
		if err != nil {
			t.Fatalf("our own key with passphrase %q: %v", pass, err)
		}
		exp := secret.Expiries(time.Now())
		if len(exp) != 2 || exp[0].Use != "encryption" || exp[0].At.Before(time.Now().Add(700*24*time.Hour)) {
			t.Errorf("expiries %+v", exp)
		}
	}
}

// TestGPGSubkeysOnly loads keys whose primary secret part stays offline.
func TestGPGSubkeysOnly(t *testing.T) {
	h := newGPG(t)
	k := h.generate(t, "ed25519", "offline", "0")
	export := func() []byte {
		return h.run(t, nil, "--passphrase", testPass, "--export-secret-subkeys", k.fpr)
	}
	_, err := ParseSecret(export(), []byte(testPass), time.Now())
	if !errors.Is(err, ErrNoSigningKey) || !strings.Contains(err.Error(), "quick-add-key "+k.fpr) {
		t.Errorf("without a signing subkey: %v", err)
	}
	h.run(t, nil, "--passphrase", testPass, "--quick-add-key", k.fpr, "ed25519", "sign", "0")
	k.export(t)
	secret, err := ParseSecret(export(), []byte(testPass), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	alice := key(t, "ed25519")
	alice.home.run(t, k.public, "--import")
	keys, _ := ring(t, alice.public)
	s := New(Config{Secret: secret, Keyring: keys}, Deps{})
	p := person("alice", false, alice.fpr)
	text, status := alice.home.decrypt(t, sealed(t, s, p, greeting))
	if text != greeting || !strings.Contains(status, "GOODSIG") || !strings.Contains(status, k.fpr) {
		t.Errorf("gpg reads %q\n%s", text, status)
	}
	got, err := open(s, p, alice.home.encrypt(t, greeting, "-e", "-r", k.fpr), "1")
	if err != nil || got.Reveal() != greeting {
		t.Errorf("opened %q, %v", got.Reveal(), err)
	}
}

// TestFullFingerprintInSignatures makes sure that key ids are no proof: a key with
// another fingerprint is not the pinned one.
func TestFullFingerprintInSignatures(t *testing.T) {
	bot, alice, mallory := ourKey(t, "bot"), ourKey(t, "alice"), ourKey(t, "mallory")
	keys, _ := ring(t, bot.Public, alice.Public, mallory.Public)
	botScheme := New(Config{Secret: bot.secret, Keyring: keys}, Deps{})
	from := New(Config{Secret: mallory.secret, Keyring: keys}, Deps{})
	_, err := open(botScheme, person("alice", false, alice.Fingerprint), sealed(t, from, person("bot", false, bot.Fingerprint), "I am alice"), "1")
	if !errors.Is(err, e2ee.ErrKeyChanged) {
		t.Errorf("signed by another key of the keyring: %v", err)
	}
	if raw, _ := hex.DecodeString(mallory.Fingerprint); len(raw) != 20 {
		t.Errorf("fingerprint %q", mallory.Fingerprint)
	}
}
