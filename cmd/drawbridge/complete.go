package main

import (
	"github.com/spf13/cobra"

	"drawbridge/internal/config"
)

// completeOwners completes the names of accounts and people of the configuration.
func (g *globals) completeOwners(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return g.complete(args, func(c *config.Config) (names []string) {
		for i := range c.Accounts {
			if c.Accounts[i].OpenPGP != nil {
				names = append(names, c.Accounts[i].Name)
			}
		}
		return append(names, peopleNames(c)...)
	})
}

// completePeople completes the names of people.
func (g *globals) completePeople(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	return g.complete(args, peopleNames)
}

// complete completes a first argument by names of the configuration; nothing if it
// does not load.
func (g *globals) complete(args []string, names func(*config.Config) []string) ([]string, cobra.ShellCompDirective) {
	path, err := g.configPath()
	if err != nil || len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, err := config.Load(path, loadOptions())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(c), cobra.ShellCompDirectiveNoFileComp
}

func peopleNames(c *config.Config) []string {
	var names []string
	for i := range c.People {
		names = append(names, c.People[i].Name)
	}
	return names
}
