package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/internal/admin"
	"drawbridge/internal/config"
	"drawbridge/internal/store"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/otr"
	"drawbridge/xmpp/trust"
)

// otrKeyEntry is the OTR key of an account, as verbs show it.
type otrKeyEntry struct {
	Account     string `json:"account"`
	JID         string `json:"jid"`
	Fingerprint string `json:"fingerprint"`
}

// otrRows are what the running bot answers about its OTR keys.
func otrRows(b *bot) []admin.Row {
	return []admin.Row{{Verb: "otr keys", Needs: admin.Look, Handle: func(context.Context, json.RawMessage) (any, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		out := []otrKeyEntry{}
		for i := range b.cfg.Accounts {
			a := &b.cfg.Accounts[i]
			if s := b.keys.otr[a.Name]; s != nil {
				_, fpr := s.OwnKey()
				out = append(out, otrKeyEntry{a.Name, bareJID(a.JID), fpr})
			}
		}
		return out, nil
	}}}
}

func newOTRKeys(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Show, import and export OTR keys",
		Long: `Show, import and export the OTR keys of the bot's accounts, which are kept in
the store. The files are those of libotr: Pidgin (otr.private_key), profanity
(keys.txt), mcabber (JID.key), irssi (otr.key). Import and export of keys need a
bot that is stopped.`,
		RunE: needsVerb("otr keys", "drawbridge otr keys show|import|export"),
	}
	cmd.AddCommand(newOTRKeysShow(g), newOTRKeysImport(g), newOTRKeysExport(g))
	return cmd
}

func newOTRKeysShow(g *globals) *cobra.Command {
	code := false
	cmd := &cobra.Command{
		Use:   "show [ACCOUNT]",
		Short: "Show the fingerprints that people compare with their client",
		Long: `Show the OTR fingerprints of the bot's accounts, which people compare with what
their client shows. With --qr each comes as a QR code too, that phones scan.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all := []otrKeyEntry{}
			if err := g.call(cmd, "otr keys", nil, &all); errors.Is(err, admin.ErrNotRunning) {
				all = nil
				if err := g.withOTRKeys("", func(a *config.Account, key *otr.Key, _ *store.Store) error {
					all = append(all, otrKeyEntry{a.Name, bareJID(a.JID), key.Fingerprint()})
					return nil
				}); err != nil {
					return err
				}
			} else if err != nil {
				return err
			}
			if len(args) > 0 {
				all = slices.DeleteFunc(all, func(e otrKeyEntry) bool { return e.Account != args[0] })
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(all)
			}
			if len(all) == 0 {
				return failed(errors.New("no such account has an OTR key"), "list otr in the schemes of a bridge; the key is made at the first start")
			}
			for _, e := range all {
				sayf(g.out, "%s\t%s\t%s\n", e.Account, e.JID, trust.Spaced(e.Fingerprint))
				if !code {
					continue
				}
				if err := writeQR(g.out, keyURI(e2ee.KeyOTR, e.JID, e.Fingerprint)); err != nil {
					return failed(err, "")
				}
			}
			return nil
		},
	}
	jsonFlag(cmd, g)
	cmd.Flags().BoolVar(&code, "qr", false, "draw a QR code")
	return cmd
}

func newOTRKeysExport(g *globals) *cobra.Command {
	people := false
	cmd := &cobra.Command{
		Use:   "export [ACCOUNT]",
		Short: "Write secret keys, or people's fingerprints, as libotr's clients read them",
		Long: `Write the OTR keys of the bot's accounts, or of one of them, to stdout, as
libotr's clients read them. They are secret, and the bot must be stopped.

With --fingerprints: write what the bot knows of people's OTR keys, as those
clients keep it (otr.fingerprints, fingerprints.txt, JID.fpr). That is not secret,
and the bot may run. Keys that are revoked or not accepted are left out.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			only := ""
			if len(args) > 0 {
				only = args[0]
			}
			if people {
				return g.exportFingerprints(cmd, only)
			}
			var keys []otr.AccountKey
			if err := g.withOTRKeys(only, func(a *config.Account, key *otr.Key, _ *store.Store) error {
				keys = append(keys, otr.AccountKey{Name: bareJID(a.JID), Protocol: pidginXMPP, Key: key})
				return nil
			}); err != nil {
				return err
			}
			if len(keys) == 0 {
				return failed(errors.New("no such account has an OTR key"), "drawbridge otr keys show")
			}
			_, err := g.out.Write(otr.FormatKeys(keys))
			return err
		},
	}
	cmd.Flags().BoolVar(&people, "fingerprints", false, "write people's fingerprints instead of the bot's keys")
	return cmd
}

// pidginXMPP is the protocol of an account in libotr's files, as Pidgin names it;
// other clients do not look at it.
const pidginXMPP = "prpl-jabber"

// exportFingerprints writes the OTR keys of the people with whom an account of the bot,
// or each, is bridged.
func (g *globals) exportFingerprints(cmd *cobra.Command, only string) error {
	c, err := g.load()
	if err != nil {
		return err
	}
	var list []trustReport
	if err := g.trust(cmd, "list", trustArgs{}, &list); err != nil {
		return err
	}
	var known []otr.KnownKey
	for i := range c.Accounts {
		if a := &c.Accounts[i]; only == "" || a.Name == only {
			known = append(known, knownOTR(c, a, list)...)
		}
	}
	if len(known) == 0 {
		return failed(errors.New("no OTR key is known of the people of such an account"), "drawbridge trust list")
	}
	_, err = g.out.Write(otr.FormatFingerprints(known))
	return err
}

// knownOTR returns the OTR keys that count of the people with whom an account is
// bridged, once for each of their JIDs.
func knownOTR(c *config.Config, a *config.Account, list []trustReport) []otr.KnownKey {
	var known []otr.KnownKey
	for i := range c.People {
		p := &c.People[i]
		if !slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool {
			return b.XMPP != nil && b.XMPP.Account == a.Name && slices.Contains(b.XMPP.People, p.Name)
		}) {
			continue
		}
		for _, k := range list {
			if k.Person != p.Name || k.Kind != string(e2ee.KeyOTR) {
				continue
			}
			stood := ""
			switch k.State {
			case e2ee.KeyTrusted.String():
				stood = "verified"
			case e2ee.KeyKept.String():
			default:
				continue
			}
			for _, jid := range p.JIDs {
				known = append(known, otr.KnownKey{User: jid, Account: bareJID(a.JID), Protocol: pidginXMPP, Fingerprint: k.Fingerprint, Trust: stood})
			}
		}
	}
	return known
}

func newOTRKeysImport(g *globals) *cobra.Command {
	account := ""
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Take over an account's key, or print people's fingerprints to pin",
		Long: `Take the key of one of the bot's accounts from a file of libotr ("-" is stdin),
so that its fingerprint stays what people have verified. It takes the place of
the key in the store. Of a file of fingerprints (otr.fingerprints,
fingerprints.txt, JID.fpr) the lines to write into the configuration are printed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := g.readInput(args[0])
			if err != nil {
				return failed(err, "")
			}
			c, err := g.load()
			if err != nil {
				return err
			}
			keys, err := otr.ParseKeys(data)
			if err != nil {
				if known, ferr := otr.ParseFingerprints(data); ferr == nil && len(known) > 0 {
					g.sayFingerprints(c, known)
					return nil
				}
				return failed(fmt.Errorf("%s: %w", args[0], err), "it takes otr.private_key, keys.txt or JID.key of Pidgin, profanity or mcabber")
			}
			return g.importOTRKey(c, keys, account)
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "`NAME` of the account that gets the key (default: by its JID)")
	return cmd
}

// importOTRKey keeps the one of keys that is meant for an account of the bot.
func (g *globals) importOTRKey(c *config.Config, keys []otr.AccountKey, account string) error {
	for i := range c.Accounts {
		a := &c.Accounts[i]
		at := slices.IndexFunc(keys, func(k otr.AccountKey) bool { return strings.EqualFold(bareJID(k.Name), bareJID(a.JID)) })
		if account != "" {
			if a.Name != account {
				continue
			}
			if at < 0 && len(keys) == 1 {
				at = 0 // told so
			}
		}
		if at < 0 {
			continue
		}
		return g.withStore(c, func(st *store.Store) error {
			if err := keepOTRKey(context.Background(), st, a, keys[at].Key); err != nil {
				return err
			}
			sayf(g.out, "%s\t%s\t%s\n", a.Name, bareJID(a.JID), trust.Spaced(keys[at].Key.Fingerprint()))
			return nil
		})
	}
	return failed(errors.New("the file has no key of an account of the bot"), "name the account with --account NAME")
}

// sayFingerprints prints what to pin of a file of fingerprints.
func (g *globals) sayFingerprints(c *config.Config, known []otr.KnownKey) {
	for _, k := range known {
		who := "nobody in the configuration"
		for i := range c.People {
			if slices.ContainsFunc(c.People[i].JIDs, func(j string) bool { return strings.EqualFold(j, bareJID(k.User)) }) {
				who = "people." + c.People[i].Name
			}
		}
		stood := "not verified"
		if k.Trust != "" {
			stood = k.Trust
		}
		sayf(g.out, "%s: %s\totr: [%s]\n", who, clean(k.User), k.Fingerprint)
		sayf(g.err, "%s was %s in that client\n", trust.Spaced(k.Fingerprint), clean(stood))
	}
}

// withStore opens the store of a bot that is stopped.
func (g *globals) withStore(c *config.Config, f func(*store.Store) error) error {
	if c.Store.Memory {
		return failed(errors.New("this bot keeps everything in memory, so its OTR keys are new with each start"), "remove store.memory")
	}
	log := newQuiet()
	st, _, err := openStore(c, log)
	if err != nil {
		return err
	}
	defer closeStore(st, log)
	return f(st)
}

// withOTRKeys calls f for each account that has an OTR key in the store, or for
// one of them.
func (g *globals) withOTRKeys(only string, f func(*config.Account, *otr.Key, *store.Store) error) error {
	c, err := g.load()
	if err != nil {
		return err
	}
	return g.withStore(c, func(st *store.Store) error {
		for i := range c.Accounts {
			a := &c.Accounts[i]
			if only != "" && a.Name != only {
				continue
			}
			key, err := keptOTRKey(context.Background(), a, st)
			if err != nil {
				return err
			}
			if key == nil {
				continue
			}
			if err := f(a, key, st); err != nil {
				return err
			}
		}
		return nil
	})
}
