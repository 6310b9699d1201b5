package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"drawbridge/bridge"
	"drawbridge/internal/config"
	"drawbridge/internal/importer"
)

func newImport(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Make a configuration from that of another bridge",
		Long: `Read the configuration of another bridge, and write one of Drawbridge (--config;
default ./drawbridge.yaml) with its secrets in files beside it, readable for you
only. Nothing is overwritten, and what is written passes "drawbridge check".

What could not be carried is listed with its line and the reason, here and at the
head of the new file. Secrets are never shown.`,
		RunE: needsVerb("import", "drawbridge import -h"),
	}
	cmd.AddCommand(newImportMatterbridge(g), newImportBiboumi(g))
	return cmd
}

func newImportMatterbridge(g *globals) *cobra.Command {
	opt := importer.Options{CheckTemplate: bridge.CheckTemplate}
	cmd := &cobra.Command{
		Use:   "matterbridge FILE",
		Short: "Make a configuration from a matterbridge.toml",
		Long: `Make a configuration from a matterbridge.toml (or .yaml, .json): gateways of irc.* and xmpp.*
accounts become bridges, which relay clear text as they did. MATTERBRIDGE_… of the
environment counts for more than the file, as it does there.

What is relayed one way only (in, out) is left out: a bridge relays both ways.
--both-ways carries it so.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := readImport(args[0])
			if err != nil {
				return err
			}
			opt.Environ = os.Environ()
			plan, err := importer.Matterbridge(args[0], data, opt)
			return g.importPlan(plan, err)
		},
	}
	cmd.Flags().BoolVar(&opt.BothWays, "both-ways", false, "carry what is relayed one way as relayed both ways")
	return cmd
}

func newImportBiboumi(g *globals) *cobra.Command {
	var a importer.BiboumiAnswers
	cmd := &cobra.Command{
		Use:   "biboumi FILE",
		Short: "Make a configuration from a biboumi.cfg",
		Long: `Make a configuration from a biboumi.cfg. Biboumi is a component that gives each
user an own connection to IRC; Drawbridge is one bot that joins a channel to a
room. So the flags tell what the file cannot: the bot's nick, its Jabber account,
and which channels are joined to which rooms:

  drawbridge import biboumi /etc/biboumi/biboumi.cfg --nick bridge \
    --jid bridge@example.org --password-file bridge.pass \
    --bridge '#dev%irc.example.org=dev@rooms.example.org'

BIBOUMI_… of the environment counts for more than the file, as it does there.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			data, err := readImport(args[0])
			if err != nil {
				return err
			}
			if a.PasswordFile != "" {
				if a.PasswordFile, err = filepath.Abs(a.PasswordFile); err != nil {
					return failed(err, "")
				}
			}
			plan, err := importer.Biboumi(args[0], data, a, importer.Options{Environ: os.Environ()})
			return g.importPlan(plan, err)
		},
	}
	f := cmd.Flags()
	f.StringVar(&a.Nick, "nick", "", "`NICK` of the bot on IRC")
	f.StringVar(&a.JID, "jid", "", "`JID` of the bot, an account of its own")
	f.StringVar(&a.PasswordFile, "password-file", "", "`FILE` with the password of that JID")
	f.StringArrayVar(&a.Pairs, "bridge", nil, "a channel and the room to join it to, `CHANNEL=ROOM`; may be repeated")
	return cmd
}

// readImport reads a file of another program.
func readImport(path string) ([]byte, error) {
	const most = 1 << 20
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, misused(err, "")
	case !info.Mode().IsRegular():
		return nil, misused(fmt.Errorf("%s is not a file", path), "")
	case info.Size() > most:
		return nil, misused(fmt.Errorf("%s is larger than 1 MiB", path), "")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, failed(err, "")
	}
	return data, nil
}

// importPlan writes what was read, and tells of the rest.
func (g *globals) importPlan(plan *importer.Plan, err error) error {
	var list config.Errors
	if errors.As(err, &list) {
		g.importErrors(list)
		return misused(errors.New("nothing was written"), "")
	} else if err != nil {
		return failed(err, "")
	}
	if _, _, bridges := plan.Counts(); bridges == 0 {
		g.importNotes(plan)
		return misused(errors.New("nothing was written: no bridge is left"), "")
	}
	path := g.config
	if path == "" {
		path = defaultConfigs[0]
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return failed(err, "")
	}
	made, err := plan.Write(path, loadOptions())
	switch {
	case errors.Is(err, config.ErrExists):
		return failed(err, "--config names another file")
	case errors.As(err, &list):
		g.importNotes(plan)
		g.importErrors(list)
		return misused(errors.New("nothing was written: what was read does not make a configuration"), "")
	case err != nil:
		return failed(err, "")
	}
	for _, f := range made {
		sayln(g.out, f)
	}
	g.importNotes(plan)
	with := ""
	if path != defaultConfigs[0] {
		with = " --config " + path
	}
	sayf(g.err, "\nNext:\n  drawbridge check%[1]s\n  drawbridge doctor%[1]s   does it work with your servers? Stop the other bridge first\n  drawbridge run%[1]s\n", with)
	return nil
}

func (g *globals) importErrors(list config.Errors) {
	for _, e := range list {
		sayln(g.err, clean(e.Error()))
	}
}

// importNotes lists what was carried otherwise, or not at all.
func (g *globals) importNotes(plan *importer.Plan) {
	networks, accounts, bridges := plan.Counts()
	sayf(g.out, "carried: %s, %s, %s\n", count(networks, "network"), count(accounts, "account"), count(bridges, "bridge"))
	for _, list := range []struct {
		head  string
		notes []config.Error
	}{{"carried in another form", plan.Changed}, {"not carried", plan.Left}} {
		if len(list.notes) == 0 {
			continue
		}
		sayf(g.out, "%s:\n", list.head)
		for _, e := range list.notes {
			sayln(g.out, "  "+clean(e.Error()))
		}
	}
}
