package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"drawbridge/bridge"
	"drawbridge/internal/config"
	"drawbridge/xmpp/openpgp"
)

// finding is one thing that check has to say.
type finding struct {
	Level string `json:"level"` // "error" or "warning"
	File  string `json:"file"`
	Line  int    `json:"line,omitempty"`
	Key   string `json:"key,omitempty"`
	What  string `json:"what"`
	Fix   string `json:"fix,omitempty"`

	said string
}

func newFinding(level string, e config.Error) finding {
	return finding{level, e.Pos.File, e.Pos.Line, e.Key, e.What, e.Fix, e.Error()}
}

func newCheck(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and the keys, offline",
		Long: `Check the configuration and every key it names, without any connection. All
that is wrong is said at once, each with its file, line, key and the way out.

The exit code is 2 if there is an error; warnings alone do not count. It may be
asked while the bot runs: "drawbridge reload" makes the same checks first.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path, err := g.configPath()
			if err != nil {
				return err
			}
			c, found := checkAll(path)
			return g.printFindings(path, c, found)
		},
	}
	jsonFlag(cmd, g)
	return cmd
}

// checkAll looks at everything that can be looked at offline. The config is nil
// if it does not load.
func checkAll(path string) (*config.Config, []finding) {
	var found []finding
	add := func(level string, errs ...config.Error) {
		for _, e := range errs {
			found = append(found, newFinding(level, e))
		}
	}
	c, err := config.Load(path, loadOptions())
	if err != nil {
		add("error", configErrors(path, err)...)
		return nil, found
	}
	add("warning", c.Warnings...)
	past := "warning" // a phase that is entered already has such a date; the running bot knows
	if _, err := os.Stat(c.Store.Path); err != nil {
		past = "error"
	}
	add(past, c.PastDates(time.Now())...)
	quiet := newQuiet()
	k, err := openKeys(c, nil, nil, quiet)
	if err != nil {
		add("error", configErrors(path, err)...)
		return c, found
	}
	for _, err := range k.readLearned(c) {
		add("warning", configErrors(path, err)...)
	}
	wrong, awaited := k.check(c)
	add("error", wrong...)
	add("warning", awaited...)
	if _, err := newBot(c, k, buildLeg(nil, quiet), nil, quiet, new(slog.LevelVar)); err != nil {
		add("error", configErrors(path, err)...)
	}
	now := time.Now()
	for _, r := range k.report(c) {
		if n := warnStep(r, now); n > 0 && n <= len(warnSpans) {
			key := "people." + r.Person + ".openpgp"
			if r.Account != "" {
				key = "accounts." + r.Account + ".openpgp"
			}
			add("warning", c.Errorf(key, "", "%s", expiryWarning(r, r.Expires.Sub(now))))
		}
	}
	add("warning", k.ofOthers(c)...)
	return c, found
}

// ofOthers are keys of people that name addresses (xmpp:), and none of theirs: mostly
// somebody else's key. Their owner's word alone makes them neither right nor wrong.
func (k *keys) ofOthers(c *config.Config) (out []config.Error) {
	all := k.ring.List(time.Now())
	for i := range c.People {
		p := &c.People[i]
		for _, fpr := range p.OpenPGP {
			at := slices.IndexFunc(all, func(key openpgp.Info) bool { return key.Fingerprint == fpr })
			if at < 0 {
				continue
			}
			var named []string
			for _, id := range all[at].UserIDs {
				if j, ok := strings.CutPrefix(id, "xmpp:"); ok {
					named = append(named, clean(j))
				}
			}
			theirs := func(j string) bool {
				return slices.ContainsFunc(p.JIDs, func(own string) bool { return strings.EqualFold(own, j) })
			}
			if len(named) > 0 && !slices.ContainsFunc(named, theirs) {
				out = append(out, c.Errorf("people."+p.Name+".openpgp", "compare its fingerprint with "+p.Name, "the key %s is of %s, as its owner says, and of no address of %s", fpr, strings.Join(named, ", "), p.Name))
			}
		}
	}
	return out
}

// configErrors makes a list of whatever err is.
func configErrors(path string, err error) []config.Error {
	var list config.Errors
	if errors.As(err, &list) {
		return list
	}
	var one config.Error
	if errors.As(err, &one) {
		return []config.Error{one}
	}
	var out []config.Error
	for _, e := range split(err) {
		what := strings.TrimPrefix(e.Error(), bridge.ErrConfig.Error()+": ")
		out = append(out, config.Error{Pos: config.Pos{File: path}, What: what})
	}
	return out
}

// printFindings prints what check found, and returns its exit code.
func (g *globals) printFindings(path string, c *config.Config, found []finding) error {
	errs := 0
	for _, f := range found {
		if f.Level == "error" {
			errs++
		}
	}
	if g.json {
		enc := json.NewEncoder(g.out)
		enc.SetIndent("", "  ")
		if found == nil {
			found = []finding{}
		}
		if err := enc.Encode(map[string]any{"file": path, "ok": errs == 0, "findings": found}); err != nil {
			return failed(err, "")
		}
	} else {
		g.sayFindings(path, c, found, errs)
	}
	if errs > 0 {
		return said(exitMisuse)
	}
	return nil
}

func (g *globals) sayFindings(path string, c *config.Config, found []finding, errs int) {
	for _, f := range found {
		line := f.said
		if f.Level == "warning" {
			line = "warning: " + line
		}
		sayln(g.out, clean(line))
	}
	warnings := len(found) - errs
	if errs > 0 {
		sayf(g.out, "%s: %s, %s\n", path, count(errs, "error"), count(warnings, "warning"))
		return
	}
	ok := fmt.Sprintf("%s: ok (%s, %s, %s, %s)", path, count(len(c.Networks), "network"), count(len(c.Accounts), "account"),
		count(len(c.People), "person"), count(len(c.Bridges), "bridge"))
	if len(c.Rooms) > 0 {
		ok = strings.TrimSuffix(ok, ")") + ", " + count(len(c.Rooms), "guarded room") + ")"
	}
	if warnings > 0 {
		ok += ", " + count(warnings, "warning")
	}
	sayln(g.out, ok)
	if len(c.Bridges) > 0 && !slices.ContainsFunc(c.Bridges, func(b config.Bridge) bool { return b.Require.Encrypted() }) {
		sayln(g.out, "note: no bridge requires encryption")
	}
	if fi, err := os.Stat(path); err == nil && fi.Mode().Perm()&0o077 != 0 {
		sayf(g.out, "note: %s can be read by others (it holds no secret); chmod 600 keeps the names in it private\n", path)
	}
}

// count says "1 error", "2 errors", "3 people".
func count(n int, what string) string {
	switch {
	case n == 1:
	case what == "person":
		what = "people"
	default:
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
