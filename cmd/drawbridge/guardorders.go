package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/link"
	"drawbridge/internal/admin"
	"drawbridge/policy"
)

// guardArgs are the arguments of an order about guarded rooms.
type guardArgs struct {
	Who  string `json:"who,omitempty"`
	Room string `json:"room,omitempty"`
	// Account is an account of IRC, as NETWORK/ACCOUNT.
	Account string        `json:"account,omitempty"`
	Action  string        `json:"action,omitempty"` // of explain
	File    string        `json:"file,omitempty"`   // of simulate
	For     time.Duration `json:"for,omitempty"`
	Off     bool          `json:"off,omitempty"`
	Reason  string        `json:"reason,omitempty"`
	// Of destroy.
	Venue   string    `json:"venue,omitempty"`
	Bridged bool      `json:"bridged,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Last    int       `json:"last,omitempty"`
	After   int64     `json:"after,omitempty"` // of a page of the audit: the last act seen
}

// guardAnswer is the answer to one: for people, and for programs.
type guardAnswer struct {
	Text   string `json:"text"`
	Result any    `json:"result,omitempty"`
}

// guardOrder is one row of the table of orders about guarded rooms: what both
// `drawbridge guard` and !guard do.
type guardOrder struct {
	name  string
	words string // what stands without a flag, for people: "WHO ROOM [ACTION]"
	flags []string
	needs admin.Need
	do    func(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error)
	chat  bool // by !guard alone: the answer is for one person
}

// guardOn is what orders are carried out on. Orders is nil where no room is guarded.
type guardOn struct {
	guard.Orders
	links *link.Book
	other func(file string) (policy.Spec, error) // the policy of another configuration; in chats
}

// guardOrders is the table. A new order is one row here, one in guardOrders of
// package bridge, and one in guardHelp.
func guardOrders() []guardOrder {
	return []guardOrder{
		{"status", "", nil, admin.Look, func(_ context.Context, o guardOn, _ guardArgs, _ string) (guardAnswer, error) {
			s := o.Status()
			return guardAnswer{statusText(&s), s}, nil
		}, false},
		{"explain", "WHO ROOM [ACTION]", nil, admin.Look, explain, false},
		{"enable", "ROOM", nil, admin.Change, func(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
			return guardAnswer{Text: a.Room + " is armed: its rules are carried out"}, o.Enable(ctx, a.Room, by)
		}, false},
		{"disable", "ROOM", nil, admin.Change, func(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
			return guardAnswer{Text: a.Room + " is in dry run: the guard only says what it would do"}, o.Disable(ctx, a.Room, by)
		}, false},
		{"ban", "WHO", []string{"for", "room", "reason"}, admin.Change, ban, false},
		{"forgive", "WHO", nil, admin.Change, func(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
			n, err := o.Forgive(ctx, a.Who, by)
			return guardAnswer{count(n, "ban") + " of " + a.Who + " ended", n}, err
		}, false},
		{"lockdown", "ROOM", []string{"for", "off"}, admin.Change, lockdown, false},
		{"drop-owner", "ROOM WHO", nil, admin.Change, func(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
			return guardAnswer{Text: a.Who + " is not owner of " + a.Room + " any more"}, o.DropOwner(ctx, a.Room, a.Who, by)
		}, false},
		{"destroy", "ROOM", []string{"venue", "reason", "bridged"}, admin.Change, destroy, false},
		{"rotate-key", "ROOM", nil, admin.Change, func(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
			return guardAnswer{Text: "the channel of " + a.Room + " gets another key, and who may join is told it"}, o.RotateKey(ctx, a.Room, by)
		}, false},
		{"key", "ROOM", nil, admin.Look, func(_ context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
			text, err := o.Key(by, a.Room)
			return guardAnswer{Text: text}, err
		}, true},
		{"links", "", nil, admin.Look, linksOrder, false},
		{"link", "WHO ACCOUNT", nil, admin.Change, linkOrder, false},
		{"unlink", "ACCOUNT", nil, admin.Change, unlinkOrder, false},
		{"audit", "", []string{"who", "room", "since", "last"}, admin.Look, readAudit, false},
		{"simulate", "FILE", []string{"who", "room", "since"}, admin.Look, simulate, true}, // on the machine any file: newSimulate
	}
}

func findGuardOrder(name string) *guardOrder {
	for _, o := range guardOrders() {
		if o.name == name {
			return &o
		}
	}
	return nil
}

// bounds are how few and how many words an order takes.
func (o *guardOrder) bounds() (least, most int) {
	words := strings.Fields(o.words)
	for _, w := range words {
		if !strings.HasPrefix(w, "[") {
			least++
		}
	}
	return least, len(words)
}

// take puts the words of an order into their places.
func (o *guardOrder) take(a *guardArgs, words []string) {
	for i, place := range strings.Fields(o.words) {
		if i >= len(words) {
			return
		}
		*map[string]*string{"WHO": &a.Who, "ROOM": &a.Room, "[ACTION]": &a.Action, "ACCOUNT": &a.Account, "FILE": &a.File}[place] = words[i]
	}
}

// bind makes the flags of an order.
func (o *guardOrder) bind(f *pflag.FlagSet, a *guardArgs) {
	for _, name := range o.flags {
		switch name {
		case "for":
			f.Var((*spanFlag)(&a.For), "for", "how long: 30m, 8h, 30d `TIME`")
		case "room":
			f.StringVar(&a.Room, "room", "", "one guarded `ROOM`")
		case "who":
			f.StringVar(&a.Who, "who", "", "only acts on, or by, `WHO`: nick, account, person, JID, admin")
		case "reason":
			f.StringVar(&a.Reason, "reason", "", "`TEXT` that the person is told")
		case "venue":
			f.StringVar(&a.Venue, "venue", "", "the Jabber `ROOM` that people are told to go to")
		case "bridged":
			f.BoolVar(&a.Bridged, "bridged", false, "also if a bridge has the room")
		case "off":
			f.BoolVar(&a.Off, "off", false, "open the room again")
		case "since":
			f.Var((*sinceFlag)(&a.Since), "since", "only acts since `TIME`: 2h ago, or a date as 2026-11-21")
		case "last":
			f.IntVar(&a.Last, "last", 50, "only the newest `N` acts; 0: all")
		}
	}
}

func explain(_ context.Context, o guardOn, a guardArgs, _ string) (guardAnswer, error) {
	do := policy.Join
	if a.Action != "" {
		var err error
		if do, err = policy.ParseDo(a.Action); err != nil {
			return guardAnswer{}, errors.New(strings.TrimPrefix(err.Error(), "policy: "))
		}
	}
	text, err := o.Explain(a.Who, a.Room, do)
	return guardAnswer{text, text}, err
}

func ban(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
	b, err := o.Ban(ctx, guard.BanOrder{Who: a.Who, Room: a.Room, For: a.For, Reason: a.Reason, By: by})
	until := "until forgiven"
	if !b.Until.IsZero() {
		until = "until " + clock(b.Until)
	}
	where := "every guarded room"
	if len(b.Rooms) > 0 {
		where = strings.Join(b.Rooms, ", ")
	}
	whom := b.Person
	if whom == "" {
		whom = b.Mask
	}
	return guardAnswer{fmt.Sprintf("%s is banned from %s %s (%s)", whom, where, until, b.ID), b}, err
}

func destroy(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
	err := o.Destroy(ctx, guard.DestroyOrder{Room: a.Room, Venue: a.Venue, Reason: a.Reason, Bridged: a.Bridged, By: by})
	return guardAnswer{Text: "the Jabber room of " + a.Room + " is gone; take it out of the configuration now: a bot that starts with it makes it anew"}, err
}

func lockdown(ctx context.Context, o guardOn, a guardArgs, by string) (guardAnswer, error) {
	if a.Off && a.For > 0 {
		return guardAnswer{}, errors.New("either for a time, or off")
	}
	if a.Off {
		a.For = -1
	}
	until, err := o.Lockdown(ctx, a.Room, a.For, by)
	if a.Off {
		return guardAnswer{Text: a.Room + " is open again"}, err
	}
	return guardAnswer{a.Room + " is shut until " + clock(until), until}, err
}

// auditPage is a part of the audit.
type auditPage struct {
	Acts   []guard.Act `json:"acts"`
	Broken []string    `json:"broken,omitempty"`
	More   bool        `json:"more,omitempty"` // ask again, after the last of these
}

// pageActs is how many acts one answer holds: an answer has a bound.
const pageActs = 5000

func readAudit(ctx context.Context, o guardOn, a guardArgs, _ string) (guardAnswer, error) {
	page, err := auditOf(o.Audit(ctx, guard.Query{Who: a.Who, Room: a.Room, Since: a.Since, Last: a.Last}), a.After)
	if err != nil {
		return guardAnswer{}, err
	}
	var text strings.Builder
	for i := range page.Acts {
		text.WriteString(page.Acts[i].String() + "\n")
	}
	for _, line := range page.Broken {
		text.WriteString("! " + line + "\n")
	}
	if text.Len() == 0 {
		text.WriteString("nothing of that kind was done")
	}
	return guardAnswer{strings.TrimRight(text.String(), "\n"), page}, nil
}

// auditOf reads one page.
func auditOf(acts func(func(guard.Act, error) bool), after int64) (page auditPage, err error) {
	page.Acts = []guard.Act{}
	for act, why := range acts {
		switch {
		case errors.Is(why, guard.ErrChain) && act.Seq <= after: // told already
		case errors.Is(why, guard.ErrChain):
			page.Broken = append(page.Broken, why.Error())
		case why != nil:
			return auditPage{}, why
		case act.Seq <= after:
		case len(page.Acts) == pageActs:
			page.More = true
			return page, nil
		default:
			page.Acts = append(page.Acts, act)
		}
	}
	return page, nil
}

// guardHints are the ways out of what a guard refuses.
var guardHints = []struct {
	err  error
	hint string
}{
	{errNoGuard, "add rooms: to the configuration, and reload"},
	{guard.ErrNoRoom, "drawbridge guard status lists them"},
	{guard.ErrNobody, "name who is in the room, a person of the configuration, account:NETWORK/ACCOUNT, a JID or nick!user@host"},
	{link.ErrNothing, "drawbridge guard links"},
	{guard.ErrSecond, "another admin gives the same order, here or by !guard in their encrypted chat"},
}

// errNoGuard: the configuration has no rooms:.
var errNoGuard = errors.New("no room is guarded")

func guardHint(err error) string {
	for _, h := range guardHints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return ""
}

// carryOut does what a row says.
func (o *guardOrder) carryOut(ctx context.Context, on guardOn, a guardArgs, by string) (guardAnswer, error) {
	// Accounts are linked, and the audit is kept, without guarded rooms, too.
	if !strings.Contains(o.name, "link") && (on.Orders == nil || o.name != "audit" && len(on.Status().Rooms) == 0) {
		return guardAnswer{}, errNoGuard
	}
	if a.Room != "" && o.name != "audit" && o.name != "simulate" { // which knows places, and rooms that were
		a.Room = roomNamed(on.Status(), a.Room)
	}
	return o.do(ctx, on, a, by)
}

// roomNamed is the name below rooms: of what somebody calls a room: by that, or by
// its channel or MUC.
func roomNamed(s guard.Status, word string) string {
	for i := range s.Rooms {
		for _, p := range s.Rooms[i].Places {
			if strings.EqualFold(word, p.Room.String()) || strings.EqualFold(word, p.Room.Name) {
				return s.Rooms[i].Name
			}
		}
	}
	return word
}

// guardRows are what the running bot answers about guarded rooms.
func guardRows(orders func() guard.Orders, links *link.Book) []admin.Row {
	var rows []admin.Row
	for _, o := range guardOrders() {
		if o.chat {
			continue
		}
		rows = append(rows, admin.Row{Verb: "guard " + o.name, Needs: o.needs, Handle: func(ctx context.Context, raw json.RawMessage) (any, error) {
			var a guardArgs
			if err := json.Unmarshal(raw, &a); err != nil {
				return nil, err
			}
			out, err := o.carryOut(ctx, guardOn{Orders: orders(), links: links}, a, atSocket)
			if err != nil {
				return nil, &admin.Error{Err: withoutPackage(err), Hint: guardHint(err)}
			}
			return out, nil
		}})
	}
	return rows
}

// withoutPackage takes the name of the package from an error for people.
func withoutPackage(err error) error {
	return errors.New(strings.TrimPrefix(strings.TrimPrefix(err.Error(), "guard: "), "link: "))
}

// guardDesk carries out what admins order by !guard.
type guardDesk struct {
	orders func() guard.Orders
	links  *link.Book
	other  func(file string) (policy.Spec, error)
}

var _ bridge.Guard = guardDesk{}

// Bounds of what is answered in a chat.
const (
	chatActs  = 20
	chatLines = 60
)

// Order implements bridge.Guard.
func (d guardDesk) Order(ctx context.Context, in bridge.Order) string {
	o := findGuardOrder(in.Verb)
	if o == nil {
		return "Not done: that is ordered on the machine."
	}
	a, err := o.parse(in.Args)
	if err != nil {
		return "Not done: " + err.Error() + ". !guard " + strings.TrimSpace(o.name+" "+o.words)
	}
	if o.name == "audit" && (a.Last <= 0 || a.Last > chatActs) {
		a.Last = chatActs
	}
	out, err := o.carryOut(ctx, guardOn{d.orders(), d.links, d.other}, a, in.Person)
	if err != nil {
		text := "Not done: " + withoutPackage(err).Error()
		if hint := guardHint(err); hint != "" {
			text += "; " + hint
		}
		return text + "."
	}
	lines := strings.Split(strings.TrimRight(out.Text, "\n"), "\n")
	if len(lines) > chatLines {
		lines = append(lines[:chatLines], fmt.Sprintf("… %d lines more: drawbridge guard %s on the machine", len(lines)-chatLines, o.name))
	}
	return strings.Join(lines, "\n")
}

// parse reads an order as it is written in a chat: as on the command line, where the
// reason is all that stands behind it.
func (o *guardOrder) parse(words []string) (guardArgs, error) {
	var a guardArgs
	f := pflag.NewFlagSet(o.name, pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	o.bind(f, &a)
	var args []string
	for i, w := range words {
		for _, dash := range []string{"—", "–"} { // what phones make of two hyphens
			if rest, ok := strings.CutPrefix(w, dash); ok {
				w = "--" + strings.TrimLeft(rest, "-")
			}
		}
		if w == "--reason" && slices.Contains(o.flags, "reason") {
			args = append(args, w, strings.Join(words[i+1:], " "))
			break
		}
		args = append(args, w)
	}
	if err := f.Parse(args); err != nil {
		return a, err
	}
	if least, most := o.bounds(); f.NArg() < least || f.NArg() > most {
		return a, errors.New("it takes other words")
	}
	o.take(&a, f.Args())
	return a, nil
}
