package main

import "github.com/spf13/cobra"

func newMigrate(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Move a team from IRC to encrypted Jabber",
		Long:  `Move a team from IRC to encrypted Jabber, room by room. See docs/migration.md.`,
		RunE:  needsVerb("migrate", "drawbridge migrate -h"),
	}
	cmd.AddCommand(
		newMigrateArchive(g),
		newMigrateProvision(g),
	)
	return cmd
}
