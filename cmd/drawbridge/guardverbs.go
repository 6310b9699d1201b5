package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/bridge/guard"
	"drawbridge/internal/admin"
	"drawbridge/internal/config"
	"drawbridge/internal/store"
	"drawbridge/policy"
)

// guardHelp are the texts of the verbs of guard.
var guardHelp = map[string][2]string{
	"status": {"Show how guarded rooms are", `Show each guarded room: whether it is armed or in dry run, shut or open, whether
the bot holds it, what the network does not let it keep, what it did, and what it
would change.`},
	"explain": {"Say what would be decided on somebody, and why", `Say what would be decided now on somebody in a room, by which rule and which
facts, and what would change it. WHO is somebody who is there, by nick; else a
person of the configuration, or nick!user@host. ACTION is join (the default),
speak, op, voice, invite, relay-in, relay-out or command.`},
	"enable": {"Arm a room: end its dry run", `Arm a room: from now on its rules are carried out. Read first what the dry run
would have done: drawbridge guard status and guard audit. The store keeps it.`},
	"disable": {"Begin the dry run of a room again", `Begin the dry run of a room again: the guard goes on watching and saying what it
would do, and does nothing.`},
	"ban": {"Ban somebody from guarded rooms, on every network", `Ban somebody from one guarded room or all, on every network, and remove them. WHO
is a person of the configuration, somebody who is there by nick,
account:NETWORK/ACCOUNT, a JID, or a mask nick!user@host. A mask needs a second
admin, and is refused where it would hit somebody protected or too many.`},
	"forgive": {"End the bans of somebody, everywhere", `End the bans of somebody, or the ban of that number, and take them back on every
network.`},
	"lockdown": {"Shut a room for a time, or open it again", `Shut a room: who is in stays, nobody else comes in but people who may. It opens
by itself after the time, else after that of rooms.NAME.joins.for.`},
	"drop-owner": {"Take ownership of a Jabber room from another owner", `Take ownership of a Jabber room from another owner, who could take it from the
bot. It needs two admins within ten minutes.`},
	"destroy": {"End the Jabber room of a guarded room for good", `End the Jabber room of a guarded room for good: everybody in it is told to go to
--venue, and why. It needs two admins within ten minutes, and is refused in a dry
run and, without --bridged, where a bridge has the room. Prosody keeps the address
closed; ejabberd lets the next who comes make the room anew and own it. To move
people elsewhere lock the old room instead, with the new address as its subject.`},
	"rotate-key": {"Give a channel another key now", `Give the channel of a room another key now (+k), where the guard changes it:
rooms.NAME.lock.rotate_key. Who may join is told it in their own encrypted chat,
and can ask for it there: !guard key ROOM.`},
	"links": {"Show which accounts of IRC are linked to people", `Show which services accounts of IRC act as which people because both said so
(!link), since when, and what waits for an admin.`},
	"link": {"Agree that an account of IRC acts as a person", `Agree that an account, NETWORK/ACCOUNT, acts as a person of the configuration who
has proven that it is theirs: by the code that the account was shown on IRC, sent
from their own encrypted chat. People of a group need that.`},
	"unlink": {"End the link of an account of IRC, or refuse one", `End what links an account, NETWORK/ACCOUNT, to a person, at once and everywhere, or
refuse what waits for an admin.`},
	"audit": {"Show what the guard did, and why", `Show what the guard did, would have done in dry run, and was ordered: time, place,
who, rule, result and how to take it back. The chain of hashes is checked on the
way; the exit code is 1 if somebody altered it. With the bot stopped its store is
read.`},
}

func newGuard(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "guard",
		Short: "Guarded rooms: who may come in, why, and what was done",
		Long: `See and direct the guard of rooms. A new room is in dry run: the guard says what
it would do. "drawbridge guard enable ROOM" arms it.

Admins may give the same orders in their encrypted chat: !guard.

People whom a rule with "do: invite" names are invited once they have proven a key, in
their own encrypted chat: !invite NETWORK/CHANNEL NICK, or !invite ROOM.`,
		RunE: func(_ *cobra.Command, args []string) error {
			what := "guard needs a verb"
			if len(args) > 0 {
				what = fmt.Sprintf("unknown verb %q of guard", args[0])
			}
			return misused(errors.New(what), "drawbridge guard -h")
		},
	}
	for _, o := range guardOrders() {
		if !o.chat {
			cmd.AddCommand(newGuardOrder(g, o))
		}
	}
	cmd.AddCommand(newSimulate(g))
	return cmd
}

// newGuardOrder makes the verb of one row of guardOrders.
func newGuardOrder(g *globals, o guardOrder) *cobra.Command {
	var a guardArgs
	least, most := o.bounds()
	cmd := &cobra.Command{
		Use:               strings.TrimSpace(o.name + " " + o.words),
		Short:             guardHelp[o.name][0],
		Long:              guardHelp[o.name][1],
		Args:              cobra.RangeArgs(least, most),
		ValidArgsFunction: g.completeGuard(o.words),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(&a, args)
			if o.name == "audit" {
				return g.guardAudit(cmd, a)
			}
			var out struct {
				Text   string
				Result json.RawMessage
			}
			if err := g.call(cmd, "guard "+o.name, a, &out); err != nil {
				return err
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(out.Result)
			}
			g.sayLines(out.Text)
			return nil
		},
	}
	o.bind(cmd.Flags(), &a)
	if _, there := map[string]bool{"status": true, "explain": true, "ban": true, "audit": true, "links": true}[o.name]; there {
		jsonFlag(cmd, g)
	}
	if cmd.Flags().Lookup("room") != nil {
		_ = cmd.RegisterFlagCompletionFunc("room", g.completeGuard("ROOM"))
	}
	return cmd
}

// sayLines prints a text that may hold foreign words.
func (g *globals) sayLines(text string) {
	for line := range strings.Lines(text) {
		sayln(g.out, clean(strings.TrimSuffix(line, "\n")))
	}
}

// completeGuard completes the words of an order.
func (g *globals) completeGuard(words string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	places := strings.Fields(words)
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		path, err := g.configPath()
		if err != nil || len(args) >= len(places) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := config.Load(path, loadOptions())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		switch places[len(args)] {
		case "WHO":
			names = peopleNames(c)
		case "ROOM":
			for i := range c.Rooms {
				names = append(names, c.Rooms[i].Name)
			}
		case "[ACTION]":
			for do := policy.Join; do <= policy.Order; do++ {
				names = append(names, do.String())
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// guardAudit prints the audit, page by page.
func (g *globals) guardAudit(cmd *cobra.Command, a guardArgs) error {
	enc, broken, n := json.NewEncoder(g.out), 0, 0
	err := g.eachPage(cmd, a, func(page auditPage) {
		broken += len(page.Broken)
		for i := range page.Acts {
			if n++; g.json {
				_ = enc.Encode(page.Acts[i]) // whether stdout takes it is looked at in the end
			} else {
				g.sayLines(page.Acts[i].String())
			}
		}
		for _, line := range page.Broken {
			sayln(g.err, "! "+clean(line)+": somebody altered the store")
		}
	})
	if err != nil {
		return err
	}
	if n == 0 && broken == 0 && !g.json {
		sayln(g.out, "nothing of that kind was done")
	}
	if broken > 0 {
		return said(exitFailed)
	}
	return nil
}

// eachPage reads the audit of the running bot, or of its store.
func (g *globals) eachPage(cmd *cobra.Command, a guardArgs, use func(auditPage)) error {
	for {
		var out struct{ Result auditPage }
		err := g.call(cmd, "guard audit", a, &out)
		if errors.Is(err, admin.ErrNotRunning) {
			out.Result, err = g.auditStored(cmd.Context(), a)
		}
		if err != nil {
			return err
		}
		use(out.Result)
		if !out.Result.More {
			return nil
		}
		a.After = out.Result.Acts[len(out.Result.Acts)-1].Seq
	}
}

// openStored opens the store of a bot that is stopped.
func (g *globals) openStored() (*store.Store, error) {
	c, err := g.loadStored()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.Store.Path); err != nil {
		return nil, failed(err, "drawbridge run makes it")
	}
	st, err := store.Open(storeConfig(c), store.Deps{Log: newQuiet()})
	if err != nil {
		return nil, storeFailed(err)
	}
	return st, nil
}

// auditStored reads the audit of a bot that is stopped.
func (g *globals) auditStored(ctx context.Context, a guardArgs) (page auditPage, err error) {
	st, err := g.openStored()
	if err != nil {
		return page, err
	}
	defer closeStore(st, newQuiet())
	page, err = auditOf(st.Guard().Acts(ctx, guard.Query{Who: a.Who, Room: a.Room, Since: a.Since, Last: a.Last}), a.After)
	if err != nil {
		return page, storeFailed(err)
	}
	return page, nil
}
