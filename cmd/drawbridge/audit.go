package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"drawbridge/internal/admin"
	"drawbridge/internal/store"
)

// audit is what each bridge counted, for `drawbridge audit`.
func (b *bot) audit(ctx context.Context) ([]store.Account, error) {
	if b.store != nil {
		return b.store.Audit(ctx)
	}
	out := []store.Account{}
	for _, br := range b.core.Status().Bridges {
		out = append(out, store.Account{Bridge: br.Name, Ledger: br.Ledger, Rows: br.Ledger.Waiting, Unproven: br.Ledger.Unproven, Balanced: br.Ledger.Balanced()})
	}
	return out, nil
}

func newAudit(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show that every message is accounted for",
		Long: `Show what each bridge counted over all its runs, and whether it adds up: every
message taken in was relayed, waits, was refused, bounced, or is parked. It asks
the running bot, or else reads the store. The exit code is 1 if a bridge does not
balance.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			accounts := []store.Account{}
			err := g.call(cmd, "audit", nil, &accounts)
			var failed *exitError
			if errors.As(err, &failed) && errors.Is(failed.err, admin.ErrNotRunning) {
				accounts, err = g.auditFile(cmd.Context())
			}
			if err != nil {
				return err
			}
			if g.json {
				err = json.NewEncoder(g.out).Encode(accounts)
			} else {
				g.printAccounts(accounts)
			}
			for _, a := range accounts {
				if !a.Balanced && err == nil {
					err = said(exitFailed)
				}
			}
			return err
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

// auditFile reads the accounts of a bot that does not run.
func (g *globals) auditFile(ctx context.Context) ([]store.Account, error) {
	c, err := g.loadStored()
	if err != nil {
		return nil, err
	}
	accounts, err := store.Audit(ctx, storeConfig(c))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failed(err, "drawbridge run makes it")
	}
	if err != nil {
		return nil, storeFailed(err)
	}
	return accounts, nil
}

func (g *globals) printAccounts(accounts []store.Account) {
	if len(accounts) == 0 {
		sayln(g.out, "nothing was counted yet")
	}
	for _, a := range accounts {
		l := a.Ledger
		sayf(g.out, "BRIDGE %s\n", clean(a.Bridge))
		sayf(g.out, "received %d = %d accepted + %d refused + %d unreadable + %d commands + %d again + %d looped + %d paused\n",
			l.Received, l.Accepted, l.Refused, l.Unreadable, l.Commands, l.Again, l.Looped, l.Paused)
		sayf(g.out, "copies %d = %d relayed + %d waiting + %d bounced + %d missed + %d skipped + %d dead + %d unproven\n",
			l.Queued, l.Relayed, l.Waiting, l.Bounced, l.Missed, l.Skipped, l.Dead, l.Unproven)
		sayf(g.out, "of the relayed %d were in doubt and had arrived; in doubt and sent again: %d that had not, %d that nobody could be asked for; %d got there, were not read, and were sent again\n", l.Found, l.Absent, l.Resent, l.Unread)
		sayf(g.out, "of the dead %d are parked, %d lost their keys, the others were dropped; %d gaps were told\n", a.Parked, a.Lost, l.Gaps)
		if a.Balanced {
			sayf(g.out, "balanced: %d rows wait\n", a.Rows)
		} else {
			sayf(g.out, "! this does not balance (%d rows wait): please report it\n", a.Rows)
		}
	}
}
