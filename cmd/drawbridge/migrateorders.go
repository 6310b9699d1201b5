package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"drawbridge/bridge"
	"drawbridge/bridge/migrate"
	"drawbridge/internal/admin"
	"drawbridge/internal/progress"
)

// migrateArgs are the arguments of an order about a migration.
type migrateArgs struct {
	Bridge string `json:"bridge,omitempty"`
	Phase  string `json:"phase,omitempty"` // of advance
	Off    bool   `json:"off,omitempty"`   // of hold
}

// migrateOrder is one row of the table of orders about migrations: what both
// `drawbridge migrate` and !migrate do.
type migrateOrder struct {
	name  string
	words string // what stands without a flag, for people
	off   bool   // takes --off
	needs admin.Need
	do    func(ctx context.Context, o migrate.Orders, a migrateArgs, by string) (guardAnswer, error)
}

// migrateOrders is the table. A new order is one row here, one in migrateOrders of
// package bridge, and one in migrateHelp.
func migrateOrders() []migrateOrder {
	return []migrateOrder{
		{"status", "", false, admin.Look, func(_ context.Context, o migrate.Orders, _ migrateArgs, _ string) (guardAnswer, error) {
			s := o.Status()
			return guardAnswer{progress.Status(s), s}, nil
		}},
		{"plan", "[BRIDGE]", false, admin.Look, func(ctx context.Context, o migrate.Orders, a migrateArgs, _ string) (guardAnswer, error) {
			p, err := o.Plan(ctx, a.Bridge)
			return guardAnswer{progress.Plan(&p), p}, err
		}},
		{"report", "[BRIDGE]", false, admin.Look, func(ctx context.Context, o migrate.Orders, a migrateArgs, _ string) (guardAnswer, error) {
			r, err := o.Report(ctx, a.Bridge)
			return guardAnswer{progress.Text(&r), r}, err
		}},
		{"advance", "BRIDGE [PHASE]", false, admin.Change, advance},
		{"back", "BRIDGE", false, admin.Change, func(ctx context.Context, o migrate.Orders, a migrateArgs, by string) (guardAnswer, error) {
			p, err := o.Back(ctx, a.Bridge, by)
			return guardAnswer{Text: fmt.Sprintf("%s is %s again, and no date counts until: drawbridge migrate hold %s --off", a.Bridge, p, a.Bridge), Result: p}, err
		}},
		{"hold", "BRIDGE", true, admin.Change, func(ctx context.Context, o migrate.Orders, a migrateArgs, by string) (guardAnswer, error) {
			text := a.Bridge + " stays as it is: no date counts until --off, or advance"
			if a.Off {
				text = "the dates of " + a.Bridge + " count again"
			}
			return guardAnswer{Text: text}, o.Hold(ctx, a.Bridge, !a.Off, by)
		}},
	}
}

func advance(ctx context.Context, o migrate.Orders, a migrateArgs, by string) (guardAnswer, error) {
	var to *migrate.Phase
	if a.Phase != "" {
		p, err := migrate.ParsePhase(a.Phase)
		if err != nil {
			return guardAnswer{}, err
		}
		to = &p
	}
	p, err := o.Advance(ctx, a.Bridge, to, by)
	return guardAnswer{Text: fmt.Sprintf("%s is %s now", a.Bridge, p), Result: p}, err
}

func findMigrateOrder(name string) *migrateOrder {
	for _, o := range migrateOrders() {
		if o.name == name {
			return &o
		}
	}
	return nil
}

// bounds are how few and how many words an order takes.
func (o *migrateOrder) bounds() (least, most int) {
	words := strings.Fields(o.words)
	for _, w := range words {
		if !strings.HasPrefix(w, "[") {
			least++
		}
	}
	return least, len(words)
}

// take puts the words of an order into their places.
func (o *migrateOrder) take(a *migrateArgs, words []string) {
	for i, w := range words {
		*[]*string{&a.Bridge, &a.Phase}[i] = w
	}
}

// errNoMigration: the configuration has no migration:.
var errNoMigration = errors.New("no bridge is on its way off IRC")

// migrateHints are what to do next about an error.
var migrateHints = []struct {
	err  error
	hint string
}{
	{errNoMigration, "add migration: to the configuration, and reload"},
	{migrate.ErrNoBridge, "drawbridge migrate status lists them"},
	{migrate.ErrGates, "drawbridge migrate report lists who is left, with their next step"},
}

func migrateHint(err error) string {
	for _, h := range migrateHints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return ""
}

// carryOut does what a row says.
func (o *migrateOrder) carryOut(ctx context.Context, on migrate.Orders, a migrateArgs, by string) (guardAnswer, error) {
	if on == nil {
		return guardAnswer{}, errNoMigration
	}
	return o.do(ctx, on, a, by)
}

// migrateRows are what the running bot answers about migrations.
func migrateRows(orders func() migrate.Orders) []admin.Row {
	var rows []admin.Row
	for _, o := range migrateOrders() {
		rows = append(rows, admin.Row{Verb: "migrate " + o.name, Needs: o.needs, Handle: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var a migrateArgs
			if err := json.Unmarshal(raw, &a); err != nil {
				return nil, err
			}
			out, err := o.carryOut(ctx, orders(), a, atSocket)
			if err != nil {
				return nil, &admin.Error{Err: plainMigrate(err), Hint: migrateHint(err)}
			}
			return out, nil
		}})
	}
	return rows
}

// plainMigrate takes the name of the package from an error for people.
func plainMigrate(err error) error { return errors.New(strings.TrimPrefix(err.Error(), "migrate: ")) }

// migrateDesk carries out what admins order by !migrate.
type migrateDesk struct{ orders func() migrate.Orders }

var _ bridge.Guard = migrateDesk{}

// Order implements bridge.Guard.
func (d migrateDesk) Order(ctx context.Context, in bridge.Order) string {
	o := findMigrateOrder(in.Verb)
	if o == nil {
		return "Not done: that is ordered on the machine."
	}
	var a migrateArgs
	words := slices.DeleteFunc(slices.Clone(in.Args), func(w string) bool {
		off := o.off && strings.TrimLeft(w, "-–—") == "off"
		a.Off = a.Off || off
		return off
	})
	if least, most := o.bounds(); len(words) < least || len(words) > most {
		return "Not done: it takes other words. !migrate " + strings.TrimSpace(o.name+" "+o.words)
	}
	o.take(&a, words)
	out, err := o.carryOut(ctx, d.orders(), a, in.Person)
	if err != nil {
		text := "Not done: " + plainMigrate(err).Error()
		if hint := migrateHint(err); hint != "" {
			text += "; " + hint
		}
		return text + "."
	}
	return forChat(out.Text, "drawbridge migrate "+o.name)
}

// forChat keeps an answer to what a chat takes.
func forChat(text, verb string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > chatLines {
		lines = append(lines[:chatLines], fmt.Sprintf("… %d lines more: %s on the machine", len(lines)-chatLines, verb))
	}
	return strings.Join(lines, "\n")
}
