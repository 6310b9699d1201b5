package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/bridge"
	"drawbridge/bridge/guard"
	"drawbridge/bridge/provision"
	"drawbridge/internal/admin"
	"drawbridge/internal/config"
	"drawbridge/irc"
	"drawbridge/policy"
)

// provisionArgs are the arguments of migrate provision.
type provisionArgs struct {
	Bridge  string `json:"bridge"`
	Channel string `json:"channel,omitempty"` // where the bridge has several
	Room    string `json:"room,omitempty"`
	Yes     bool   `json:"yes,omitempty"`
	Archive bool   `json:"archive,omitempty"`
	PutOut  int    `json:"put_out,omitempty"` // 0: safety.max_removals
}

// provisionAnswer is its answer.
type provisionAnswer struct {
	Channel string `json:"channel"`
	Room    string `json:"room"`
	provision.Result
}

func newMigrateProvision(g *globals) *cobra.Command {
	var a provisionArgs
	cmd := &cobra.Command{
		Use:   "provision BRIDGE",
		Short: "Make the Jabber room of a bridge from its channel",
		Long: `Make the Jabber room (MUC) of a bridge from its channel: members-only, with the
addresses of its members seen by them, kept when it is empty, without an archive on
the server, the channel's topic as its subject. Founders and ops of ChanServ's list,
and who has op now, become admins; others on the list, who has voice and who is there
become members: where the configuration or a link knows whose account it is. What is
not carried is told with the reason.

Without --yes it is only said what would be done. Nobody loses an affiliation, and no
owner is touched. Who becomes a member and is not in the room is invited. Run again,
there is nothing to do.

The running bot does it. The room stands below rooms: of the bridge; one that does not
exist was made as the bot joined it.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: g.completeBridges,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Bridge = args[0]
			var out provisionAnswer
			if err := g.call(cmd, "migrate provision", a, &out); err != nil {
				return err
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(out)
			}
			g.sayLines(out.text(a.Bridge))
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&a.Yes, "yes", false, "do it")
	f.BoolVar(&a.Archive, "archive", false, "keep an archive on the server (MAM), where it has one")
	f.StringVar(&a.Channel, "channel", "", "`CHANNEL`, where the bridge has several, as corp/#dev")
	f.StringVar(&a.Room, "room", "", "`ROOM`, where the bridge has several")
	f.IntVar(&a.PutOut, "put-out", 0, "so `many` who are there and are no members may be put out (default: by safety.max_removals)")
	jsonFlag(cmd, g)
	return cmd
}

// completeBridges completes names of bridges.
func (g *globals) completeBridges(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return g.complete(args, func(c *config.Config) (names []string) {
		for i := range c.Bridges {
			names = append(names, c.Bridges[i].Name)
		}
		return names
	})
}

// text is the answer for people.
func (a *provisionAnswer) text(name string) string {
	var b strings.Builder
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format+"\n", args...) }
	list := func(head string, items []string) {
		if len(items) > 0 {
			line("%s:", head)
		}
		for _, s := range items {
			line("  %s", s)
		}
	}
	line("%s: %s becomes %s", name, a.Channel, a.Room)
	switch {
	case len(a.Changes) == 0:
		line("nothing to do")
	case a.Done:
		list("done", a.Changes)
	default:
		list("to do", a.Changes)
	}
	list(map[bool]string{true: "put out, as no members", false: "puts out, as no members"}[a.Done], a.PutOut)
	list("invited", a.Invited)
	list("cannot be had", a.Alarms)
	list("not carried", a.Left)
	if len(a.Changes) > 0 && !a.Done {
		line("Nothing was done: --yes does it.")
	}
	return strings.TrimRight(b.String(), "\n")
}

// provisionTimeout is for ChanServ and a slow service, some looks each.
const provisionTimeout = 100 * time.Second

// provisionRow is what the running bot answers.
func provisionRow(b *bot) admin.Row {
	return admin.Row{Verb: "migrate provision", Needs: admin.Change, Timeout: provisionTimeout, Handle: func(ctx context.Context, raw json.RawMessage) (any, error) {
		var a provisionArgs
		if err := json.Unmarshal(raw, &a); err != nil {
			return nil, err
		}
		out, err := b.provision(ctx, a, atSocket)
		if err != nil {
			return nil, &admin.Error{Err: errors.New(strings.TrimPrefix(err.Error(), "provision: ")), Hint: provisionHint(err)}
		}
		return out, nil
	}}
}

// provisionProblem is what stands in the way before anything is looked at.
type provisionProblem struct{ what, hint string }

func (p *provisionProblem) Error() string { return p.what }

func provisionHint(err error) string {
	var p *provisionProblem
	switch {
	case errors.As(err, &p):
		return p.hint
	case errors.Is(err, provision.ErrNotOwner):
		return "an owner of the room makes the bot's JID owner"
	case errors.Is(err, policy.ErrTooMany):
		return "make them people of the bridge, or allow it by --put-out"
	}
	return ""
}

// provision makes the room of a bridge, or says what it would do.
func (b *bot) provision(ctx context.Context, a provisionArgs, by string) (*provisionAnswer, error) {
	b.mu.Lock()
	cfg, spec, legs := b.cfg, policySpec(b.cfg, b.keys, b.links), b.legs
	b.mu.Unlock()
	ch, room, err := ends(cfg, a)
	if err != nil {
		return nil, err
	}
	if err := notArmed(b.guard.Status(), room); err != nil {
		return nil, err
	}
	from, to := enforcer(legs, ch.Leg), enforcer(legs, room.Leg)
	if from == nil || to == nil {
		return nil, &provisionProblem{"the bot was not started with this bridge", "drawbridge reload"}
	}
	seen, err := from.Observe(ctx, ch)
	if err != nil {
		return nil, notThere(ch, err)
	}
	bare, _, _ := strings.Cut(cfg.Account(room.Leg).JID, "/")
	job := &provision.Job{
		Leg: to, Room: room, Channel: seen.Channel, Topic: strings.TrimSpace(irc.Plain(seen.Channel.Topic)), Most: a.PutOut,
		Options: provision.Options{
			Network: ch.Leg, Self: bare, People: spec.People, Binds: spec.Binds, Archive: a.Archive, Title: ch.Name, ListKept: listKept(cfg, room),
		},
	}
	if n := cfg.Network(ch.Leg); n.SASL != nil {
		job.Options.Account = n.SASL.Account
	}
	if i := slices.IndexFunc(cfg.Bridges, func(x config.Bridge) bool { return x.Name == a.Bridge }); i >= 0 {
		job.Options.Members = cfg.Bridges[i].XMPP.People
	}
	if job.Most <= 0 {
		job.Most = cfg.Safety.MaxRemovals.Count
	}
	out := &provisionAnswer{Channel: ch.String(), Room: room.String()}
	if !a.Yes {
		out.Result, err = job.Look(ctx)
	} else {
		out.Result, err = job.Run(ctx)
		if act := provisionAct(a.Bridge, ch, room, by, &out.Result, err); act != nil {
			b.guard.Note(*act)
		}
		b.log.Info("provisioned", "room", room, "from", ch, "n", len(out.Changes), "done", out.Done)
	}
	if err != nil {
		return nil, notThere(room, err)
	}
	if seen.ServicesDown {
		out.Left = append([]string{"services are away, so ChanServ's list is not known: run this again when they are back"}, out.Left...)
	}
	return out, nil
}

// maxActChanges bounds the changes that one line of the audit names.
const maxActChanges = 40

// provisionAct is the line of the audit for what was done to a room, also where it ended
// with an error; nil: nothing was.
func provisionAct(name string, ch, room bridge.Room, by string, r *provision.Result, err error) *guard.Act {
	if len(r.Changes) == 0 {
		return nil
	}
	act := &guard.Act{
		At: time.Now(), Place: room.String(), Effect: policy.Alert, Actor: by, Result: "done",
		Acts: fmt.Sprintf("provision %s from %s: %s", name, ch, listed(r.Changes)),
	}
	if len(r.PutOut) > 0 {
		act.Acts += "; put out as no members: " + listed(r.PutOut)
	}
	if len(r.Invited) > 0 {
		act.Acts += "; invited: " + listed(r.Invited)
	}
	if err != nil {
		act.Result = "not whole: " + err.Error()
	}
	return act
}

// listed names items, as many as a line holds.
func listed(items []string) string {
	if more := len(items) - maxActChanges; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:maxActChanges], "; "), more)
	}
	return strings.Join(items, "; ")
}

// notThere says of a room that the bot is not in it, if that is the error.
func notThere(room bridge.Room, err error) error {
	if errors.Is(err, bridge.ErrNotReady) {
		return &provisionProblem{fmt.Sprintf("the bot is not in %s", room), "drawbridge status says why"}
	}
	return err
}

// ends are the channel and the room that are meant.
func ends(c *config.Config, a provisionArgs) (ch, room bridge.Room, err error) {
	var channels, rooms []bridge.Room
	i := slices.IndexFunc(c.Bridges, func(b config.Bridge) bool { return b.Name == a.Bridge })
	switch guarded := c.Room(a.Bridge); {
	case i >= 0:
		for _, x := range c.Bridges[i].IRC {
			channels = append(channels, irc.Room(x.Network, x.Channel))
		}
		if x := c.Bridges[i].XMPP; x != nil {
			for _, r := range x.Rooms {
				rooms = append(rooms, bridge.Room{Leg: x.Account, Kind: bridge.MUC, Name: r.Room})
			}
		}
	case guarded != nil && guarded.IRC != nil && guarded.XMPP != nil:
		r := guardRoom(guarded, nil)
		channels, rooms = []bridge.Room{r.Channel}, []bridge.Room{r.MUC}
	default:
		return ch, room, &provisionProblem{fmt.Sprintf("there is no bridge %q", a.Bridge), "drawbridge status lists them"}
	}
	if ch, err = one(channels, a.Channel, "channel", `irc: [{network: …, channel: "#…"}]`); err != nil {
		return ch, room, err
	}
	room, err = one(rooms, a.Room, "room", "xmpp: {rooms: [{room: ROOM@SERVICE, require: clear}]}, then drawbridge reload: the bot makes it as it joins")
	return ch, room, err
}

// one is the room that word names, or the only one.
func one(rooms []bridge.Room, word, what, add string) (bridge.Room, error) {
	var names []string
	for _, r := range rooms {
		if word != "" && (strings.EqualFold(word, r.Name) || strings.EqualFold(word, r.String())) {
			return r, nil
		}
		names = append(names, r.String())
	}
	switch {
	case len(rooms) == 0:
		return bridge.Room{}, &provisionProblem{"the bridge has no " + what, "add " + add}
	case word != "":
		return bridge.Room{}, &provisionProblem{fmt.Sprintf("the bridge has no %s %q", what, word), "it has " + strings.Join(names, ", ")}
	case len(rooms) > 1:
		return bridge.Room{}, &provisionProblem{"the bridge has several: " + strings.Join(names, ", "), "say which by --" + what}
	}
	return rooms[0], nil
}

// notArmed refuses a room that an armed guard holds: it would set back what is made.
func notArmed(s guard.Status, room bridge.Room) error {
	for i := range s.Rooms {
		r := &s.Rooms[i]
		if r.Armed && slices.ContainsFunc(r.Places, func(p guard.PlaceStatus) bool { return p.Room == room }) {
			return &provisionProblem{
				fmt.Sprintf("%s is held by the guard of %s, which is armed and keeps it by its rules", room, r.Name),
				fmt.Sprintf("drawbridge guard disable %[1]s, provision, guard enable %[1]s", r.Name),
			}
		}
	}
	return nil
}

func enforcer(legs []leg, name string) bridge.Enforcer {
	for _, l := range legs {
		if e, ok := l.Leg.(bridge.Enforcer); ok && l.Name() == name {
			return e
		}
	}
	return nil
}

// listKept reports whether a guard, once armed, keeps the room's affiliations.
func listKept(c *config.Config, room bridge.Room) bool {
	return slices.ContainsFunc(c.Rooms, func(r config.Room) bool { return r.Lock.Affiliations && guardRoom(&r, nil).MUC == room })
}
