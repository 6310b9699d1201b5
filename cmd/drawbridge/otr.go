package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"

	"drawbridge/internal/config"
	"drawbridge/internal/store"
	"drawbridge/policy"
	"drawbridge/xmpp/otr"
)

// otrSecret is the kind of secret under which the store keeps OTR keys, by account.
const otrSecret = "otr"

// speaksOTR reports whether a bridge of the account lists otr.
func speaksOTR(c *config.Config, account string) bool {
	return slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool {
		return b.XMPP != nil && b.XMPP.Account == account && slices.Contains(b.Schemes, otr.Name)
	})
}

// openOTR makes the OTR schemes of the accounts that speak it, or keeps those of
// prev, whose sessions go on, and which do not change before commit. An account's key
// is made when it is first needed.
func (k *keys) openOTR(c *config.Config, prev *keys, st *store.Store, log *slog.Logger) error {
	k.otr, k.formats = map[string]*otr.Scheme{}, new(atomic.Pointer[map[string]otr.Format])
	formats := otrFormats(c)
	if prev != nil && prev.formats != nil {
		k.formats, k.nextFormats = prev.formats, formats
	} else {
		k.formats.Store(&formats)
	}
	k.starts = map[string]otr.Start{}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		if !speaksOTR(c, a.Name) {
			continue
		}
		if prev != nil && prev.otr[a.Name] != nil {
			start, err := otr.ParseStart(a.OTR.Start)
			if err != nil {
				return c.Errorf("accounts."+a.Name+".otr", "", "%v", err)
			}
			k.otr[a.Name], k.starts[a.Name] = prev.otr[a.Name], start
			continue
		}
		key, err := otrKey(context.Background(), a, st, log)
		if err != nil {
			return err
		}
		if k.otr[a.Name], err = newOTR(a, key, k, log); err != nil {
			return c.Errorf("accounts."+a.Name+".otr", "", "%v", err)
		}
	}
	return nil
}

// commitOTR changes the schemes that stay as the configuration asks.
func (k *keys) commitOTR() {
	for name, start := range k.starts {
		k.otr[name].SetStart(start)
	}
	if k.nextFormats != nil {
		k.formats.Store(&k.nextFormats)
	}
}

// otrKey reads the account's key from the store, or makes it. Without a store it
// is another one with each start, and contacts must verify it anew.
func otrKey(ctx context.Context, a *config.Account, st *store.Store, log *slog.Logger) (*otr.Key, error) {
	if st != nil {
		if kept, err := keptOTRKey(ctx, a, st); err != nil || kept != nil {
			return kept, err
		}
	}
	key, err := otr.NewKey()
	if err != nil {
		return nil, failed(err, "")
	}
	log.Info("made an OTR key", "leg", a.Name, "fpr", key.Fingerprint())
	if st == nil {
		return key, nil
	}
	return key, keepOTRKey(ctx, st, a, key)
}

// keptOTRKey reads the account's key from the store; nil if there is none.
func keptOTRKey(ctx context.Context, a *config.Account, st *store.Store) (*otr.Key, error) {
	kept, err := st.Secret(ctx, otrSecret, a.Name)
	if err != nil {
		return nil, storeFailed(err)
	}
	if kept == nil {
		return nil, nil
	}
	list, err := otr.ParseKeys(kept)
	if err != nil || len(list) != 1 {
		return nil, storeFailed(fmt.Errorf("the OTR key of account %s: %w", a.Name, errors.Join(store.ErrCorrupt, err)))
	}
	return list[0].Key, nil
}

// keepOTRKey seals the account's key in the store.
func keepOTRKey(ctx context.Context, st *store.Store, a *config.Account, key *otr.Key) error {
	file := otr.FormatKeys([]otr.AccountKey{{Name: bareJID(a.JID), Protocol: "prpl-jabber", Key: key}})
	if err := st.SetSecret(ctx, otrSecret, a.Name, file); err != nil {
		return storeFailed(err)
	}
	return nil
}

// newOTR makes the OTR scheme of an account.
func newOTR(a *config.Account, key *otr.Key, k *keys, log *slog.Logger) (*otr.Scheme, error) {
	start, err := otr.ParseStart(a.OTR.Start)
	if err != nil {
		return nil, err
	}
	deps := otr.Deps{Log: log}
	if k.book != nil {
		deps.Trust, deps.SMP = k.book, k.book
	}
	return otr.New(otr.Config{Account: a.Name, Key: key, Start: start, Format: k.otrFormat}, deps), nil
}

// otrFormat is how the config says that a person's client writes.
func (k *keys) otrFormat(p *policy.Person) otr.Format {
	if f := k.formats.Load(); f != nil && p != nil {
		return (*f)[p.Name]
	}
	return otr.FormatAuto
}

// otrFormats are the formats that c names, by person.
func otrFormats(c *config.Config) map[string]otr.Format {
	out := map[string]otr.Format{}
	for i := range c.People {
		if f, err := otr.ParseFormat(c.People[i].OTRText); err == nil { // config has checked it
			out[c.People[i].Name] = f
		}
	}
	return out
}
