package main

import (
	"slices"
	"strconv"

	"drawbridge/internal/config"
)

// nextLegs returns the legs of c, keeping those that are there already, and
// which those are. It changes nothing: it fails if any of them cannot take c.
func (b *bot) nextLegs(c *config.Config, k *keys) (next, kept []leg, err error) {
	for _, name := range legNames(c) {
		l, err := b.build(c, k, name)
		if err != nil {
			return nil, nil, err
		}
		i := slices.IndexFunc(b.legs, func(old leg) bool { return old.Name() == name && old.proto == l.proto })
		if i >= 0 {
			l = b.legs[i]
			kept = append(kept, l)
		}
		next = append(next, l)
	}
	return next, kept, nil
}

// needRestart are the settings that differ and that a running bot cannot change.
func needRestart(old, now *config.Config) []string {
	var out []string
	for _, s := range []struct {
		key      string
		old, now string
	}{
		{"admin.socket", old.Admin.Socket, now.Admin.Socket},
		{"metrics.listen", old.Metrics.Listen, now.Metrics.Listen},
		{"log.format", old.Log.Format, now.Log.Format},
		{"store.memory", strconv.FormatBool(old.Store.Memory), strconv.FormatBool(now.Store.Memory)},
		{"store.path", old.Store.Path, now.Store.Path},
		{"store.key", old.Store.Key.Expose(), now.Store.Key.Expose()},
		{"store.passphrase", old.Store.Passphrase.Expose(), now.Store.Passphrase.Expose()},
		{"store.retain.ids", old.Store.Retain.IDs.String(), now.Store.Retain.IDs.String()},
		{"store.retain.audit", old.Store.Retain.Audit.String(), now.Store.Retain.Audit.String()},
	} {
		if s.old != s.now {
			out = append(out, s.key)
		}
	}
	for i := range now.Accounts {
		a := &now.Accounts[i]
		if o := old.Account(a.Name); o != nil && o.OpenPGP != nil && a.OpenPGP != nil && o.OpenPGP.Unsigned != a.OpenPGP.Unsigned {
			out = append(out, "accounts."+a.Name+".openpgp.unsigned")
		}
		if o := old.Account(a.Name); o != nil && speaksOTR(old, a.Name) != speaksOTR(now, a.Name) {
			out = append(out, "accounts."+a.Name+".otr")
		}
	}
	return out
}
