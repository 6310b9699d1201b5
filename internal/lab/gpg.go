package lab

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// GPG is a GnuPG home with an agent of its own.
type GPG struct {
	Home string

	lab *Lab
}

// Key tells what key to make: a primary that signs and a subkey that decrypts.
type Key struct {
	UID     string
	Algo    string // "ed25519" (the default), "rsa2048", "rsa3072", "rsa4096", "nistp256", "brainpoolP256r1"
	Expire  string // of the primary, as gpg reads it; "1y" if empty
	Subkey  string // when the subkey expires; as Expire if empty
	Created time.Time
}

// GPG makes an empty GnuPG home.
func (l *Lab) GPG(name string) *GPG {
	l.Helper()
	g := &GPG{Home: l.folder("gpg-" + name), lab: l}
	// Our own agent, in the foreground, ends with us; gpg would leave a daemon.
	l.Start(&Proc{Name: "agent-" + name, Dir: g.Home, Args: []string{l.program("gpg-agent"), "--homedir", g.Home, "--daemon", "--no-detach", "--quiet"}})
	sock := strings.TrimSpace(l.run(l.program("gpgconf"), "--homedir", g.Home, "--list-dirs", "agent-socket"))
	// A socket that is there but does not answer yet makes gpg start an agent of its own, which fails.
	l.Await(30*time.Second, "gpg-agent answers", func() bool { return greets(sock) })
	return g
}

// greets reports whether an agent behind the socket says OK (the Assuan protocol).
func greets(sock string) bool {
	c, err := net.DialTimeout("unix", sock, time.Second)
	if err != nil {
		return false
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	ok := make([]byte, 2)
	_, err = io.ReadFull(c, ok)
	return err == nil && string(ok) == "OK"
}

// Run runs gpg in this home, with stdin, and returns its stdout.
func (g *GPG) Run(stdin string, args ...string) string {
	g.lab.Helper()
	out, err := g.try(stdin, args...)
	g.lab.must(err)
	return out
}

func (g *GPG) try(stdin string, args ...string) (string, error) {
	g.lab.Helper()
	args = append([]string{
		"--homedir", g.Home, "--batch", "--yes", "--quiet", "--no-tty", "--trust-model", "always",
		"--pinentry-mode", "loopback", "--passphrase", "",
	}, args...)
	cmd := exec.Command(g.lab.program("gpg"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	var errText strings.Builder
	cmd.Stderr = &errText
	out, err := cmd.Output()
	if err != nil {
		return "", &gpgError{args: args[10:], err: err, text: errText.String()}
	}
	return string(out), nil
}

type gpgError struct {
	args []string
	err  error
	text string
}

func (e *gpgError) Error() string {
	return "gpg " + strings.Join(e.args, " ") + ": " + e.err.Error() + "\n" + e.text
}

func (e *gpgError) Unwrap() error { return e.err }

// NewKey makes a key without a passphrase and returns its fingerprint.
func (g *GPG) NewKey(k Key) string {
	g.lab.Helper()
	if k.Algo == "" {
		k.Algo = "ed25519"
	}
	if k.Expire == "" {
		k.Expire = "1y"
	}
	if k.Subkey == "" {
		k.Subkey = k.Expire
	}
	var when []string
	if !k.Created.IsZero() {
		when = []string{"--faked-system-time", k.Created.UTC().Format("20060102T150405!")}
	}
	sub := k.Algo
	if sub == "ed25519" {
		sub = "cv25519"
	}
	g.Run("", append(when, "--quick-gen-key", k.UID, k.Algo, "sign,cert", k.Expire)...)
	fpr := g.Fingerprint(k.UID)
	g.Run("", append(when, "--quick-add-key", fpr, sub, "encr", k.Subkey)...)
	return fpr
}

// Fingerprint returns the fingerprint of the primary key of a user id.
func (g *GPG) Fingerprint(uid string) string {
	g.lab.Helper()
	return g.fingerprints(uid)[0]
}

// fingerprints returns those of the primary key and its subkeys.
func (g *GPG) fingerprints(uid string) []string {
	g.lab.Helper()
	var out []string
	for line := range strings.Lines(g.Run("", "--with-colons", "--with-subkey-fingerprint", "--list-keys", uid)) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			out = append(out, f[9])
		}
	}
	if len(out) == 0 {
		g.lab.Fatalf("lab: no key of %s in %s", uid, g.Home)
	}
	return out
}

// RenewSubkeys lets the subkeys of a key, expired or not, expire later.
func (g *GPG) RenewSubkeys(fpr, expire string) {
	g.lab.Helper()
	// gpg passes over subkeys that have expired unless they are named.
	g.Run("", append([]string{"--quick-set-expire", fpr, expire}, g.fingerprints(fpr)[1:]...)...)
}

// Revoke revokes a key by the certificate that gpg made with it.
func (g *GPG) Revoke(fpr string) {
	g.lab.Helper()
	b, err := os.ReadFile(filepath.Join(g.Home, "openpgp-revocs.d", fpr+".rev"))
	g.lab.must(err)
	// A colon keeps it from being imported by mistake.
	g.Import(strings.Replace(string(b), "\n:-----BEGIN", "\n-----BEGIN", 1))
}

// Export returns the armored public keys.
func (g *GPG) Export(keys ...string) string {
	g.lab.Helper()
	return g.Run("", append([]string{"--armor", "--export"}, keys...)...)
}

// ExportSecret returns the armored secret key.
func (g *GPG) ExportSecret(key string) string {
	g.lab.Helper()
	return g.Run("", "--armor", "--export-secret-keys", key)
}

// Import takes armored keys in.
func (g *GPG) Import(armored string) {
	g.lab.Helper()
	g.Run(armored, "--import")
}

// WriteExport writes the armored public keys to a file.
func (g *GPG) WriteExport(file string, keys ...string) {
	g.lab.Helper()
	g.lab.write(file, g.Export(keys...))
}

// WriteSecret writes the armored secret key to a file that only we can read.
func (g *GPG) WriteSecret(file, key string) {
	g.lab.Helper()
	g.lab.write(file, g.ExportSecret(key))
}

// Seal encrypts text to a key, in the form that XEP-0027 §3 puts in <x/>. Options
// of gpg, such as --sign, may be added.
func (g *GPG) Seal(to, text string, options ...string) string {
	g.lab.Helper()
	return unframe(g.Run(text, append(options, "--armor", "--recipient", to, "--encrypt")...))
}

// Open decrypts what stands in <x/>.
func (g *GPG) Open(x string) (string, error) {
	return g.try("-----BEGIN PGP MESSAGE-----\n\n"+strings.TrimSpace(x)+"\n-----END PGP MESSAGE-----\n", "--decrypt")
}

// SignStatus signs the text of a presence status (XEP-0027 §2).
func (g *GPG) SignStatus(status string) string {
	g.lab.Helper()
	return unframe(g.Run(status, "--armor", "--detach-sign"))
}

// unframe takes the armor's header and footer lines off; the checksum stays.
func unframe(armored string) string {
	_, s, _ := strings.Cut(armored, "\n\n")
	s, _, _ = strings.Cut(s, "\n-----END")
	return s
}

// env is what a client needs to use this home.
func (g *GPG) env() []string { return []string{"GNUPGHOME=" + g.Home} }

// Ring returns the file with the public keys.
func (g *GPG) Ring() string { return filepath.Join(g.Home, "pubring.kbx") }
