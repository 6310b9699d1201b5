package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Migration is the way of one bridge off IRC.
type Migration struct {
	Name string `yaml:"-"` // its key below migration: a bridge
	// Phase is where it begins, if the store knows nothing of it. Default: mirror.
	Phase string `yaml:"phase" cfg:"oneof=mirror|encrypted-first|irc-readonly|farewell|closed"`
	// Dates says when phases begin; one without is entered by hand.
	Dates MigrationDates `yaml:"dates"`
	Gates MigrationGates `yaml:"gates"`
	// Recent is how long ago somebody may have spoken and still counts. Default 30 days.
	Recent time.Duration `yaml:"recent" cfg:"min=24h,max=8760h,limit"`
	// To says where people find the team from now on. Required.
	To string `yaml:"to" cfg:"required,line"`
	// Forward is the channel that the server sends people to who want into the closed one.
	Forward string `yaml:"forward" cfg:"channel"`
	// Closes lists Jabber rooms of the bridge that are left, too.
	Closes []string `yaml:"closes" cfg:"one,room,noun=room"`
	// Ignore lists nicks and accounts that are not people.
	Ignore []string `yaml:"ignore" cfg:"one,word"`
	// Language lists what all are told in; the first is what !move speaks with people who
	// have not chosen. Default: english.
	Language []string `yaml:"language" cfg:"one,word"`
	// Texts is a file that stands for the program's own texts.
	Texts string `yaml:"texts" cfg:"path"`
}

// MigrationDates are when phases begin, as RFC 3339 has times; "": by hand.
type MigrationDates struct {
	EncryptedFirst string `yaml:"encrypted-first" cfg:"date"`
	IRCReadonly    string `yaml:"irc-readonly" cfg:"date"`
	Farewell       string `yaml:"farewell" cfg:"date"`
	Closed         string `yaml:"closed" cfg:"date"`
}

// MigrationGates is what must hold before irc-readonly and what follows; a block with a
// phase's name stands for it there.
type MigrationGates struct {
	Linked         int   `yaml:"linked" cfg:"min=1,max=100,percent,limit"`
	Verified       int   `yaml:"verified" cfg:"min=1,max=100,percent,limit"`
	Encrypted      int   `yaml:"encrypted" cfg:"min=1,max=100,percent,limit"`
	EncryptedFirst *Gate `yaml:"encrypted-first"`
	IRCReadonly    *Gate `yaml:"irc-readonly"`
	Farewell       *Gate `yaml:"farewell"`
	Closed         *Gate `yaml:"closed"`
}

// Gate is what must hold before one phase, in per cent; 0 is not asked for.
type Gate struct {
	Linked    int `yaml:"linked" cfg:"min=1,max=100,percent,limit"`
	Verified  int `yaml:"verified" cfg:"min=1,max=100,percent,limit"`
	Encrypted int `yaml:"encrypted" cfg:"min=1,max=100,percent,limit"`
}

// migrationPhases are the phases in their order.
var migrationPhases = []string{"mirror", "encrypted-first", "irc-readonly", "farewell", "closed"}

// Of returns the date of a phase; zero: it has none.
func (m *MigrationDates) Of(phase string) time.Time {
	text := map[string]string{"encrypted-first": m.EncryptedFirst, "irc-readonly": m.IRCReadonly, "farewell": m.Farewell, "closed": m.Closed}[phase]
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// Of returns the gate of a phase.
func (g *MigrationGates) Of(phase string) Gate {
	own := map[string]*Gate{"encrypted-first": g.EncryptedFirst, "irc-readonly": g.IRCReadonly, "farewell": g.Farewell, "closed": g.Closed}[phase]
	switch {
	case own != nil:
		return *own
	case phase == "mirror", phase == "encrypted-first":
		return Gate{}
	}
	return Gate{g.Linked, g.Verified, g.Encrypted}
}

// dateForms are how a date may be written; without a zone it is the machine's.
var dateForms = []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02T15:04", time.RFC3339}

// parseDate reads a date, or a date and a time.
func parseDate(s string) (string, *badValue) {
	for _, form := range dateForms {
		if at, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return at.Format(time.RFC3339), nil
		}
	}
	return "", bad("write 2027-03-01, or 2027-03-01 18:00", "%s is not a date", quote(s))
}

func (d *decoder) completeMigration(c *Config) {
	for i := range c.Migration {
		setDefault(&c.Migration[i].Phase, migrationPhases[0])
		setDefault(&c.Migration[i].Recent, 30*24*time.Hour)
	}
}

// checkMigration holds each way off IRC to what can be carried out.
func (d *decoder) checkMigration(c *Config) {
	if len(c.Migration) > 0 && c.Store.Memory {
		d.fail("store.memory", "remove it", "forgets phases and figures with each restart, and there is a migration")
	}
	channels := map[string]string{}
	for i := range c.Migration {
		m := &c.Migration[i]
		path := "migration." + m.Name
		d.checkMigrationDates(m, path)
		b := find(c.Bridges, m.Name, func(b *Bridge) string { return b.Name })
		switch {
		case b == nil:
			d.noSuch(path, m.Name, "bridges", names(c.Bridges, func(b *Bridge) string { return b.Name }))
			continue
		case len(b.IRC) == 0:
			d.fail(path, "remove it", "bridges.%s has no IRC channel to leave", b.Name)
			continue
		case b.XMPP == nil:
			d.fail(path, "add xmpp to the bridge", "bridges.%s has no Jabber side to go to", b.Name)
			continue
		}
		for _, ch := range b.IRC {
			id := ch.Network + " " + foldChannel(ch.Channel)
			if other, twice := channels[id]; twice {
				d.fail(path, "migrate them as one bridge", "channel %s is left by migration.%s already", ch.Channel, other)
			}
			channels[id] = m.Name
			d.checkMigrated(c, path, ch)
		}
		for n, lang := range m.Language {
			if slices.Contains(m.Language[:n], lang) {
				d.fail(fmt.Sprintf("%s.language[%d]", path, n), "keep one of them", "%s stands twice", quote(lang))
			}
		}
		d.checkForward(c, m, b, path)
		d.checkCloses(c, m, b, path)
	}
}

// checkMigrated wants a channel guarded: the guard is who changes it.
func (d *decoder) checkMigrated(c *Config, path string, ch Channel) {
	if ch.Channel == "" || ch.Network == "" || d.anyBroken("rooms") {
		return
	}
	guarded := slices.ContainsFunc(c.Rooms, func(r Room) bool {
		return r.IRC != nil && r.IRC.Network == ch.Network && foldChannel(r.IRC.Channel) == foldChannel(ch.Channel)
	})
	if !guarded {
		d.fail(path, fmt.Sprintf("add rooms: {%s: {irc: {network: %s, channel: %q}, default: allow}}", strings.SplitN(path, ".", 2)[1], ch.Network, ch.Channel),
			"channel %s of %s is not guarded, so nobody can make it read-only or close it", ch.Channel, ch.Network)
	}
}

// checkForward wants another channel for those who are sent on, and tells of one where the
// bot is not: servers ask whoever sets it to be op there.
func (d *decoder) checkForward(c *Config, m *Migration, b *Bridge, path string) {
	if m.Forward == "" || d.anyBroken("rooms") || d.anyBroken("bridges") {
		return
	}
	to := foldChannel(m.Forward)
	is := func(network, channel string) bool {
		return foldChannel(channel) == to && slices.ContainsFunc(b.IRC, func(x Channel) bool { return x.Network == network })
	}
	switch {
	case slices.ContainsFunc(b.IRC, func(x Channel) bool { return is(x.Network, x.Channel) }):
		d.fail(path+".forward", "name another channel", "%s is the channel that is closed", m.Forward)
	case !slices.ContainsFunc(c.Rooms, func(r Room) bool { return r.IRC != nil && is(r.IRC.Network, r.IRC.Channel) }) &&
		!slices.ContainsFunc(c.Bridges, func(x Bridge) bool {
			return slices.ContainsFunc(x.IRC, func(x Channel) bool { return is(x.Network, x.Channel) })
		}):
		d.warn(path+".forward", "add it to rooms, and give the bot op there", "the bot is not in %s, and only an op of that channel may send people on to it", m.Forward)
	}
}

// checkCloses wants the rooms that are left to be rooms of the bridge, and guarded.
func (d *decoder) checkCloses(c *Config, m *Migration, b *Bridge, path string) {
	for i, room := range m.Closes {
		at := fmt.Sprintf("%s.closes[%d]", path, i)
		switch {
		case room == "":
		case !slices.ContainsFunc(b.XMPP.Rooms, func(x MUC) bool { return x.Room == room }):
			d.fail(at, "name one of bridges."+b.Name+".xmpp.rooms", "%s is not a room of the bridge", room)
		case !slices.ContainsFunc(c.Rooms, func(r Room) bool { return r.XMPP != nil && r.XMPP.Room == room }):
			d.fail(at, "add it to rooms", "%s is not guarded, so nobody can close it", room)
		}
	}
}

// checkMigrationDates wants the dates in the order of the phases, and none left out.
func (d *decoder) checkMigrationDates(m *Migration, path string) {
	if d.anyBroken(path) {
		return
	}
	first := slices.Index(migrationPhases, m.Phase)
	undated, last, lastAt := "", "", time.Time{}
	for i, phase := range migrationPhases {
		at := m.Dates.Of(phase)
		switch key := path + ".dates." + phase; {
		case i == 0:
		case at.IsZero() && i > first:
			undated = phase
		case at.IsZero():
		case undated != "":
			d.fail(key, "give "+undated+" a date before it, or remove this one and enter the phases by hand", "has a date, and %s before it has none: no phase can be skipped", undated)
			return
		case !lastAt.IsZero() && !at.After(lastAt):
			d.fail(key, "phases come in the order "+strings.Join(migrationPhases, ", "), "is not after the date of %s", last)
		default:
			last, lastAt = phase, at
		}
	}
}

// PastDates lists the dates that lie before now, of phases after the first.
func (c *Config) PastDates(now time.Time) (out []Error) {
	for i := range c.Migration {
		m := &c.Migration[i]
		for n, phase := range migrationPhases {
			if at := m.Dates.Of(phase); !at.IsZero() && at.Before(now) && n > slices.Index(migrationPhases, m.Phase) {
				out = append(out, c.Errorf("migration."+m.Name+".dates."+phase, "write one that lies ahead", "%s is in the past", at.Format("2006-01-02 15:04")))
			}
		}
	}
	return out
}
