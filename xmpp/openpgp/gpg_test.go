package openpgp

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// gpgHome is a GnuPG of its own: a homedir with throw-away keys.
type gpgHome struct{ dir string }

// world is what all tests share: making keys is slow.
type world struct {
	sync.Mutex
	dir   string
	homes []*gpgHome
	keys  map[string]*testKey
	home  *gpgHome
}

var theWorld = &world{keys: map[string]*testKey{}}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, h := range theWorld.homes {
		_ = exec.Command("gpgconf", "--homedir", h.dir, "--kill", "gpg-agent").Run()
	}
	if theWorld.dir != "" {
		_ = os.RemoveAll(theWorld.dir)
	}
	os.Exit(code)
}

// newGPG returns a fresh GnuPG home, and skips where there is no gpg.
func newGPG(t testing.TB) *gpgHome {
	t.Helper()
	theWorld.Lock()
	defer theWorld.Unlock()
	return theWorld.newHome(t)
}

func (w *world) newHome(t testing.TB) *gpgHome {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not installed: interoperation with GnuPG is not tested")
	}
	if w.dir == "" {
		// Not t.TempDir: the agent's socket needs a short path. In memory where that
		// can be had: gpg syncs its files at each turn.
		dir, err := os.MkdirTemp("/dev/shm", "dbpgp")
		if err != nil {
			dir, err = os.MkdirTemp("", "dbpgp")
		}
		if err != nil {
			t.Fatal(err)
		}
		w.dir = dir
	}
	h := &gpgHome{filepath.Join(w.dir, fmt.Sprint("h", len(w.homes)))}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// Or the agent makes each use of a passphrase take 0.1 s.
	if err := os.WriteFile(filepath.Join(h.dir, "gpg-agent.conf"), []byte("s2k-count 65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.homes = append(w.homes, h)
	return h
}

// run runs gpg and returns its output; stdin may be nil.
func (h *gpgHome) run(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	out, errout, err := h.try(stdin, args...)
	if err != nil {
		t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, errout)
	}
	return out
}

func (h *gpgHome) try(stdin []byte, args ...string) (out []byte, errout string, err error) {
	cmd := exec.Command("gpg", append([]string{
		"--homedir", h.dir, "--batch", "--no-tty", "--yes", "--pinentry-mode", "loopback",
		"--trust-model", "always", "--status-fd", "2",
	}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.Bytes(), e.String(), err
}

// testKey is a key made by gpg.
type testKey struct {
	kind   string
	fpr    string
	public []byte // gpg --export
	secret []byte // gpg --export-secret-keys --armor, protected
	home   *gpgHome
}

const testPass = "correct horse"

// kinds are the parameters of the key types people have.
var kinds = map[string]string{
	"rsa2048":   "Key-Type: RSA\nKey-Length: 2048\nSubkey-Type: RSA\nSubkey-Length: 2048\nSubkey-Usage: encrypt",
	"rsa3072":   "Key-Type: RSA\nKey-Length: 3072\nSubkey-Type: RSA\nSubkey-Length: 3072\nSubkey-Usage: encrypt",
	"rsa4096":   "Key-Type: RSA\nKey-Length: 4096\nSubkey-Type: RSA\nSubkey-Length: 4096\nSubkey-Usage: encrypt",
	"rsaone":    "Key-Type: RSA\nKey-Length: 2048\nKey-Usage: sign encrypt",
	"ed25519":   "Key-Type: EDDSA\nKey-Curve: ed25519\nSubkey-Type: ECDH\nSubkey-Curve: cv25519\nSubkey-Usage: encrypt",
	"nistp256":  "Key-Type: ECDSA\nKey-Curve: nistp256\nSubkey-Type: ECDH\nSubkey-Curve: nistp256\nSubkey-Usage: encrypt",
	"nistp384":  "Key-Type: ECDSA\nKey-Curve: nistp384\nSubkey-Type: ECDH\nSubkey-Curve: nistp384\nSubkey-Usage: encrypt",
	"nistp521":  "Key-Type: ECDSA\nKey-Curve: nistp521\nSubkey-Type: ECDH\nSubkey-Curve: nistp521\nSubkey-Usage: encrypt",
	"brainpool": "Key-Type: ECDSA\nKey-Curve: brainpoolP256r1\nSubkey-Type: ECDH\nSubkey-Curve: brainpoolP256r1\nSubkey-Usage: encrypt",
	"rsa1024":   "Key-Type: RSA\nKey-Length: 1024\nSubkey-Type: RSA\nSubkey-Length: 1024\nSubkey-Usage: encrypt",
	"dsa1024":   "Key-Type: DSA\nKey-Length: 1024\nSubkey-Type: ELG-E\nSubkey-Length: 1024\nSubkey-Usage: encrypt",
	"signonly":  "Key-Type: EDDSA\nKey-Curve: ed25519",
}

// key returns a key of a kind, made by gpg on first use, all in one home. Those that take
// long were made by gpg 2.2 once: testdata/KIND.asc.
func key(t testing.TB, kind string) *testKey {
	t.Helper()
	w := theWorld
	w.Lock()
	defer w.Unlock()
	if w.home == nil {
		w.home = w.newHome(t)
	}
	if k := w.keys[kind]; k != nil {
		return k
	}
	if made, err := os.ReadFile(filepath.Join("testdata", kind+".asc")); err == nil {
		w.keys[kind] = w.home.made(t, kind, made, "--passphrase", testPass, "--import")
	} else {
		w.keys[kind] = w.home.generate(t, kind, kind, "0")
	}
	return w.keys[kind]
}

// generate makes a key; expire is gpg's, "0" for never.
func (h *gpgHome) generate(t testing.TB, kind, name, expire string) *testKey {
	t.Helper()
	params := fmt.Sprintf("%s\nName-Real: %s\nName-Email: %s@example.org\nExpire-Date: %s\nPassphrase: %s\n%%commit\n",
		kinds[kind], name, name, expire, testPass)
	return h.made(t, kind, []byte(params), "--full-generate-key")
}

// made runs the gpg that makes or imports a key.
func (h *gpgHome) made(t testing.TB, kind string, stdin []byte, args ...string) *testKey {
	t.Helper()
	_, status, err := h.try(stdin, args...)
	if err != nil {
		t.Fatalf("gpg makes no %s key: %v\n%s", kind, err, status)
	}
	k := &testKey{kind: kind, home: h}
	for line := range strings.Lines(status) {
		if f := strings.Fields(line); len(f) == 4 && (f[1] == "KEY_CREATED" || f[1] == "IMPORT_OK") {
			k.fpr = f[3]
		}
	}
	k.export(t)
	return k
}

func (k *testKey) export(t testing.TB) {
	k.public = k.home.run(t, nil, "--export", k.fpr)
	k.secret = k.home.run(t, nil, "--passphrase", testPass, "--armor", "--export-secret-keys", k.fpr)
}

// encrypt encrypts text to fprs as clients do: armor cut to what they put into <x/>.
func (h *gpgHome) encrypt(t testing.TB, text string, args ...string) string {
	return strip(string(h.run(t, []byte(text), append([]string{"--passphrase", testPass, "--armor"}, args...)...)))
}

// strip cuts armor as profanity does: header and footer go, the checksum stays.
func strip(armor string) string {
	_, s, _ := strings.Cut(armor, "\n\n")
	s, _, _ = strings.Cut(s, "-----END")
	return s
}

// full puts stripped armor back into its frame, for gpg.
func full(kind, body string) []byte {
	return []byte("-----BEGIN PGP " + kind + "-----\n\n" + strings.TrimSpace(body) + "\n-----END PGP " + kind + "-----\n")
}

// decrypt returns what gpg makes of a message of ours, and its status lines.
func (h *gpgHome) decrypt(t testing.TB, body string) (string, string) {
	t.Helper()
	out, status, err := h.try(full("MESSAGE", body), "--passphrase", testPass, "--decrypt")
	if err != nil {
		t.Fatalf("gpg cannot decrypt: %v\n%s", err, status)
	}
	return string(out), status
}
