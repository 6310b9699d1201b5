package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/xmpp/openpgp"
)

// keyOptions say which key to make, and where.
type keyOptions struct {
	jid, name  string
	out        string // of the secret key; the public one goes beside it
	passphrase string // file; "" for no passphrase
	expires    string
}

func newKeysGenerate(g *globals) *cobra.Command {
	var o keyOptions
	cmd := &cobra.Command{
		Use:   "generate --jid JID",
		Short: "Make the bot's own key",
		Long: `Make an OpenPGP key for the bot: Ed25519 to sign, Curve25519 to encrypt, as
GnuPG 2.2 and later read it. The secret key goes to --out (mode 0600, never
overwritten), the public one beside it as NAME.pub.asc: give that to contacts.

With --passphrase-file the secret key is protected; the file is read, or written
with a random passphrase if it does not exist.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if o.jid == "" {
				return misused(errors.New("whose key? --jid is missing"), "drawbridge keys generate --jid bot@example.org")
			}
			fpr, err := generateKey(o)
			if err != nil {
				return err
			}
			sayln(g.out, fpr)
			sayf(g.err, "secret key: %s\npublic key: %s\nin the configuration, at the account:\n  openpgp: {key_file: %s%s}\n",
				o.out, publicName(o.out), o.out, passphraseHint(o))
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.jid, "jid", "", "the account's `JID`")
	f.StringVar(&o.name, "name", "", "a `NAME` to stand in the key beside the JID")
	f.StringVar(&o.out, "out", "bot.asc", "`FILE` of the secret key")
	f.StringVar(&o.passphrase, "passphrase-file", "", "`FILE` with the passphrase")
	f.StringVar(&o.expires, "expires", "2y", "how long the key lasts: `90d`, 2y or never")
	return cmd
}

func passphraseHint(o keyOptions) string {
	if o.passphrase == "" {
		return ""
	}
	return ", passphrase_file: " + o.passphrase
}

// publicName is the file of the public key beside that of the secret one.
func publicName(secret string) string {
	return strings.TrimSuffix(secret, filepath.Ext(secret)) + ".pub.asc"
}

// generateKey makes a key and writes its files.
func generateKey(o keyOptions) (fpr string, err error) {
	if !strings.Contains(o.jid, "@") || strings.Contains(o.jid, "/") {
		return "", misused(fmt.Errorf("%q is not a bare JID", o.jid), "--jid bot@example.org")
	}
	life, err := lifetime(o.expires)
	if err != nil {
		return "", misused(err, "--expires 90d, 2y or never")
	}
	for _, f := range []string{o.out, publicName(o.out)} {
		if _, err := os.Lstat(f); err == nil {
			return "", failed(fmt.Errorf("%s exists already", f), "choose another name with --out; nothing is overwritten")
		}
	}
	pass, err := passphrase(o.passphrase)
	if err != nil {
		return "", failed(err, "")
	}
	key, err := openpgp.Generate(o.name, o.jid, pass, life, time.Now())
	if err != nil {
		return "", failed(err, "")
	}
	if err := writeNew(o.out, key.Secret, 0o600); err != nil {
		return "", failed(err, "")
	}
	if err := writeNew(publicName(o.out), key.Public, 0o644); err != nil {
		return "", failed(err, "")
	}
	return key.Fingerprint, nil
}

// lifetime reads "90d", "2y" or "never".
func lifetime(s string) (time.Duration, error) {
	if s == "never" {
		return openpgp.NoExpiry, nil
	}
	const day = 24 * time.Hour
	for unit, d := range map[string]time.Duration{"d": day, "w": 7 * day, "m": 30 * day, "y": 365 * day} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.Atoi(digits)
			if err == nil && n > 0 && n <= 10000 && time.Duration(n)*d <= 50*365*day {
				return time.Duration(n) * d, nil
			}
		}
	}
	return 0, fmt.Errorf("%q is not a lifetime", s)
}

// passphrase reads the passphrase of a file, or writes a random one into it. A
// file name of "" means none.
func passphrase(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err == nil {
		pass := strings.TrimRight(string(data), "\r\n")
		if pass == "" {
			return nil, fmt.Errorf("%s is empty", file)
		}
		return []byte(pass), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	pass := rand.Text()
	return []byte(pass), writeNew(file, []byte(pass+"\n"), 0o600)
}

// writeNew writes a file that must not exist yet, and makes its folder (0700).
func writeNew(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
