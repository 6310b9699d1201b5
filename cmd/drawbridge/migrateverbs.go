package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/bridge/migrate"
	"drawbridge/internal/config"
	"drawbridge/internal/progress"
)

// migrateHelp are the texts of the verbs of migrate.
var migrateHelp = map[string][2]string{
	"status": {"Show how far each bridge is", `Show how far each bridge is on its way off IRC: its phase, the date of the next,
what stands before it, and the figures that its gates look at.`},
	"plan": {"Show what each phase will do, and when", `Show what each phase to come will do, and when: its date and announcements, its
gates as they are now, and what would change in the channel, read from it just
now. Nothing is changed.`},
	"report": {"Show who moved, and who is left", `Show how far people are: figures over time, and who is left with their next step.
With --html the whole as one page with plots that needs nothing from elsewhere.
Nobody who asked not to be counted (!move stop) is in it.`},
	"advance": {"Enter the next phase by hand", `Enter the next phase by hand, now, if its gates hold. PHASE, if it is given, has
to be the next: no phase can be skipped. Both places are told.`},
	"back": {"Go back to the phase before", `Go back to the phase before, now. What the phase changed in the channel is set
back to how it was. No date counts until "migrate hold BRIDGE --off".`},
	"hold": {"Stop the dates, or let them count again", `Stop the dates of a bridge: it stays in its phase until "migrate advance", or
until --off. A date that passed meanwhile is made up for, announced a day before.`},
}

func newMigrate(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "The way off IRC: phases, dates, and who is left",
		Long: `See and direct how a team leaves IRC for encrypted Jabber, bridge by bridge:
mirror, encrypted-first, irc-readonly, farewell, closed. docs/migration.md is the
guide.

Admins may give the same orders in their encrypted chat: !migrate.`,
		RunE: needsVerb("migrate", "drawbridge migrate -h"),
	}
	for _, o := range migrateOrders() {
		cmd.AddCommand(newMigrateOrder(g, o))
	}
	cmd.AddCommand(newMigrateArchive(g), newMigrateProvision(g), newMigrateTexts(g))
	return cmd
}

// newMigrateOrder makes the verb of one row of migrateOrders.
func newMigrateOrder(g *globals, o migrateOrder) *cobra.Command {
	var a migrateArgs
	var page string
	least, most := o.bounds()
	cmd := &cobra.Command{
		Use:               strings.TrimSpace(o.name + " " + o.words),
		Short:             migrateHelp[o.name][0],
		Long:              migrateHelp[o.name][1],
		Args:              cobra.RangeArgs(least, most),
		ValidArgsFunction: g.completeMigrate,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.take(&a, args)
			var out struct {
				Text   string
				Result json.RawMessage
			}
			if err := g.call(cmd, "migrate "+o.name, a, &out); err != nil {
				return err
			}
			switch {
			case page != "":
				return g.writePage(page, out.Result)
			case g.json:
				return json.NewEncoder(g.out).Encode(out.Result)
			}
			g.sayLines(out.Text)
			return nil
		},
	}
	if o.off {
		cmd.Flags().BoolVar(&a.Off, "off", false, "let the dates count again")
	}
	if o.name == "report" {
		cmd.Flags().StringVar(&page, "html", "", "write a page with plots to `FILE`")
		_ = cmd.MarkFlagFilename("html", "html")
	}
	if o.name == "status" || o.name == "plan" || o.name == "report" {
		jsonFlag(cmd, g)
	}
	return cmd
}

// writePage writes a report as a page, for its owner alone: it names people.
func (g *globals) writePage(path string, raw json.RawMessage) error {
	var r migrate.Report
	if err := json.Unmarshal(raw, &r); err != nil {
		return failed(err, "the running bot is of another version: restart it")
	}
	var page bytes.Buffer
	if err := progress.HTML(&page, &r); err != nil {
		return failed(err, "")
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return failed(err, "name a file in a folder that you may write to")
	}
	_, err = f.Write(page.Bytes())
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return failed(err, "")
	}
	sayln(g.out, "written to "+path+": open it in any browser. It names people; it is readable for you alone")
	return nil
}

// completeMigrate completes bridges and phases.
func (g *globals) completeMigrate(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	switch {
	case len(args) == 1 && cmd.Name() == "advance":
		for _, p := range migrate.Phases()[1:] {
			names = append(names, p.String())
		}
	case len(args) == 0 && cmd.Name() != "status":
		path, err := g.configPath()
		if err != nil {
			break
		}
		if c, err := config.Load(path, loadOptions()); err == nil {
			for i := range c.Migration {
				names = append(names, c.Migration[i].Name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
