package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/bridge/wording"
	"drawbridge/internal/config"
)

func newMigrateTexts(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "texts",
		Short: "Print all that people are told, to edit or translate",
		Long: `Print the file of all that !move says to people on IRC, and that a channel and its
Jabber side are told of a migration, in English and German. An edited copy, or one with further languages, takes its place by migration.BRIDGE.texts;
"drawbridge check" names each key and placeholder that it lacks, with its line.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := g.out.Write(wording.Source)
			return err
		},
	}
}

// migrationTexts are the texts of each migration.
type migrationTexts map[string]*wording.Texts

// readTexts reads the texts of all migrations of c: the program's own, or edited files.
// What is wrong with a file is an error of the configuration, by its lines.
func readTexts(c *config.Config) (migrationTexts, error) {
	out := migrationTexts{}
	var bad config.Errors
	for i := range c.Migration {
		m := &c.Migration[i]
		texts, wrong := textsOf(c, m)
		bad = append(bad, wrong...)
		for n, lang := range m.Language {
			if texts != nil && !texts.Has(lang) {
				bad = append(bad, c.Errorf(fmt.Sprintf("migration.%s.language[%d]", m.Name, n), "one of "+strings.Join(texts.Languages(), ", "), "there are no texts in %q", lang))
			}
		}
		out[m.Name] = texts
	}
	if len(bad) > 0 {
		return nil, bad
	}
	return out, nil
}

// textsOf are the texts of one migration.
func textsOf(c *config.Config, m *config.Migration) (*wording.Texts, config.Errors) {
	if m.Texts == "" {
		return wording.Builtin(), nil
	}
	data, err := os.ReadFile(m.Texts)
	if err != nil {
		return nil, config.Errors{c.Errorf("migration."+m.Name+".texts", "drawbridge migrate texts > FILE writes one to edit", "%v", err)}
	}
	texts, problems := wording.Parse(data)
	var bad config.Errors
	for _, p := range problems {
		bad = append(bad, config.Error{Pos: config.Pos{File: m.Texts, Line: p.Line}, What: p.What, Fix: "compare with drawbridge migrate texts"})
	}
	return texts, bad
}
