package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"drawbridge/internal/admin"
)

func newReload(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Make the running bot read its configuration anew",
		Long: `Make the running bot read its configuration and keys anew, and print what
changed. A bad file is refused whole and the old one stays. Connections that
did not change are not dropped.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var ch change
			if err := g.call(cmd, "reload", nil, &ch); err != nil {
				return err
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(ch)
			}
			lines := ch.lines()
			if len(lines) == 0 {
				lines = []string{"nothing changed"}
			}
			for _, l := range lines {
				sayln(g.out, clean(l))
			}
			return nil
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

// call asks the running bot for verb.
func (g *globals) call(cmd *cobra.Command, verb string, args, result any) error {
	paths, err := g.sockets()
	if err != nil {
		return err
	}
	for _, p := range paths {
		err = admin.Call(cmd.Context(), p, verb, args, result)
		if !errors.Is(err, admin.ErrNotRunning) {
			break
		}
	}
	var e *admin.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		return &exitError{max(e.Code, exitFailed), e.Err, e.Hint}
	case errors.Is(err, admin.ErrNotRunning):
		err = fmt.Errorf("%w at %s", admin.ErrNotRunning, strings.Join(paths, ", ")) // all that were tried
		return failed(err, "drawbridge run, or name its configuration with --config FILE")
	default:
		return failed(err, "ask as the bot's user or as root")
	}
}
