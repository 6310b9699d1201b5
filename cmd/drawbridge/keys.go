package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/internal/config"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

func newKeys(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Look at, import, export and make OpenPGP keys",
		Long: `Look at, import, export and make OpenPGP keys.

These verbs work on files alone and need no running bot. A running bot notices
keys that were imported within ten seconds; another key of its own takes effect
with "drawbridge reload". No verb overwrites a secret key.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			what := "keys needs a verb"
			if len(args) > 0 {
				what = fmt.Sprintf("unknown verb %q of keys", args[0])
			}
			return misused(errors.New(what), "drawbridge keys list|show|import|export|generate")
		},
	}
	cmd.AddCommand(newKeysList(g), newKeysShow(g), newKeysImport(g), newKeysExport(g), newKeysGenerate(g))
	return cmd
}

// ownedKey is a key and whose it is by the configuration.
type ownedKey struct {
	openpgp.Info
	account string
	persons []string
	secret  *openpgp.Secret
}

// owner says whose the key is.
func (k *ownedKey) owner() string {
	switch {
	case k.account != "":
		return "the bot (" + k.account + ")"
	case len(k.persons) > 0:
		return strings.Join(k.persons, ", ")
	default:
		return "-"
	}
}

// state says whether the key can be used, in few words.
func (k *ownedKey) state(now time.Time) string {
	switch {
	case k.Unusable != nil:
		_, what, ok := strings.Cut(k.Unusable.Error(), ": ")
		if !ok {
			what = k.Unusable.Error()
		}
		return what
	case k.Weak:
		return "weak"
	case k.account == "" && len(k.persons) == 0:
		return "not listed for anybody; may be accepted: drawbridge trust list"
	case !k.Expires.IsZero() && k.Expires.Sub(now) <= warnSpans[0]:
		return "expires soon"
	default:
		return "ok"
	}
}

// allKeys are the bots' own keys and those of the keyring.
func (g *globals) allKeys() (*config.Config, *keys, []ownedKey, error) {
	c, err := g.load()
	if err != nil {
		return nil, nil, nil, err
	}
	k, err := openKeys(c, nil, nil, newQuiet())
	if err != nil {
		printErrors(g.err, err)
		return nil, nil, nil, misused(errors.New("not all keys can be read"), "")
	}
	now := time.Now()
	var out []ownedKey
	for i := range c.Accounts {
		if s := k.accounts[c.Accounts[i].Name]; s != nil {
			out = append(out, ownedKey{Info: s.Secret().Info(now), account: c.Accounts[i].Name, secret: s.Secret()})
		}
	}
	for _, info := range k.ring.List(now) {
		o := ownedKey{Info: info}
		for i := range c.People {
			if slices.Contains(c.People[i].OpenPGP, info.Fingerprint) {
				o.persons = append(o.persons, c.People[i].Name)
			}
		}
		out = append(out, o)
	}
	return c, k, out, nil
}

// keyEntry is one key as `drawbridge keys list --json` prints it.
type keyEntry struct {
	Fingerprint string    `json:"fingerprint"`
	Account     string    `json:"account,omitempty"` // of a bot's own key
	Persons     []string  `json:"persons,omitempty"` // for whom it is pinned
	Algorithm   string    `json:"algorithm,omitempty"`
	Created     time.Time `json:"created,omitzero"`
	Expires     time.Time `json:"expires,omitzero"` // zero: never
	State       string    `json:"state"`
	UserIDs     []string  `json:"user_ids,omitempty"` // as its owner says
}

// entries are the keys of list, and those pinned that the keyring lacks.
func entries(c *config.Config, list []ownedKey, now time.Time) []keyEntry {
	out := []keyEntry{}
	for i := range list {
		k := &list[i]
		out = append(out, keyEntry{k.Fingerprint, k.account, k.persons, k.Algorithm, k.Created, k.Expires, k.state(now), k.UserIDs})
	}
	for _, m := range missingKeys(c, list) {
		out = append(out, keyEntry{Fingerprint: m.fpr, Persons: []string{m.person}, State: notInKeyring})
	}
	return out
}

const notInKeyring = "not in the keyring"

func newKeysList(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the bot's own keys and the keyring, and whose each is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, _, list, err := g.allKeys()
			if err != nil {
				return err
			}
			now := time.Now()
			if g.json {
				return json.NewEncoder(g.out).Encode(entries(c, list, now))
			}
			w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			sayln(w, "FINGERPRINT\tKIND\tEXPIRES\tOF\tSTATE\tUSER ID")
			for _, k := range list {
				sayf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Fingerprint, k.Algorithm, expires(now, k.Expires), k.owner(), k.state(now), firstID(k.Info))
			}
			for _, m := range missingKeys(c, list) {
				sayf(w, "%s\t-\t-\t%s\t%s\t-\n", m.fpr, m.person, notInKeyring)
			}
			return w.Flush()
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

// missingKey is a pinned fingerprint that the keyring lacks.
type missingKey struct{ fpr, person string }

func missingKeys(c *config.Config, list []ownedKey) []missingKey {
	var out []missingKey
	for i := range c.People {
		for _, fpr := range c.People[i].OpenPGP {
			if !slices.ContainsFunc(list, func(k ownedKey) bool { return k.Fingerprint == fpr }) {
				out = append(out, missingKey{fpr, c.People[i].Name})
			}
		}
	}
	return out
}

func firstID(i openpgp.Info) string {
	if len(i.UserIDs) == 0 {
		return "-"
	}
	return clean(i.UserIDs[0])
}

func newKeysShow(g *globals) *cobra.Command {
	code := false
	cmd := &cobra.Command{
		Use:   "show WHOSE",
		Short: "Show the keys of a person, an account or a fingerprint",
		Long: `Show the keys of a person or an account of the configuration, or the key with
a fingerprint (its last 16 digits or more). With --qr each comes as a QR code too,
that phones scan to compare it.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: g.completeOwners,
		RunE: func(_ *cobra.Command, args []string) error {
			c, _, list, err := g.allKeys()
			if err != nil {
				return err
			}
			found := pick(list, args[0])
			if len(found) == 0 {
				return failed(fmt.Errorf("no key of %q", args[0]), "drawbridge keys list")
			}
			for i := range found {
				if i > 0 {
					sayln(g.out)
				}
				showKey(g.out, &found[i], time.Now())
				if !code {
					continue
				}
				jid := ""
				if a := c.Account(found[i].account); a != nil {
					jid = a.JID
				}
				if err := writeQR(g.out, keyURI(e2ee.KeyOpenPGP, jid, found[i].Fingerprint)); err != nil {
					return failed(err, "")
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&code, "qr", false, "draw a QR code")
	return cmd
}

// pick returns the keys that whose names: an account, a person, or a fingerprint
// by its last 16 digits at least.
func pick(list []ownedKey, whose string) []ownedKey {
	fpr := strings.ToUpper(strings.ReplaceAll(strings.TrimPrefix(whose, "0x"), " ", ""))
	var out []ownedKey
	for _, k := range list {
		if k.account == whose || slices.Contains(k.persons, whose) || len(fpr) >= 16 && strings.HasSuffix(k.Fingerprint, fpr) {
			out = append(out, k)
		}
	}
	return out
}

func showKey(w io.Writer, k *ownedKey, now time.Time) {
	sayf(w, "%s\n", spaced(k.Fingerprint))
	sayf(w, "  of:       %s\n", k.owner())
	for _, id := range k.UserIDs {
		sayf(w, "  user id:  %s (as its owner says)\n", clean(id))
	}
	sayf(w, "  kind:     %s\n", k.Algorithm)
	sayf(w, "  created:  %s\n", k.Created.Format(time.DateOnly))
	sayf(w, "  expires:  %s\n", expires(now, k.Expires))
	sayf(w, "  state:    %s\n", k.state(now))
	for _, s := range k.Subkeys {
		line := fmt.Sprintf("  subkey:   %s %s for %s, expires %s", s.Fingerprint, s.Algorithm, s.Use, expires(now, s.Expires))
		if s.Revoked {
			line += ", revoked"
		}
		sayln(w, line)
	}
}

// spaced writes a fingerprint in groups of four, as people compare it.
func spaced(fpr string) string {
	var b strings.Builder
	for i, r := range fpr {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func newKeysExport(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "export [WHOSE]",
		Short: "Write a public key, armored: what contacts import",
		Long: `Write a public key to stdout, armored, as contacts import it: of an account of
the bot, a person, or a fingerprint. With one account WHOSE may be left out.
Secret keys are never written.`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: g.completeOwners,
		RunE: func(_ *cobra.Command, args []string) error {
			_, k, list, err := g.allKeys()
			if err != nil {
				return err
			}
			var found []ownedKey
			if len(args) == 1 {
				found = pick(list, args[0])
			} else {
				found = slices.DeleteFunc(slices.Clone(list), func(k ownedKey) bool { return k.account == "" })
			}
			switch {
			case len(found) == 0 && len(args) == 0:
				return failed(errors.New("no account of the bot has an OpenPGP key"), "drawbridge keys generate")
			case len(found) == 0:
				return failed(fmt.Errorf("no key of %q", args[0]), "drawbridge keys list")
			case len(found) > 1 && len(args) == 0:
				return misused(errors.New("the bot has several accounts"), "drawbridge keys export ACCOUNT")
			}
			for i := range found {
				data, err := exportKey(k, &found[i])
				if err != nil {
					return failed(err, "")
				}
				if _, err := g.out.Write(data); err != nil {
					return failed(err, "")
				}
			}
			return nil
		},
	}
}

func exportKey(k *keys, o *ownedKey) ([]byte, error) {
	if o.secret != nil {
		return o.secret.Public()
	}
	return k.ring.Export(o.Fingerprint)
}

func newKeysImport(g *globals) *cobra.Command {
	var into string
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Take public keys into the keyring folder",
		Long: `Take the public keys of files ("-" is stdin) into the first folder of
keyring.paths, or into the folder that --into names, and print the fingerprints
to pin. Compare each with its owner before you write it into the configuration:
a key that is not pinned is never used.

A running bot reads the new key within ten seconds, and sends what waited for it.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return g.importKeys(args, into) },
	}
	cmd.Flags().StringVar(&into, "into", "", "`FOLDER` to write to")
	_ = cmd.MarkFlagDirname("into")
	return cmd
}

func (g *globals) importKeys(files []string, into string) error {
	var c *config.Config
	if into == "" {
		var err error
		if c, err = g.load(); err != nil {
			return err
		}
		i := slices.IndexFunc(c.Keyring.Paths, func(p string) bool { fi, err := os.Stat(p); return err == nil && fi.IsDir() })
		if i < 0 {
			return misused(errors.New("keyring.paths names no folder"), "add one, as `paths: [keys/]`, or use --into FOLDER")
		}
		into = c.Keyring.Paths[i]
	}
	for _, name := range files {
		data, err := g.readInput(name)
		if err != nil {
			return failed(err, "")
		}
		infos, err := openpgp.Import(into, data, time.Now())
		if err != nil {
			return failed(fmt.Errorf("%s: %w", name, err), "drawbridge keys import takes what `gpg --export --armor FINGERPRINT` writes")
		}
		for _, info := range infos {
			g.sayImported(c, &info)
		}
		if given, err := openpgp.Describe(data, time.Now()); err == nil && slices.ContainsFunc(given, func(i openpgp.Info) bool { return i.Secret }) {
			sayf(g.err, "warning: %s held a secret key too, which was left out; do not spread it\n", name)
		}
	}
	return nil
}

// sayImported prints the fingerprint of an imported key and what to do with it.
func (g *globals) sayImported(c *config.Config, info *openpgp.Info) {
	sayf(g.out, "%s %s\n", info.Fingerprint, firstID(*info))
	if info.Unusable != nil {
		sayf(g.err, "warning: nobody can be written to with it: %v\n", info.Unusable)
	}
	if info.Weak {
		sayln(g.err, "warning: it is weak; only `allow_weak_key: true` at its person makes it usable")
	}
	if c != nil && slices.ContainsFunc(c.People, func(p config.Person) bool { return slices.Contains(p.OpenPGP, info.Fingerprint) }) {
		return
	}
	sayf(g.err, "not pinned for anybody: compare the fingerprint with its owner, then write at the person\n  openpgp: [%s]\n", info.Fingerprint)
}

// maxInput bounds a file of keys.
const maxInput = 16 << 20

func (g *globals) readInput(name string) ([]byte, error) {
	r := g.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("%s: larger than %d MiB", name, maxInput>>20)
	}
	return bytes.Clone(data), nil
}
