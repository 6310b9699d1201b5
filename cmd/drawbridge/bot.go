package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/bridge/migrate"
	"drawbridge/bridge/move"
	"drawbridge/internal/config"
	"drawbridge/internal/store"
	"drawbridge/policy"
)

// bot is a running drawbridge: the core, its legs and keys, and the
// configuration they were made of.
type bot struct {
	path    string // of the configuration
	log     *slog.Logger
	level   *slog.LevelVar
	started time.Time
	core    *bridge.Core
	store   *store.Store // nil: everything is in memory
	build   builder
	company *companyKey // nil without a book of keys
	guard   *guard.Guard
	links   *link.Book
	mover   *migrate.Mover
	moves   *move.Desk
	people  atomic.Pointer[migrate.People] // those of spec, without a lock

	mu   sync.Mutex // guards what follows, and makes reloads come one by one
	cfg  *config.Config
	keys *keys
	legs []leg
	spec policy.Spec // that the guard has
	// known are the keys by which people were known as it was given that, by name.
	known map[string][]string
	// untold are the rules that ask for what a network never tells, as the log has said.
	untold map[config.Error]bool
}

// leg is a leg that takes another configuration while it runs.
type leg struct {
	bridge.Leg
	proto string // "irc" or "xmpp"
	// apply gives the leg its part of c. A leg newly built of c proved
	// that it can.
	apply func(c *config.Config) error
	// keysChanged tells the leg that keys were read anew; nil if it has none.
	keysChanged func()
	// trustChanged tells the leg that other keys of a person count; nil if it has
	// no people.
	trustChanged func(person string)
	// ask asks a person for the shared secret (SMP); nil if it cannot.
	ask func(person, question string) error
	// newcomers is what an XMPP account can do for people who are new; nil on IRC.
	newcomers *newcomers
}

// builder makes a leg for a network or an account of c; wire.go has the real one.
type builder func(c *config.Config, k *keys, name string) (leg, error)

// newBot makes everything that c asks for, and starts nothing. Without a store,
// everything is kept in memory.
func newBot(c *config.Config, k *keys, build builder, st *store.Store, log *slog.Logger, level *slog.LevelVar) (*bot, error) {
	b := &bot{store: st, path: c.File, log: log, level: level, started: time.Now(), build: build, cfg: c, keys: k}
	for _, name := range legNames(c) {
		l, err := build(c, k, name)
		if err != nil {
			return nil, err
		}
		b.legs = append(b.legs, l)
	}
	deps := bridge.Deps{Log: log}
	if st != nil {
		deps.Journal = st
	}
	if k.book != nil {
		deps.Trust = desk{k.book}
	}
	if err := b.newGuard(&deps); err != nil {
		return nil, err
	}
	texts, err := readTexts(c)
	if err != nil {
		return nil, err
	}
	b.newMover(&deps, texts)
	b.newMoves(&deps, texts)
	core, err := bridge.New(coreConfig(c, b.legs, b.links), deps)
	if err != nil {
		return nil, err
	}
	b.core = core
	return b, nil
}

// legNames are the names of the networks and accounts that bridges and guarded rooms of
// c use, in the order of the file. One that nothing uses is not connected.
func legNames(c *config.Config) []string {
	var names []string
	add := func(name string, used bool) {
		if used {
			names = append(names, name)
		}
	}
	for _, n := range c.Networks {
		add(n.Name, slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool {
			return slices.ContainsFunc(b.IRC, func(ch config.Channel) bool { return ch.Network == n.Name })
		}) || slices.ContainsFunc(c.Rooms, func(r config.Room) bool { return r.IRC != nil && r.IRC.Network == n.Name }))
	}
	for _, a := range c.Accounts {
		add(a.Name, slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool { return b.XMPP != nil && b.XMPP.Account == a.Name }) ||
			slices.ContainsFunc(c.Rooms, func(r config.Room) bool { return r.XMPP != nil && r.XMPP.Account == a.Name }))
	}
	return names
}

// change is what a reload did, for the log and for `drawbridge reload`.
type change struct {
	Core bridge.Diff `json:"core"`
	// Config are lines for people: "bridges.dev: + person carol".
	Config []string `json:"config,omitempty"`
	Keys   []string `json:"keys,omitempty"` // of the bot, that are new
	// NeedRestart names what has changed in the file and cannot change while
	// the bot runs.
	NeedRestart []string `json:"need_restart,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
}

// lines tells the change to people, a line for each thing.
func (c *change) lines() []string {
	out := slices.Concat(c.Config, c.Keys)
	for _, k := range c.NeedRestart {
		out = append(out, "! "+k+" changes with a restart only")
	}
	if c.Core.Bounced > 0 {
		out = append(out, fmt.Sprintf("! %d waiting lines of removed rooms went back to their senders", c.Core.Bounced))
	}
	for _, w := range c.Warnings {
		out = append(out, "! "+w)
	}
	return out
}

// errReload wraps what is wrong with a configuration that reload refused.
var errReload = errors.New("the new configuration was refused, the old one stays")

// reload reads the configuration anew and changes to it, whole or not at all.
// Legs that are in both keep their connections.
func (b *bot) reload() (*change, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, err := config.Load(b.path, loadOptions())
	var ch *change
	if err == nil {
		ch, err = b.change(c)
	}
	if err != nil {
		b.log.Error("configuration refused, the old one stays", "err", err)
		return nil, fmt.Errorf("%w:\n%w", errReload, err)
	}
	lines := ch.lines()
	for _, l := range lines {
		b.log.Info("reloaded", "change", l)
	}
	if len(lines) == 0 {
		b.log.Info("reloaded: nothing changed")
	}
	return ch, nil
}

// change changes to c. b.mu is held.
func (b *bot) change(c *config.Config) (*change, error) {
	k, err := openKeys(c, b.keys, b.cfg, b.log)
	if err != nil {
		return nil, err
	}
	if err := k.openOTR(c, b.keys, b.store, b.log); err != nil {
		return nil, err
	}
	next, kept, err := b.nextLegs(c, k)
	if err != nil {
		return nil, err
	}
	texts, err := readTexts(c)
	if err != nil {
		return nil, err
	}
	people, moves := moveBridges(c, texts), migrateMoves(c, texts)
	if err := b.mover.CheckDates(moves); err != nil {
		return nil, pastDates(c, err)
	}
	diff, err := b.core.Reload(coreConfig(c, next, b.links))
	if err != nil {
		return nil, err
	}
	ch := &change{Core: diff, Config: config.Diff(b.cfg, c), NeedRestart: needRestart(b.cfg, c)}
	newKeys, err := k.commit()
	if err != nil {
		ch.Warnings = append(ch.Warnings, err.Error())
	}
	ch.Keys = newKeys
	for _, l := range kept {
		if err := l.apply(c); err != nil { // check took it: this is a fault of ours
			b.log.Error("leg refused its new configuration", "leg", l.Name(), "err", err)
			ch.Warnings = append(ch.Warnings, fmt.Sprintf("leg %s: %v", l.Name(), err))
		}
	}
	wrong, awaited := k.check(c)
	for _, w := range slices.Concat(c.Warnings, wrong, awaited) {
		ch.Warnings = append(ch.Warnings, w.Error())
	}
	b.level.Set(logLevel(c.Log.Level))
	b.cfg, b.legs, b.keys = c, next, k
	if k.book != nil {
		b.company.set(k, c)
		k.book.Apply(trustConfig(c))
	}
	b.keysChanged()
	if err := b.reloadGuard(); err != nil { // check took it: this is a fault of ours
		b.log.Error("the guard refused its new configuration", "err", err)
		ch.Warnings = append(ch.Warnings, err.Error())
	}
	b.moves.Reload(people)
	if err := b.mover.Reload(context.Background(), moves); err != nil { // the store fails
		b.log.Error("migrations go on as they were", "err", err)
		ch.Warnings = append(ch.Warnings, err.Error())
	}
	return ch, nil
}
