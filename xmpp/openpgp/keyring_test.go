package openpgp

import (
	"bytes"
	"crypto"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ProtonMail/go-crypto/openpgp/s2k"
	pgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
)

func TestKeyringSources(t *testing.T) {
	a, b := ourKey(t, "a"), ourKey(t, "b")
	dir := t.TempDir()
	at := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, data)
		return path
	}
	binary := func(o ours) []byte {
		var buf bytes.Buffer
		if err := o.secret.own.entity.Serialize(&buf); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	armored := at("armored.asc", a.Public)
	both := at("both.asc", append(append([]byte("alice sent this:\n"), a.Public...), append([]byte("\nand bob:\r\n"), b.Public...)...))
	export := at("export.gpg", append(binary(a), binary(b)...))
	at("folder/a.asc", a.Public)
	at("folder/B.GPG", binary(b))
	at("folder/.hidden.asc", []byte("not a key"))
	at("folder/README.txt", []byte("not a key"))
	at("folder/below/x.asc", []byte("not a key"))
	for _, tt := range []struct {
		name  string
		paths []string
		want  int
	}{
		{"armor", []string{armored}, 1},
		{"two blocks with words between", []string{both}, 2},
		{"gpg --export", []string{export}, 2},
		{"a folder", []string{filepath.Join(dir, "folder")}, 2},
		{"the same keys thrice", []string{armored, both, filepath.Join(dir, "folder")}, 2},
		{"nothing", nil, 0},
	} {
		k, err := NewKeyring(tt.paths)
		if err != nil || k.Len() != tt.want {
			t.Errorf("%s: %d keys, %v; want %d", tt.name, k.Len(), err, tt.want)
		}
	}
}

func TestKeyringErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name, data string) string {
		path := filepath.Join(dir, name)
		write(t, path, []byte(data))
		return path
	}
	good := at("good.asc", string(ourKey(t, "a").Public))
	for _, tt := range []struct {
		name  string
		paths []string
		want  []error
		words []string
	}{
		{"missing", []string{filepath.Join(dir, "none.asc")}, []error{ErrUnreadable, os.ErrNotExist}, []string{"none.asc", "hint"}},
		{"empty", []string{at("empty.asc", "")}, []error{ErrNotKey}, []string{"empty.asc"}},
		{"no key", []string{at("text.asc", "hello")}, []error{ErrNotKey}, []string{"text.asc"}},
		{"a message", []string{at("msg.asc", "-----BEGIN PGP MESSAGE-----\n\naGVsbG8=\n-----END PGP MESSAGE-----\n")}, []error{ErrNotKey}, nil},
		{"cut armor", []string{at("cut.asc", string(ourKey(t, "a").Public[:200]))}, []error{ErrNotKey}, nil},
		{"every bad file is named", []string{at("bad1.asc", "x"), good, at("bad2.asc", "y")}, []error{ErrNotKey}, []string{"bad1.asc", "bad2.asc"}},
		{"broken keybox", []string{at("bad.kbx", "\x00\x00\x00\x20\x01\x01\x00\x02KBXf"+strings.Repeat("\x00", 20)+"\x00\x00\xff\xff\x02")}, []error{ErrNotKey}, []string{"keybox"}},
	} {
		_, err := NewKeyring(tt.paths)
		var ke *KeyError
		if !errors.As(err, &ke) {
			t.Errorf("%s: %v is no *KeyError", tt.name, err)
		}
		for _, w := range tt.want {
			if !errors.Is(err, w) {
				t.Errorf("%s: %v is not %v", tt.name, err, w)
			}
		}
		for _, w := range tt.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", tt.name, err, w)
			}
		}
	}
	if os.Geteuid() == 0 {
		return // root reads everything
	}
	if err := os.Chmod(good, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := NewKeyring([]string{good}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("unreadable: %v", err)
	}
}

// TestReload changes the files under a keyring.
func TestReload(t *testing.T) {
	a, b, bot := ourKey(t, "a"), ourKey(t, "b"), ourKey(t, "bot")
	keys, dir := ring(t, a.Public)
	s := New(Config{Secret: bot.secret, Keyring: keys}, Deps{})
	toB := person("b", false, b.Fingerprint)
	if _, err := s.Reach(toB); !errors.Is(err, e2ee.ErrNoKey) || !strings.Contains(err.Error(), b.Fingerprint) {
		t.Errorf("not in the keyring: %v", err)
	}
	if keys.Changed() {
		t.Error("changed though nothing was touched")
	}
	path := filepath.Join(dir, "new.asc")
	write(t, path, b.Public)
	if !keys.Changed() {
		t.Error("a new file goes unnoticed")
	}
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	if rung, err := s.Reach(toB); err != nil || rung != policy.Verified || keys.Changed() {
		t.Errorf("after the reload: %v, %v", rung, err)
	}
	write(t, path, []byte("half of a ke"))
	if !keys.Changed() {
		t.Error("an altered file goes unnoticed")
	}
	if err := keys.Reload(); !errors.Is(err, ErrNotKey) {
		t.Errorf("Reload of rubbish: %v", err)
	}
	if _, err := s.Reach(toB); err != nil {
		t.Errorf("the old keys are gone after a failed reload: %v", err)
	}
	if keys.Changed() {
		t.Error("the bad file is reported at each look")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if !keys.Changed() {
		t.Error("a file that went goes unnoticed")
	}
	if err := keys.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reach(toB); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("a removed key is still used: %v", err)
	}
}

func TestSecrets(t *testing.T) {
	now := time.Now()
	g, err := Generate("", "bot@example.org", nil, time.Hour, now.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	g.Secret = lockedBy(t, g.Secret, "pass")
	other := ourKey(t, "other")
	for _, tt := range []struct {
		name, pass string
		data       []byte
		at         time.Time
		want       error
		words      string
	}{
		{"good", "pass", g.Secret, now, nil, ""},
		{"wrong passphrase", "Pass", g.Secret, now, ErrPassphrase, "passphrase_file"},
		{"no passphrase", "", g.Secret, now, ErrNeedPassphrase, "passphrase_file"},
		{"a public key", "pass", g.Public, now, ErrNotSecret, "--export-secret-keys " + g.Fingerprint},
		{"not a key", "", []byte("hello"), now, ErrNotKey, ""},
		{"two secret keys", "pass", append(append([]byte{}, g.Secret...), other.Generated.Secret...), now, ErrManySecrets, ""},
		{"a public key beside it", "pass", append(append([]byte{}, other.Public...), g.Secret...), now, nil, ""},
		{"expired", "pass", g.Secret, now.Add(2 * time.Hour), e2ee.ErrKeyExpired, "quick-set-expire " + g.Fingerprint},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSecret(tt.data, []byte(tt.pass), tt.at)
			if tt.want == nil {
				if err != nil || s.Fingerprint() != g.Fingerprint {
					t.Errorf("ParseSecret = %v, %v", s, err)
				}
				return
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("ParseSecret = %v, want %v and %q", err, tt.want, tt.words)
			}
		})
	}
}

// lockedBy puts a passphrase on a secret key, one that is opened at once. Ours, which is
// made to take its time, is opened in TestGPGUsesGeneratedKey.
func lockedBy(t *testing.T, secret []byte, pass string) []byte {
	t.Helper()
	s, err := ParseSecret(secret, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	e := s.own.entity
	cheap := &packet.Config{S2KConfig: &s2k.Config{S2KMode: s2k.IteratedSaltedS2K, Hash: crypto.SHA256, S2KCount: 65536}}
	if err := e.EncryptPrivateKeys([]byte(pass), cheap); err != nil {
		t.Fatal(err)
	}
	out, err := armored(pgp.PrivateKeyType, func(b *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(b, nil) })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestOwnKeyExpires: from then on nothing leaves, and it says why.
func TestOwnKeyExpires(t *testing.T) {
	now := time.Now()
	g, err := Generate("", "bot@example.org", nil, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := ParseSecret(g.Secret, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	a := ourKey(t, "a")
	keys, _ := ring(t, a.Public)
	s := New(Config{Secret: secret, Keyring: keys}, Deps{Now: func() time.Time { return now }})
	p := person("a", false, a.Fingerprint)
	if _, err := s.Seal(t.Context(), p, plain("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SignPresence(""); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Hour)
	_, sealErr := s.Seal(t.Context(), p, plain("x"))
	_, signErr := s.SignPresence("")
	for _, err := range []error{sealErr, signErr} {
		if !errors.Is(err, e2ee.ErrKeyExpired) || !strings.Contains(err.Error(), "bot's own") {
			t.Errorf("with an expired own key: %v", err)
		}
	}
}

func TestExpiries(t *testing.T) {
	now := time.Now()
	g, err := Generate("", "a@example.org", nil, 20*24*time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	forever := ourKey(t, "b")
	keys, _ := ring(t, g.Public, forever.Public)
	people := []*policy.Person{
		{Name: "a", OpenPGP: []string{g.Fingerprint}},
		{Name: "b", OpenPGP: []string{forever.Fingerprint}},
		{Name: "c", OpenPGP: []string{strings.Repeat("C", 40)}},
	}
	got := keys.Expiries(people, now)
	if len(got) != 1 || got[0].Person != "a" || got[0].Use != "encryption" || got[0].Fingerprint != g.Fingerprint {
		t.Fatalf("Expiries = %+v", got)
	}
	if later := keys.Expiries(people, now.Add(25*24*time.Hour)); len(later) != 1 || !later[0].At.Equal(got[0].At) {
		t.Errorf("once expired it is still listed: %+v", later)
	}
}

// TestPinnedKeys: a person may have a key for each device, and one of them may end.
func TestPinnedKeys(t *testing.T) {
	now := time.Now()
	old, err := Generate("", "a@example.org", nil, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	fresh, bot := ourKey(t, "a"), ourKey(t, "bot")
	keys, _ := ring(t, old.Public, fresh.Public)
	s := New(Config{Secret: bot.secret, Keyring: keys, Unsigned: true}, Deps{Now: func() time.Time { return now }})
	p := person("a", false, old.Fingerprint, fresh.Fingerprint)
	oldSecret, err := ParseSecret(old.Secret, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	opens := func(secret *Secret) bool {
		_, err := decryptedBy(t, secret, sealed(t, s, p, "x"))
		return err == nil
	}
	if !opens(oldSecret) || !opens(fresh.secret) {
		t.Error("not sealed to both keys")
	}
	now = now.Add(2 * time.Hour)
	if !opens(fresh.secret) {
		t.Error("not sealed to the second key though the first has expired")
	}
	if opens(oldSecret) {
		t.Error("sealed to the expired key")
	}
	errs := keys.Check([]*policy.Person{p.Person}, now)
	if len(errs) != 1 || !errors.Is(errs[0], e2ee.ErrKeyExpired) || !strings.Contains(errs[0].Error(), old.Fingerprint) {
		t.Errorf("Check = %v", errs)
	}
}

func decryptedBy(t *testing.T, s *Secret, armor string) ([]byte, error) {
	t.Helper()
	b := new(buffers)
	var err error
	if b.armor, err = decodeArmor(nil, armor); err != nil {
		t.Fatal(err)
	}
	inside, _, err := decrypt(b, s)
	return inside, err
}

func TestImportExport(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	g, err := Generate("Alice", "alice@example.org", nil, 0, now.Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	infos, err := Import(dir, g.Secret, now) // secret parts stay out
	if err != nil || len(infos) != 1 || infos[0].Fingerprint != g.Fingerprint || infos[0].Secret {
		t.Fatalf("Import = %+v, %v", infos, err)
	}
	path := filepath.Join(dir, g.Fingerprint+".asc")
	text, err := os.ReadFile(path)
	if err != nil || bytes.Contains(text, []byte("PRIVATE")) {
		t.Errorf("%s: %v, %s", path, err, text)
	}
	keys, err := NewKeyring([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	list := keys.List(now)
	want := Info{Fingerprint: g.Fingerprint, Algorithm: "ed25519"}
	i := list[0]
	if i.Fingerprint != want.Fingerprint || i.Algorithm != want.Algorithm || i.Secret || i.Weak || i.Unusable != nil ||
		strings.Join(i.UserIDs, "|") != "Alice <xmpp:alice@example.org>|xmpp:alice@example.org" ||
		len(i.Subkeys) != 1 || i.Subkeys[0].Algorithm != "cv25519" || i.Subkeys[0].Use != "encryption" ||
		i.Expires.Sub(now) < 700*24*time.Hour {
		t.Errorf("List = %+v", i)
	}
	out, err := keys.Export(strings.ToLower(g.Fingerprint))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Describe(out, now); err != nil || again[0].Fingerprint != g.Fingerprint {
		t.Errorf("exported: %+v, %v", again, err)
	}
	if _, err := keys.Export("ABC"); !errors.Is(err, e2ee.ErrNoKey) {
		t.Errorf("Export of none: %v", err)
	}
	if _, err := Import(dir, []byte("rubbish"), now); !errors.Is(err, ErrNotKey) {
		t.Errorf("Import of rubbish: %v", err)
	}
	if _, err := Import(filepath.Join(dir, "none"), g.Public, now); !errors.Is(err, ErrUnreadable) {
		t.Errorf("Import into nowhere: %v", err)
	}
	before, _ := os.ReadFile(path)
	if _, err := Import(dir, g.Public, now); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(path); len(after) != len(before) {
		t.Errorf("imported again, the file grew from %d to %d bytes", len(before), len(after))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".import*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestGenerateRefuses(t *testing.T) {
	for _, tt := range [][2]string{{"x", ""}, {"x<y", "a@b"}, {"x", "a@b>"}, {"x\ny", "a@b"}} {
		if _, err := Generate(tt[0], tt[1], nil, 0, time.Now()); err == nil {
			t.Errorf("Generate(%q, %q) makes a key", tt[0], tt[1])
		}
	}
}

func TestKeyErrorHints(t *testing.T) {
	for _, err := range []error{
		ErrNotSecret, ErrPassphrase, ErrNeedPassphrase, ErrNoSigningKey, ErrNoEncryptionKey,
		ErrManySecrets, ErrUnreadable, e2ee.ErrKeyExpired, e2ee.ErrKeyRevoked, e2ee.ErrKeyWeak, e2ee.ErrNoKey,
	} {
		e := &KeyError{Person: "alice", Fingerprint: "ABCD", Err: err}
		if e.Hint() == "" || !strings.Contains(e.Error(), "ABCD of alice") {
			t.Errorf("%q says not what to do, or about whom", e.Error())
		}
	}
}

// TestPacketLibraryKinds guards an assumption of decryptWith and readInner.
func TestPacketLibraryKinds(t *testing.T) {
	ops, err := packet.Read(bytes.NewReader([]byte{0xc4, 13, 3, 0, 8, 22, 1, 2, 3, 4, 5, 6, 7, 8, 1}))
	if _, ok := ops.(*packet.OnePassSignature); !ok || err != nil {
		t.Errorf("a one-pass signature is read as %T, %v", ops, err)
	}
}
