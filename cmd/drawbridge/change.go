package main

import (
	"reflect"
	"slices"

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

// changedLegs are the names of the networks and accounts that are in both, with
// other settings.
func changedLegs(old, now *config.Config) []string {
	var names []string
	for i := range now.Networks {
		n := &now.Networks[i]
		if o := old.Network(n.Name); o != nil && !reflect.DeepEqual(o, n) {
			names = append(names, n.Name)
		}
	}
	for i := range now.Accounts {
		a := &now.Accounts[i]
		if o := old.Account(a.Name); o != nil && !reflect.DeepEqual(o, a) {
			names = append(names, a.Name)
		}
	}
	return names
}

// changedSettings are the settings outside legs, bridges and people that differ:
// those that apply at once, and those that need a restart.
func changedSettings(old, now *config.Config) (live, restart []string) {
	for _, s := range []struct {
		key      string
		old, now any
		live     bool
	}{
		{"keyring.paths", old.Keyring, now.Keyring, true},
		{"admin.people", old.Admin.People, now.Admin.People, true},
		{"admin.socket", old.Admin.Socket, now.Admin.Socket, false},
		{"metrics.listen", old.Metrics, now.Metrics, false},
		{"log.level", old.Log.Level, now.Log.Level, true},
		{"log.format", old.Log.Format, now.Log.Format, false},
	} {
		if reflect.DeepEqual(s.old, s.now) {
			continue
		}
		if s.live {
			live = append(live, s.key)
		} else {
			restart = append(restart, s.key)
		}
	}
	return live, restart
}
