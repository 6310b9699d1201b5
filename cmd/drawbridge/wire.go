package main

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/link"
	"drawbridge/internal/config"
	"drawbridge/internal/store"
	"drawbridge/irc"
	"drawbridge/policy"
	"drawbridge/xmpp"
	"drawbridge/xmpp/e2ee"
	"drawbridge/xmpp/openpgp"
	"drawbridge/xmpp/ox"
	"drawbridge/xmpp/stream"
	"drawbridge/xmpp/trust"
)

// This file is the only one that names every leg, scheme and store, and turns
// the configuration into what each of them takes.

// ircConfig is what the leg of one network takes.
func ircConfig(c *config.Config, n *config.Network) irc.Config {
	out := irc.Config{
		Name:      n.Name,
		Servers:   n.Server,
		TLSOff:    n.TLS == config.TLSOff,
		CAFile:    n.CAFile,
		PinSHA256: n.PinSHA256,
		Nick:      n.Nick,
		User:      n.Username,
		Realname:  n.Realname,
		Password:  n.Password.Expose(),
		Version:   product(),
		Services:  n.Services,
	}
	if s := n.SASL; s != nil {
		out.CertFile = s.CertFile
		out.SASL = irc.SASLConfig{Mechanism: s.Mechanism, Account: s.Account, Password: s.Password.Expose()}
	}
	for _, b := range c.Bridges {
		for _, ch := range b.IRC {
			if ch.Network == n.Name {
				out.Channels = append(out.Channels, irc.ChannelConfig{Name: ch.Channel, Key: ch.Key.Expose()})
			}
		}
	}
	for i := range c.Rooms {
		r := c.Rooms[i].IRC
		bridged := func(ch irc.ChannelConfig) bool { return irc.Room(n.Name, ch.Name) == irc.Room(n.Name, r.Channel) }
		if r != nil && r.Network == n.Name && !slices.ContainsFunc(out.Channels, bridged) {
			out.Channels = append(out.Channels, irc.ChannelConfig{Name: r.Channel})
		}
	}
	return out
}

// xmppConfig is what the leg of one account takes.
func xmppConfig(c *config.Config, a *config.Account) xmpp.Config {
	out := xmpp.Config{
		Name:     a.Name,
		JID:      a.JID,
		Password: a.Password.Expose(),
		Server:   a.Server,
		TLS:      stream.TLS{Mode: streamTLS(a.TLS), CAFile: a.CAFile, Pins: a.PinSHA256},
		Version:  product(),

		AllowPlain: a.AllowPlain,
		Schemes:    map[string][]string{},
	}
	for _, b := range c.Bridges {
		if b.XMPP == nil || b.XMPP.Account != a.Name {
			continue
		}
		for _, name := range b.XMPP.People {
			if p := c.Person(name); p != nil {
				out.People = append(out.People, *p.Policy())
				out.Schemes[name] = b.Schemes
			}
		}
		for _, r := range b.XMPP.Rooms {
			out.Rooms = append(out.Rooms, xmpp.RoomConfig{JID: r.Room, Nick: r.Nick, Password: r.Password.Expose()})
		}
	}
	for i := range c.Rooms {
		r := c.Rooms[i].XMPP
		if r != nil && r.Account == a.Name && !slices.ContainsFunc(out.Rooms, func(o xmpp.RoomConfig) bool { return o.JID == r.Room }) {
			out.Rooms = append(out.Rooms, xmpp.RoomConfig{JID: r.Room})
		}
	}
	return out
}

func streamTLS(m config.TLSMode) stream.TLSMode {
	switch m {
	case config.TLSDirect:
		return stream.DirectTLS
	case config.TLSOff:
		return stream.NoTLS
	default:
		return stream.StartTLS
	}
}

// product is how the bot names itself to servers.
func product() string { return "Drawbridge " + readVersion().Version }

// coreConfig is what the core takes. links may be nil.
func coreConfig(c *config.Config, legs []leg, links *link.Book) bridge.Config {
	out := bridge.Config{Admins: c.Admin.People, AdminRung: policy.Verified, QueueRows: c.Store.Queue}
	if c.Admin.AtLeast == "jid" {
		out.AdminRung = policy.Sealed
	}
	for _, l := range legs {
		out.Legs = append(out.Legs, l.Leg)
	}
	for i := range c.People {
		out.People = append(out.People, *linked([]*policy.Person{c.People[i].Policy()}, links)[0])
	}
	for i := range c.Bridges {
		out.Bridges = append(out.Bridges, bridgeConfig(&c.Bridges[i]))
	}
	return out
}

func bridgeConfig(b *config.Bridge) bridge.BridgeConfig {
	out := bridge.BridgeConfig{
		Name:        b.Name,
		Floor:       b.Require,
		Schemes:     b.Schemes,
		WhenBlocked: bridge.BlockedConfig{Hold: orNone(b.WhenBlocked.Hold)},
		Offline:     bridge.OfflineConfig{Keep: orNone(b.Offline.Keep), Lines: orNone(b.Offline.Lines)},
		Late:        bridge.LateConfig{After: b.Late.After, Digest: orNone(b.Late.Digest)},
		ShowIRC:     b.Show.IRC,
		ShowXMPP:    b.Show.XMPP,
		Announce:    b.Announce,
	}
	if b.OnDoubt == "skip" {
		out.OnDoubt = bridge.Skip
	}
	if b.Show.Joins == "digest" {
		out.Joins = bridge.JoinsDigest
	}
	for _, ch := range b.IRC {
		rc := bridge.RoomConfig{Room: irc.Room(ch.Network, ch.Channel)}
		if ch.Require == policy.Clear.String() { // no TLS there: people are told
			rc.Floor = &policy.Floor{}
		}
		out.Rooms = append(out.Rooms, rc)
	}
	if b.XMPP == nil {
		return out
	}
	for _, p := range b.XMPP.People {
		out.Rooms = append(out.Rooms, bridge.RoomConfig{Room: bridge.Room{Leg: b.XMPP.Account, Kind: bridge.Chat, Name: p}})
	}
	for _, m := range b.XMPP.Rooms {
		rc := bridge.RoomConfig{Room: bridge.Room{Leg: b.XMPP.Account, Kind: bridge.MUC, Name: m.Room}}
		if m.Require == policy.Clear.String() {
			rc.Floor = &policy.Floor{}
		}
		out.Rooms = append(out.Rooms, rc)
	}
	return out
}

// orNone makes an explicit 0 of the configuration, which has its defaults filled
// in already, less than anything: for the core 0 means its own default.
func orNone[T int | time.Duration](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

// buildLeg makes the leg of the network or account called name. st keeps how far
// its archives and channels were read; without a store that dies with the process.
func buildLeg(st *store.Store, log *slog.Logger) builder {
	var cursors bridge.Cursors
	if st != nil {
		cursors = st
	}
	return func(c *config.Config, k *keys, name string) (leg, error) {
		if n := c.Network(name); n != nil {
			return buildIRC(c, n, cursors, log)
		}
		return buildXMPP(c, c.Account(name), k, cursors, log)
	}
}

func buildIRC(c *config.Config, n *config.Network, cursors bridge.Cursors, log *slog.Logger) (leg, error) {
	l, err := irc.New(ircConfig(c, n), irc.Deps{Log: log, Cursors: cursors})
	if err != nil {
		return leg{}, c.Errorf("networks."+n.Name, "", "%v", err)
	}
	return leg{
		Leg: l, proto: "irc",
		apply: func(c *config.Config) error { return l.Reconfigure(ircConfig(c, c.Network(n.Name))) },
	}, nil
}

func buildXMPP(c *config.Config, a *config.Account, k *keys, cursors bridge.Cursors, log *slog.Logger) (leg, error) {
	l, err := xmpp.New(xmppConfig(c, a), xmpp.Deps{Log: log, Schemes: k.schemes(a.Name), Cursors: cursors})
	if err != nil {
		return leg{}, c.Errorf("accounts."+a.Name, "", "%v", err)
	}
	return leg{
		Leg: l, proto: "xmpp",
		apply:       func(c *config.Config) error { return l.Reconfigure(xmppConfig(c, c.Account(a.Name))) },
		keysChanged: l.KeysChanged, trustChanged: l.TrustChanged, ask: l.AskSMP,
		newcomers: newNewcomers(l, xmppConfig(c, a)),
	}, nil
}

// schemes are the encryption schemes of an account, in no order of preference.
func (k *keys) schemes(account string) []e2ee.Scheme {
	var out []e2ee.Scheme
	if s := k.accounts[account]; s != nil {
		out = append(out, s, k.ox[account])
	}
	if s := k.otr[account]; s != nil {
		out = append(out, s)
	}
	return out
}

// storeConfig is what the store takes.
func storeConfig(c *config.Config) store.Config {
	return store.Config{
		Dir:       c.Store.Path,
		Key:       store.Key{Material: []byte(c.Store.Key.Expose()), Passphrase: c.Store.Passphrase.Expose()},
		RetainIDs: c.Store.Retain.IDs, RetainAudit: c.Store.Retain.Audit,
	}
}

// openStore opens the store and its memory of replays. Without a store, by
// `memory: true`, the memory of replays dies with the process, too.
func openStore(c *config.Config, log *slog.Logger) (*store.Store, e2ee.Replay, error) {
	if c.Store.Memory {
		log.Warn("store.memory is set: what waits dies with this process")
		return nil, e2ee.NewReplayCache(c.Store.Retain.IDs, 0), nil
	}
	s, err := store.Open(storeConfig(c), store.Deps{Log: log})
	if err != nil {
		return nil, nil, storeFailed(err)
	}
	replay, err := s.Replay(context.Background(), 0)
	if err != nil {
		closeStore(s, log)
		return nil, nil, storeFailed(err)
	}
	return s, replay, nil
}

// newOpenPGP makes the XEP-0027 scheme of an account.
func newOpenPGP(a *config.Account, own *openpgp.Secret, k *keys, log *slog.Logger) *openpgp.Scheme {
	deps := openpgp.Deps{Log: log, Replay: k.replay}
	if k.book != nil {
		deps.Trust = k.book
	}
	return openpgp.New(openpgp.Config{Account: a.Name, Secret: own, Keyring: k.ring, Unsigned: a.OpenPGP.Unsigned}, deps)
}

// trustConfig is what the book of keys takes.
func trustConfig(c *config.Config) trust.Config {
	out := trust.Config{TOFU: map[string]map[string]bool{}, Secrets: map[string]string{}}
	for i := range c.People {
		p := &c.People[i]
		out.People = append(out.People, p.Policy())
		if p.OTRSecret.Set() {
			out.Secrets[p.Name] = strings.TrimSpace(p.OTRSecret.Expose())
		}
	}
	for _, b := range c.Bridges {
		if b.XMPP == nil || b.Trust != "tofu" {
			continue
		}
		if out.TOFU[b.XMPP.Account] == nil {
			out.TOFU[b.XMPP.Account] = map[string]bool{}
		}
		for _, p := range b.XMPP.People {
			out.TOFU[b.XMPP.Account][p] = true
		}
	}
	return out
}

// newOX makes the OX scheme of an account, with the keys of its XEP-0027 scheme.
func newOX(account string, pgp *openpgp.Scheme, ring *openpgp.Keyring, replay e2ee.Replay, log *slog.Logger) *ox.Scheme {
	return ox.New(ox.Config{Account: account, Codec: pgp.Codec(), Keyring: ring}, ox.Deps{Log: log, Replay: replay})
}

// bareJID is jid without its resource.
func bareJID(jid string) string {
	bare, _, _ := strings.Cut(jid, "/")
	return bare
}

// domain is the domain of a JID.
func domain(jid string) string {
	_, d, _ := strings.Cut(bareJID(jid), "@")
	return d
}
