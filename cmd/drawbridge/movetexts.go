package main

import (
	"github.com/spf13/cobra"

	"drawbridge/bridge/wording"
)

func newMigrateTexts(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "texts",
		Short: "Print all that !move says, to edit or translate",
		Long: `Print the file of all that !move says to people on IRC, in English and German. An
edited copy, or one with further languages, takes its place by migration.BRIDGE.texts;
"drawbridge check" names each key and placeholder that it lacks, with its line.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := g.out.Write(wording.Source)
			return err
		},
	}
}
