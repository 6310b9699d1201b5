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

	"drawbridge/internal/admin"
	"drawbridge/internal/config"
	"drawbridge/policy"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
)

func newKeys(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Look at, import, export and make OpenPGP keys",
		Long: `Look at, import, export and make OpenPGP keys.

These verbs work on files and need no running bot; whose keys count beside those
of the configuration is read from the running bot, or from the store of one that is
stopped. A running bot notices keys that were imported within ten seconds; another
key of its own takes effect with "drawbridge reload". No verb overwrites a secret key.`,
		RunE: needsVerb("keys", "drawbridge keys list|show|import|export|generate"),
	}
	cmd.AddCommand(newKeysList(g), newKeysShow(g), newKeysImport(g), newKeysExport(g), newKeysGenerate(g))
	return cmd
}

// ownedKey is a key and whose it is.
type ownedKey struct {
	openpgp.Info
	account string
	persons []string // who list it, or for whom it counts
	revoked bool     // by an admin, for one of them
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
	case k.revoked:
		return "revoked by an admin: drawbridge trust list"
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

// allKeys are the bots' own keys, those of the keyring, and those that count and are
// not in it.
func (g *globals) allKeys(cmd *cobra.Command) (*config.Config, *keys, []ownedKey, error) {
	c, err := g.load()
	if err != nil {
		return nil, nil, nil, err
	}
	k, err := openKeys(c, nil, nil, newQuiet())
	if err != nil {
		printErrors(g.err, err)
		return nil, nil, nil, misused(errors.New("not all keys can be read"), "")
	}
	for _, err := range k.readLearned(c) {
		sayf(g.err, "drawbridge: %v\n", err)
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
	for i := range c.People {
		for _, fpr := range c.People[i].OpenPGP {
			out = owned(out, fpr, c.People[i].Name)
		}
	}
	for _, t := range g.trusted(cmd, c) {
		if t.Kind != string(e2ee.KeyOpenPGP) {
			continue
		}
		if t.Rung != policy.Clear.String() {
			out = owned(out, t.Fingerprint, t.Person)
		}
		if i := indexOf(out, t.Fingerprint); i >= 0 && t.State == e2ee.KeyRevoked.String() {
			out[i].revoked = true
		}
	}
	return c, k, out, nil
}

// owned notes in list that a key is a person's; one that is nowhere is added.
func owned(list []ownedKey, fpr, person string) []ownedKey {
	i := indexOf(list, fpr)
	switch {
	case i < 0:
		i = len(list)
		list = append(list, ownedKey{Info: openpgp.Info{Fingerprint: fpr, Unusable: errNotInKeyring}})
	case list[i].account != "": // the bot's own is nobody else's
		return list
	}
	if !slices.Contains(list[i].persons, person) {
		list[i].persons = append(list[i].persons, person)
	}
	return list
}

func indexOf(list []ownedKey, fpr string) int {
	return slices.IndexFunc(list, func(k ownedKey) bool { return k.Fingerprint == fpr })
}

// errNotInKeyring is of a key that counts and is not there.
var errNotInKeyring = errors.New("not in the keyring")

// trusted asks which keys count beside those of the configuration: the running bot, or
// the store of one that is stopped. What cannot be asked is told, and left out.
func (g *globals) trusted(cmd *cobra.Command, c *config.Config) []trustReport {
	var list []trustReport
	err := g.call(cmd, "trust list", trustArgs{}, &list)
	if errors.Is(err, admin.ErrNotRunning) {
		if _, err := os.Stat(c.Store.Path); err != nil || c.Store.Memory {
			return nil // it never ran
		}
		err = g.trust(cmd, "list", trustArgs{}, &list)
	}
	if err != nil {
		sayf(g.err, "drawbridge: keys that were accepted are not shown: %v\n", err)
	}
	return list
}

// keyEntry is one key as `drawbridge keys list --json` prints it.
type keyEntry struct {
	Fingerprint string    `json:"fingerprint"`
	Account     string    `json:"account,omitempty"` // of a bot's own key
	Persons     []string  `json:"persons,omitempty"` // who list it, or for whom it counts
	Algorithm   string    `json:"algorithm,omitempty"`
	Created     time.Time `json:"created,omitzero"`
	Expires     time.Time `json:"expires,omitzero"` // zero: never
	State       string    `json:"state"`
	UserIDs     []string  `json:"user_ids,omitempty"` // as its owner says
}

func entries(list []ownedKey, now time.Time) []keyEntry {
	out := []keyEntry{}
	for i := range list {
		k := &list[i]
		out = append(out, keyEntry{k.Fingerprint, k.account, k.persons, k.Algorithm, k.Created, k.Expires, k.state(now), k.UserIDs})
	}
	return out
}

func newKeysList(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the bot's own keys and the keyring, and whose each is",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, _, list, err := g.allKeys(cmd)
			if err != nil {
				return err
			}
			now := time.Now()
			if g.json {
				return json.NewEncoder(g.out).Encode(entries(list, now))
			}
			w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			sayln(w, "FINGERPRINT\tKIND\tEXPIRES\tOF\tSTATE\tUSER ID")
			for _, k := range list {
				kind, until := "-", "-"
				if k.Algorithm != "" {
					kind, until = k.Algorithm, expires(now, k.Expires)
				}
				sayf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Fingerprint, kind, until, k.owner(), k.state(now), firstID(k.Info))
			}
			return w.Flush()
		},
	}
	jsonFlag(cmd, g)
	return cmd
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
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, list, err := g.allKeys(cmd)
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
	if k.Algorithm == "" { // it is not there
		sayf(w, "  state:    %s\n", k.state(now))
		return
	}
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
		RunE: func(cmd *cobra.Command, args []string) error {
			_, k, list, err := g.allKeys(cmd)
			if err != nil {
				return err
			}
			var found []ownedKey
			if len(args) == 1 {
				found = pick(list, args[0])
			} else {
				found = slices.DeleteFunc(slices.Clone(list), func(k ownedKey) bool { return k.account == "" })
			}
			found = slices.DeleteFunc(found, func(k ownedKey) bool { return k.Algorithm == "" })
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
