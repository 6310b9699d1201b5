package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/internal/admin"
	"drawbridge/internal/config"
	"drawbridge/internal/store"
)

// backupTime bounds a backup: a store of millions of ids takes its time.
const backupTime = time.Hour

// storeHints are the ways out of a store's errors.
var storeHints = []struct {
	err  error
	hint string
}{
	{store.ErrBusy, "drawbridge status; stop the bot that has it, or give this one another store.path"},
	{store.ErrNetwork, "set store.path to a folder on a local disk"},
	{store.ErrNewer, "start the version of drawbridge that wrote it, or restore the copy in its folder backups"},
	{store.ErrKey, "put master.key back in its place, or store.key_file or store.passphrase_file as they were"},
	{store.ErrCorrupt, "drawbridge store check; then drawbridge store restore FILE"},
	{store.ErrFull, "make room on the disk"},
	{store.ErrReadOnly, "give the folder to the bot's user, or set store.path to one that it may write to"},
	{store.ErrRowsWait, "add --force to lose them"},
	{fs.ErrExist, "name a file that is not there yet"},
}

// storeHint is the way out of err.
func storeHint(err error) string {
	for _, h := range storeHints {
		if errors.Is(err, h.err) {
			return h.hint
		}
	}
	return ""
}

func storeFailed(err error) error { return failed(err, storeHint(err)) }

// closeStore closes what openStore opened.
func closeStore(s *store.Store, log *slog.Logger) {
	if s == nil {
		return
	}
	if err := s.Close(); err != nil {
		log.Error("store not closed", "err", err)
	}
}

// storeRows are what the running bot answers about its store.
func storeRows(b *bot) []admin.Row {
	with := func(f func(ctx context.Context, args storeArgs) (any, error)) func(context.Context, json.RawMessage) (any, error) {
		return func(ctx context.Context, raw json.RawMessage) (any, error) {
			if b.store == nil {
				return nil, &admin.Error{Err: errors.New("this bot keeps everything in memory"), Hint: "remove store.memory and restart it"}
			}
			var args storeArgs
			if len(raw) > 0 {
				if err := json.Unmarshal(raw, &args); err != nil {
					return nil, err
				}
			}
			out, err := f(ctx, args)
			if err != nil {
				return nil, &admin.Error{Err: err, Hint: storeHint(err)}
			}
			return out, nil
		}
	}
	return []admin.Row{
		{Verb: "store queue", Needs: admin.Look, Handle: with(func(ctx context.Context, _ storeArgs) (any, error) { return b.store.Waiting(ctx) })},
		{Verb: "store dead", Needs: admin.Look, Handle: with(func(ctx context.Context, _ storeArgs) (any, error) { return b.store.Parked(ctx) })},
		{Verb: "store dead retry", Needs: admin.Change, Handle: with(b.retryParked)},
		{Verb: "store dead drop", Needs: admin.Change, Handle: with(b.dropParked)},
		{Verb: "store trace", Needs: admin.Look, Handle: with(func(ctx context.Context, a storeArgs) (any, error) { return b.store.Trace(ctx, a.ID) })},
		{Verb: "store backup", Needs: admin.Change, Timeout: backupTime, Handle: with(func(ctx context.Context, a storeArgs) (any, error) {
			return nil, b.store.Backup(ctx, a.File)
		})},
	}
}

// storeArgs are the arguments of the verbs of store.
type storeArgs struct {
	File string   `json:"file,omitempty"`
	ID   string   `json:"id,omitempty"`
	Seqs []uint64 `json:"seqs,omitempty"` // none: all
}

// parked are the rows that the arguments mean.
func (b *bot) parked(ctx context.Context, a storeArgs) ([]uint64, error) {
	if len(a.Seqs) > 0 {
		return a.Seqs, nil
	}
	rows, err := b.store.Parked(ctx)
	if err != nil {
		return nil, err
	}
	var seqs []uint64
	for _, r := range rows {
		seqs = append(seqs, r.Seq)
	}
	return seqs, nil
}

func (b *bot) retryParked(ctx context.Context, a storeArgs) (any, error) {
	seqs, err := b.parked(ctx, a)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, seq := range seqs {
		row, err := b.store.Retry(ctx, seq)
		if err != nil {
			return nil, err
		}
		if row != nil {
			b.core.Requeue(row)
			n++
		}
	}
	return n, nil
}

func (b *bot) dropParked(ctx context.Context, a storeArgs) (any, error) {
	seqs, err := b.parked(ctx, a)
	if err != nil {
		return nil, err
	}
	return b.store.Drop(ctx, seqs)
}

func newStore(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look at what waits, and back the store up",
		Long: `Look at what waits to be delivered, and back up, check and restore the store.

queue, dead, trace and backup ask the running bot; check and restore work on the files
and need it stopped. None of them shows what anybody said.`,
		RunE: needsVerb("store", "drawbridge store queue|dead|trace|backup|check|restore"),
	}
	cmd.AddCommand(newStoreQueue(g), newStoreDead(g), newStoreTrace(g), newStoreBackup(g), newStoreCheck(g), newStoreRestore(g))
	return cmd
}

func newStoreQueue(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue [ROOM]",
		Short: "Count what waits for each room, or for one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []store.Waiting
			if err := g.call(cmd, "store queue", nil, &all); err != nil {
				return err
			}
			shown := []store.Waiting{}
			for _, w := range all {
				if len(args) == 0 || w.Room.String() == args[0] || w.Room.Name == args[0] {
					shown = append(shown, w)
				}
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(shown)
			}
			return g.printWaiting(shown, time.Now())
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

// printWaiting writes a table of rooms.
func (g *globals) printWaiting(all []store.Waiting, now time.Time) error {
	if len(all) == 0 {
		sayln(g.out, "nothing waits")
		return nil
	}
	w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
	sayln(w, "ROOM\tQUEUED\tTRIED\tDEAD\tLOST\tOLDEST")
	for _, r := range all {
		sayf(w, "%s\t%d\t%d\t%d\t%d\t%s\n", clean(r.Room.String()), r.Queued, r.Tried, r.Dead, r.Lost, ago(now, r.Oldest))
	}
	return w.Flush()
}

func newStoreDead(g *globals) *cobra.Command {
	list := func(cmd *cobra.Command, _ []string) error {
		var rows []store.Parked
		if err := g.call(cmd, "store dead", nil, &rows); err != nil {
			return err
		}
		if g.json {
			return json.NewEncoder(g.out).Encode(rows)
		}
		if len(rows) == 0 {
			sayln(g.out, "nothing is parked")
			return nil
		}
		w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
		sayln(w, "NUMBER\tBRIDGE\tFROM\tTO\tAGE\tREASON")
		for _, r := range rows {
			state := clean(r.Reason)
			if r.Lost {
				state = "lost: its key is gone"
			}
			sayf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", r.Seq, r.Bridge, clean(r.From.String()), clean(r.To.String()), ago(time.Now(), r.Queued), state)
		}
		return w.Flush()
	}
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List, retry or drop what no network takes",
		Long: `List what was refused for good, and what is lost because the key that sealed it
is gone; try it once more, or drop it.`,
		Args: cobra.NoArgs,
		RunE: list,
	}
	jsonFlag(cmd, g)
	sub := &cobra.Command{Use: "list", Short: "List them", Args: cobra.NoArgs, RunE: list}
	jsonFlag(sub, g)
	cmd.AddCommand(sub,
		newStoreParked(g, "retry", "Try rows again, or all", "%d tried again"),
		newStoreParked(g, "drop", "Drop rows, or all", "%d dropped"))
	return cmd
}

func newStoreParked(g *globals, verb, short, done string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " all|NUMBER…",
		Short: short,
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var a storeArgs
			for _, arg := range args {
				if arg == "all" && len(args) == 1 {
					break
				}
				var seq uint64
				if _, err := fmt.Sscanf(arg+"\n", "%d\n", &seq); err != nil || seq == 0 {
					return misused(fmt.Errorf("%q is no number of a row", arg), "drawbridge store dead list")
				}
				a.Seqs = append(a.Seqs, seq)
			}
			var n int64
			if err := g.call(cmd, "store dead "+verb, a, &n); err != nil {
				return err
			}
			sayf(g.out, done+"\n", n)
			return nil
		},
	}
}

func newStoreTrace(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trace ID",
		Short: "Tell where a message went, by any of its ids",
		Long: `Tell where a message went, by the id that one of its networks or the bot knows it
by (msgid, stanza-id, origin-id, the id of a log line), for as long as ids are
kept (store.retain.ids).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			traces := []store.Trace{}
			if err := g.call(cmd, "store trace", storeArgs{ID: args[0]}, &traces); err != nil {
				return err
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(traces)
			}
			if len(traces) == 0 {
				sayln(g.out, "no message goes by this id")
				return nil
			}
			w := tabwriter.NewWriter(g.out, 0, 4, 2, ' ', 0)
			sayln(w, "FROM\tID\tTO\tOUR ID\tTHEIR ID\tSTATE\tAT")
			for _, t := range traces {
				sayf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clean(t.From.String()), clean(dash(t.ID)), clean(t.To.String()), t.WireID, clean(dash(t.NetID)),
					t.State, t.At.Format(time.DateTime))
			}
			return w.Flush()
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

func newStoreBackup(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the store of the running bot to a new file",
		Long: `Copy the store of the running bot to a new file, as it is at one moment. The
master key is not in it: keep a copy of that in another place. What waits is in
it without the keys that open it: restore brings everything else back.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return failed(err, "")
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), backupTime)
			defer cancel()
			cmd.SetContext(ctx)
			if err := g.call(cmd, "store backup", storeArgs{File: path}, nil); err != nil {
				return err
			}
			sayln(g.out, path)
			return nil
		},
	}
}

func newStoreCheck(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at every page, key and row of the store; the bot is stopped",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.loadStored()
			if err != nil {
				return err
			}
			r, err := store.Check(cmd.Context(), storeConfig(c))
			if err != nil {
				return storeFailed(err)
			}
			if g.json {
				err = json.NewEncoder(g.out).Encode(r)
			} else {
				err = g.printReport(r)
			}
			if err == nil && (r.Unreadable > 0 || len(r.Unbalanced) > 0 || r.Broken != "") {
				err = said(exitFailed)
			}
			return err
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

// loadStored reads the configuration of a bot that has a store.
func (g *globals) loadStored() (*config.Config, error) {
	c, err := g.load()
	if err == nil && c.Store.Memory {
		err = misused(errors.New("this bot keeps everything in memory"), "remove store.memory")
	}
	return c, err
}

func (g *globals) printReport(r *store.Report) error {
	sayf(g.out, "the file is sound: schema %d, %d messages remembered, %d secrets, %d acts of the guard\n", r.Schema, r.IDs, r.Secrets, r.Acts)
	if r.Broken != "" {
		sayf(g.out, "! %s: somebody altered the file\n", clean(r.Broken))
	}
	if r.Unreadable > 0 {
		sayf(g.out, "! %d rows cannot be opened: their keys are gone, the next start counts them as lost\n", r.Unreadable)
	}
	if len(r.Unbalanced) > 0 {
		sayf(g.out, "! the counters of %s do not balance: please report it\n", clean(strings.Join(r.Unbalanced, ", ")))
	}
	return g.printWaiting(r.Rooms, time.Now())
}

func newStoreRestore(g *globals) *cobra.Command {
	force := false
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the store; the bot is stopped",
		Long: `Put a backup in the place of the store, with the master key it was made with.
The bot is stopped. Rows that waited when the backup was made are counted as
lost, because their keys are in no backup; everything else comes back. What was
there before is put aside in the same folder.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.loadStored()
			if err != nil {
				return err
			}
			r, err := store.Restore(cmd.Context(), storeConfig(c), args[0], force)
			if err != nil {
				return storeFailed(err)
			}
			if g.json {
				return json.NewEncoder(g.out).Encode(r)
			}
			if r.Aside != "" {
				sayf(g.out, "the store before is now %s\n", r.Aside)
			}
			sayf(g.out, "%d rows waited then and are lost\n", r.Lost())
			return g.printReport(r)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "lose what waits in the present store, too")
	jsonFlag(cmd, g)
	return cmd
}
