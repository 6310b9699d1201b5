package main

import (
	"context"
	"errors"
	"slices"

	"drawbridge/bridge"
	"drawbridge/bridge/migrate"
	"drawbridge/internal/config"
	"drawbridge/irc"
)

// migrateMoves are the bridges of c that are on their way off IRC.
func migrateMoves(c *config.Config, texts migrationTexts) (out []migrate.Move) {
	for i := range c.Migration {
		m := &c.Migration[i]
		mv := migrate.Move{Bridge: m.Name, Recent: m.Recent, To: m.To, Forward: m.Forward, Ignore: m.Ignore, Texts: texts[m.Name], Languages: m.Language}
		mv.Begin, _ = migrate.ParsePhase(m.Phase) // checked
		for _, p := range migrate.Phases() {
			g := m.Gates.Of(p.String())
			mv.Dates[p], mv.Gates[p] = m.Dates.Of(p.String()), migrate.Gates{Linked: g.Linked, Verified: g.Verified, Encrypted: g.Encrypted}
		}
		b := &c.Bridges[slices.IndexFunc(c.Bridges, func(b config.Bridge) bool { return b.Name == m.Name })]
		for _, ch := range b.IRC {
			mv.Channels = append(mv.Channels, irc.Room(ch.Network, ch.Channel))
			if n := c.Network(ch.Network); n != nil { // the bot is nobody who has to move
				mv.Ignore = append(mv.Ignore, n.Nick)
			}
		}
		for _, room := range m.Closes {
			mv.Old = append(mv.Old, bridge.Room{Leg: b.XMPP.Account, Kind: bridge.MUC, Name: room})
		}
		out = append(out, mv)
	}
	return out
}

// newMover makes the mover, which counts for the core and has the guard do what phases
// ask. Without a migration it does nothing, until a reload brings one.
func (b *bot) newMover(core *bridge.Deps, texts migrationTexts) {
	deps := migrate.Deps{
		Log: b.log, Guard: b.guard, Core: lateCore{b}, People: func() *migrate.People { return b.people.Load() },
		Alarm: func(text string) { b.core.TellAdmins("Migration: " + text) },
	}
	if b.store != nil {
		deps.Store = b.store.Migrate()
	}
	b.people.Store(migrate.NewPeople(b.spec.People))
	b.mover = migrate.New(migrateMoves(b.cfg, texts), deps)
	core.Census, core.Migrate = b.mover, migrateDesk{b.migrateOrders}
}

// lateCore is the core of a bot that is still being made.
type lateCore struct{ b *bot }

// Announce implements migrate.Core.
func (c lateCore) Announce(name, text string, kinds ...bridge.RoomKind) int {
	return c.b.core.Announce(name, text, kinds...)
}

// SetMarks implements migrate.Core.
func (c lateCore) SetMarks(marks map[string]string) { c.b.core.SetMarks(marks) }

// migrateOrders is who takes orders about migrations; nil where there is none.
func (b *bot) migrateOrders() migrate.Orders {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.cfg.Migration) == 0 {
		return nil
	}
	return b.mover
}

// pastDates makes errors of the configuration of what Mover.Load and CheckDates say.
func pastDates(c *config.Config, err error) error {
	var list config.Errors
	for _, e := range split(err) {
		var past *migrate.PastError
		if !errors.As(e, &past) {
			return err
		}
		list = append(list, c.Errorf("migration."+past.Bridge+".dates."+past.Phase.String(), "write one that lies ahead, or enter the phase by hand", "%s is in the past", past.Date.Format("2006-01-02 15:04")))
	}
	return list
}

// loadMover takes over how far bridges are. It is called once, before anything runs.
func (b *bot) loadMover() error {
	err := b.mover.Load(context.Background())
	switch {
	case errors.Is(err, migrate.ErrPast):
		return pastDates(b.cfg, err)
	case err != nil:
		return storeFailed(err)
	}
	return nil
}
