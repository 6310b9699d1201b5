package openpgp

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/e2ee/e2eetest"
	"drawbridge/xmpp/element"
)

// TestGPGKeyLife takes a key through what happens to keys: its subkey expires, is
// renewed while the bot runs, and the key is revoked.
func TestGPGKeyLife(t *testing.T) {
	h := newGPG(t)
	k := h.generate(t, "ed25519", "alice", "1y")
	bot := ourKey(t, "bot")
	keys, dir := ring(t, k.public)
	now := time.Now()
	s := New(Config{Secret: bot.secret, Keyring: keys, Unsigned: true}, Deps{Now: func() time.Time { return now }})
	p := person("alice", false, k.fpr)
	people := []*policy.Person{p.Person}

	if rung, err := s.Reach(p); rung != policy.Verified || err != nil {
		t.Fatalf("a fresh key: %v, %v", rung, err)
	}
	if e := keys.Expiries(people, now); len(e) != 1 || e[0].At.Sub(now).Round(24*time.Hour) != 365*24*time.Hour {
		t.Errorf("expiries %+v", e)
	}

	now = now.Add(400 * 24 * time.Hour)
	_, err := s.Seal(context.Background(), p, plain("x"))
	if !errors.Is(err, e2ee.ErrKeyExpired) || !strings.Contains(err.Error(), k.fpr) {
		t.Errorf("an expired key: %v", err)
	}
	if e := keys.Expiries(people, now); len(e) != 1 || e[0].At.After(now) {
		t.Errorf("expiries of an expired key %+v", e)
	}

	// She renews key and subkey, at that time, and the file joins the old one.
	faked := []string{"--faked-system-time", fmt.Sprintf("%d!", now.Add(-time.Hour).Unix()), "--passphrase", testPass}
	h.run(t, nil, append(faked, "--quick-set-expire", k.fpr, "2y")...)
	h.run(t, nil, append(faked, "--quick-set-expire", k.fpr, "2y", "*")...)
	for line := range strings.Lines(string(h.run(t, nil, "--with-colons", "--list-keys", k.fpr))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" && f[9] != k.fpr {
			h.run(t, nil, append(faked, "--quick-set-expire", k.fpr, "2y", f[9])...) // "*" skips what has expired
		}
	}
	write(t, filepath.Join(dir, "zz-renewed.asc"), h.run(t, nil, "--armor", "--export", k.fpr))
	if !keys.Changed() {
		t.Error("the renewed key goes unnoticed")
	}
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	if rung, err := s.Reach(p); rung != policy.Verified || err != nil {
		t.Errorf("the renewed key: %v, %v", rung, err)
	}
	if keys.Len() != 1 {
		t.Errorf("%d keys: the copies were not merged", keys.Len())
	}

	// She revokes it. The old copies are still in the folder.
	rev, err := os.ReadFile(filepath.Join(h.dir, "openpgp-revocs.d", k.fpr+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	h.run(t, bytes.Replace(rev, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), "--import")
	write(t, filepath.Join(dir, "aa-revoked.gpg"), h.run(t, nil, "--export", k.fpr))
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reach(p); !errors.Is(err, e2ee.ErrKeyRevoked) || !strings.Contains(err.Error(), "new key") {
		t.Errorf("a revoked key: %v", err)
	}
}

// TestGPGSignedThenRevoked: a signature made before does not count after.
func TestGPGSignedThenRevoked(t *testing.T) {
	h := newGPG(t)
	bot := ourKey(t, "bot")
	k := h.generate(t, "ed25519", "alice", "0")
	h.run(t, bot.Public, "--import")
	msg := h.encrypt(t, greeting, "--passphrase", testPass, "-s", "-e", "-u", k.fpr, "-r", bot.Fingerprint)
	rev, err := os.ReadFile(filepath.Join(h.dir, "openpgp-revocs.d", k.fpr+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	h.run(t, bytes.Replace(rev, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), "--import")
	keys, _ := ring(t, h.run(t, nil, "--export", k.fpr))
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{})
	if _, err := open(s, person("alice", false, k.fpr), msg, "1"); !errors.Is(err, e2ee.ErrSignature) || !errors.Is(err, e2ee.ErrKeyRevoked) {
		t.Errorf("signed by a revoked key: %v", err)
	}
}

func TestGPGNoEncryptionSubkey(t *testing.T) {
	k := key(t, "signonly")
	keys, _ := ring(t, k.public)
	s := New(Config{Secret: ourKey(t, "bot").secret, Keyring: keys}, Deps{})
	if _, err := s.Reach(person("alice", false, k.fpr)); !errors.Is(err, ErrNoEncryptionKey) || !strings.Contains(err.Error(), "quick-add-key "+k.fpr) {
		t.Errorf("a key that only signs: %v", err)
	}
	if _, err := ParseSecret(k.secret, []byte(testPass), time.Now()); !errors.Is(err, ErrNoEncryptionKey) {
		t.Errorf("as the bot's own: %v", err)
	}
}

func TestGPGWeakBotKey(t *testing.T) {
	k := key(t, "rsa1024")
	if _, err := ParseSecret(k.secret, []byte(testPass), time.Now()); !errors.Is(err, e2ee.ErrKeyWeak) {
		t.Errorf("a weak key as the bot's own: %v", err)
	}
}

// TestGPGKeybox reads the pubring.kbx of gpg itself, all types of keys in it.
func TestGPGKeybox(t *testing.T) {
	h := key(t, "ed25519").home
	var want []string
	for kind := range kinds {
		want = append(want, key(t, kind).fpr)
	}
	path := filepath.Join(h.dir, "pubring.kbx")
	keys, err := NewKeyring([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	for _, fpr := range want {
		if keys.snap.Load().certs[fpr] == nil {
			t.Errorf("no key %s among %d", fpr, keys.Len())
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{33, len(data) / 2, len(data) - 1} {
		if _, err := readKBX(data[:n]); err == nil {
			t.Errorf("a keybox cut at %d of %d reads well", n, len(data))
		}
	}
}

// TestGPGDescribe names the types as gpg does.
func TestGPGDescribe(t *testing.T) {
	for kind, want := range map[string]string{
		"rsa3072": "rsa3072/rsa3072", "ed25519": "ed25519/cv25519", "nistp256": "nistp256/nistp256",
		"brainpool": "brainpoolp256r1/brainpoolp256r1", "dsa1024": "dsa1024/elg1024", "rsa1024": "rsa1024/rsa1024", "signonly": "ed25519",
	} {
		k := key(t, kind)
		infos, err := Describe(k.public, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		i := infos[0]
		got := i.Algorithm
		for _, s := range i.Subkeys {
			got += "/" + s.Algorithm
		}
		weak := kind == "dsa1024" || kind == "rsa1024"
		if !strings.EqualFold(got, want) || i.Weak != weak || i.Fingerprint != k.fpr || (i.Unusable != nil) != (kind == "signonly") {
			t.Errorf("%s: %s, %+v", kind, got, i)
		}
	}
}

// TestGPGClientForms writes as each client does (facts: seen on the wire of Psi
// 1.5, Gajim 1.7.3, Dino 0.4.2, profanity 0.13.1 and mcabber 1.1.2): who it
// encrypts to, what gpg is told, how the armor is cut, and what stands around it.
func TestGPGClientForms(t *testing.T) {
	bot, k := ourKey(t, "bot"), key(t, "rsa3072")
	k.home.run(t, bot.Public, "--import")
	keys, _ := ring(t, k.public)
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{})
	p := person("alice", false, k.fpr)
	whole := func(args ...string) string {
		return string(k.home.run(t, []byte(greeting), append([]string{"--armor", "-e"}, args...)...))
	}
	active := element.New("http://jabber.org/protocol/chatstates", "active")
	receipt := element.New("urn:xmpp:receipts", "request")
	eme := element.New("urn:xmpp:eme:0", "encryption", "namespace", NSEncrypted)
	for _, tt := range []struct {
		name, body, armor string
		around            []*element.Element
	}{
		{
			"Psi", "[ERROR: This message is encrypted, and you are unable to decrypt it.]",
			strings.TrimSpace(strip(whole("-r", bot.Fingerprint))),
			[]*element.Element{active, receipt},
		},
		{
			"Gajim", "[This message is *encrypted* (See :XEP:`27`]",
			strings.TrimSpace(strip(whole("-r", bot.Fingerprint, "-r", k.fpr))),
			[]*element.Element{eme, element.New("jabber:client", "thread").SetText("None"), receipt},
		},
		{
			"Dino", "[This message is OpenPGP encrypted (see XEP-0027)]",
			strip(whole("-r", k.fpr, "-r", bot.Fingerprint)),
			[]*element.Element{eme, receipt, element.New("urn:xmpp:chat-markers:0", "markable")},
		},
		{
			"profanity", "This message is encrypted (XEP-0027).",
			strip(whole("-r", bot.Fingerprint, "-r", k.fpr)),
			[]*element.Element{active},
		},
		{
			"profanity, emit-version in gpg.conf", "This message is encrypted (XEP-0027).",
			cutTwoLines(whole("-r", bot.Fingerprint, "--emit-version", "--comment", "made: here")), nil,
		},
		{
			"mcabber", "This message is PGP-encrypted.",
			strings.TrimSpace(strip(whole("-r", bot.Fingerprint))),
			[]*element.Element{active, receipt},
		},
		{"whole armor", "x", whole("-r", bot.Fingerprint), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := e2ee.Incoming{Body: tt.body, ID: tt.name, Children: append(tt.around, element.New(NSEncrypted, "x").SetText(tt.armor))}
			if !s.Claims(in) {
				t.Error("not claimed")
			}
			got, err := s.Open(t.Context(), p, in)
			if err != nil || got.Reveal() != greeting || got.Rung != policy.Sealed {
				t.Errorf("opened %q, %v, %v", got.Reveal(), got.Rung, err)
			}
		})
	}
}

// cutTwoLines is how profanity cuts armor: what follows the second newline.
func cutTwoLines(armor string) string {
	_, s, _ := strings.Cut(armor, "\n")
	s, _, _ = strings.Cut(s, "-----END")
	return strings.TrimLeft(s, "\n")
}

// TestGPGPresenceForms signs statuses as the clients do.
func TestGPGPresenceForms(t *testing.T) {
	k := key(t, "rsa3072")
	keys, _ := ring(t, k.public)
	s := New(Config{Secret: ourKey(t, "bot").secret, Keyring: keys}, Deps{})
	p := person("alice", false, k.fpr)
	for _, tt := range []struct{ name, status, armor string }{
		{"Psi: SHA-512 over the status, unescaped", "here & there", k.home.encrypt(t, "here & there", "-b", "--digest-algo", "SHA512", "-u", k.fpr)},
		{"Dino: type 0x01 over nothing", "", k.home.encrypt(t, "", "-b", "--textmode", "--digest-algo", "SHA512", "-u", k.fpr) + "\n"},
		{"profanity, mcabber: over nothing", "", k.home.encrypt(t, "", "-b", "-u", k.fpr)},
	} {
		if err := s.VerifyPresence(p, tt.status, element.New(NSSigned, "x").SetText(tt.armor)); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// TestGPGBomb is the one of the facts page: gpg makes it of zeros.
func TestGPGBomb(t *testing.T) {
	bot, k := ourKey(t, "bot"), key(t, "ed25519")
	k.home.run(t, bot.Public, "--import")
	keys, _ := ring(t, k.public)
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{})
	for _, algo := range []string{"zip", "zlib", "bzip2"} {
		data := k.home.run(t, make([]byte, 4<<20), "--compress-algo", algo, "-z", "9", "-e", "-r", bot.Fingerprint)
		text := base64.StdEncoding.EncodeToString(data)
		if _, err := open(s, person("alice", false, k.fpr), text, algo); !errors.Is(err, e2ee.ErrTooLarge) {
			t.Errorf("%s: %d KiB of armor: %v", algo, len(text)>>10, err)
		}
	}
}

// TestReloadUnderWay reads keys again and again while messages are under way.
func TestReloadUnderWay(t *testing.T) {
	bot, alice, p, toBot := pair(t, Deps{})
	stop := make(chan struct{})
	var reloads, talk sync.WaitGroup
	reloads.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := bot.codec.keyring.Reload(); err != nil {
				t.Errorf("Reload: %v", err)
			}
			bot.SetSecret(bot.Secret())
			_ = bot.codec.keyring.Changed()
			_ = bot.codec.keyring.List(time.Now())
			_ = bot.codec.keyring.Expiries([]*policy.Person{p.Person}, time.Now())
		}
	})
	for g := range 4 {
		talk.Go(func() {
			for i := range 50 {
				text := fmt.Sprintf("%d/%d", g, i)
				out, err := bot.Seal(t.Context(), p, plain(text))
				if err != nil {
					t.Errorf("Seal: %v", err)
					return
				}
				if got, err := alice.Open(t.Context(), toBot, e2eetest.Carry(out, text)); err != nil || got.Reveal() != text || got.Rung != policy.Verified {
					t.Errorf("Open: %v", err)
				}
				if _, err := bot.SignPresence(text); err != nil {
					t.Errorf("SignPresence: %v", err)
				}
			}
		})
	}
	talk.Wait()
	close(stop)
	reloads.Wait()
}

// TestExpiredKeyStopsAtOnce: whoever has a key that has expired can date a signature
// back, so it counts no more, whatever its date.
func TestExpiredKeyStopsAtOnce(t *testing.T) {
	now := time.Now()
	g, err := Generate("alice", "alice@example.org", nil, time.Hour, now.Add(-30*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecret(g.Secret, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	bot := ourKey(t, "bot")
	keys, _ := ring(t, g.Public, bot.Public)
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{Now: func() time.Time { return now }})
	alice := New(Config{Secret: secret, Keyring: keys}, Deps{Now: func() time.Time { return now }})
	p, toBot := person("alice", false, g.Fingerprint), person("bot", false, bot.Fingerprint)
	msg := sealed(t, alice, toBot, "hello")
	if got, err := open(s, p, msg, "1"); err != nil || got.Rung != policy.Verified {
		t.Fatalf("before: %v, %v", got.Rung, err)
	}
	now = now.Add(time.Hour)
	s.replay = e2ee.NewReplayCache(0, 0)
	if got, err := open(s, p, msg, "2"); !errors.Is(err, e2ee.ErrSignature) || !errors.Is(err, e2ee.ErrKeyExpired) {
		t.Errorf("after its key has expired: %v, %v", got.Rung, err)
	}
}
