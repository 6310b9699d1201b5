package main

import (
	"drawbridge/internal/config"
	"drawbridge/irc"
	"drawbridge/policy"
	"drawbridge/xmpp"
	"drawbridge/xmpp/stream"
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
	return out
}

// xmppConfig is what the leg of one account takes.
func xmppConfig(c *config.Config, a *config.Account) xmpp.Config {
	out := xmpp.Config{
		Name:     a.Name,
		JID:      a.JID,
		Password: a.Password.Expose(),
		TLS:      stream.TLS{CAFile: a.CAFile},
		Version:  product(),
	}
	for _, b := range c.Bridges {
		if b.XMPP == nil || b.XMPP.Account != a.Name {
			continue
		}
		for _, name := range b.XMPP.People {
			if p := c.Person(name); p != nil {
				out.People = append(out.People, *p.Policy())
			}
		}
		for _, r := range b.XMPP.Rooms {
			out.Rooms = append(out.Rooms, xmpp.RoomConfig{JID: r.Room, Nick: r.Nick, Password: r.Password.Expose()})
		}
	}
	return out
}

// people are all configured persons, by name.
func people(c *config.Config) map[string]*policy.Person {
	out := make(map[string]*policy.Person, len(c.People))
	for i := range c.People {
		out[c.People[i].Name] = c.People[i].Policy()
	}
	return out
}

// product is how the bot names itself to servers.
func product() string { return "Drawbridge " + readVersion().Version }
