// Command drawbridge joins IRC channels to encrypted Jabber contacts and rooms.
//
// Results go to stdout, everything else to stderr. The exit code is 0 when all
// is well, 1 when something failed, and 2 when drawbridge was misused or its
// configuration is wrong.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitMisuse = 2
)

// streams are the three standard streams of a verb.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// exitError is an error that ends a verb with a code and, where there is one, a
// hint of what to do next. Err may be nil: then everything was said already.
type exitError struct {
	code int
	err  error
	hint string
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e *exitError) Unwrap() error { return e.err }

// failed returns an error that ends the verb with code 1.
func failed(err error, hint string) error { return &exitError{exitFailed, err, hint} }

// misused returns an error that ends the verb with code 2.
func misused(err error, hint string) error { return &exitError{exitMisuse, err, hint} }

// said returns an error for a verb that has already said what is wrong.
func said(code int) error { return &exitError{code: code} }

// sayf and sayln write to one of the streams. Whether stdout took it all is looked
// at once, in the end; to a stderr that is gone nothing can be said.
func sayf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

func sayln(w io.Writer, args ...any) { _, _ = fmt.Fprintln(w, args...) }

// checked remembers the first error of a writer.
type checked struct {
	io.Writer
	err error
}

func (c *checked) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// run is drawbridge with args; it returns the exit code.
func run(args []string, s streams) int {
	out := &checked{Writer: s.out}
	s.out = out
	g := &globals{streams: s}
	root := newRoot(g)
	root.SetArgs(args)
	root.SetIn(s.in)
	root.SetOut(s.out)
	root.SetErr(s.err)
	cmd, err := root.ExecuteC()
	if err == nil && out.err != nil {
		err = failed(fmt.Errorf("not all was printed: %w", out.err), "")
	}
	if err == nil {
		return exitOK
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{code: exitFailed, err: err}
		if !g.started { // cobra's own: unknown verb or flag, wrong number of arguments
			e.code, e.hint = exitMisuse, "drawbridge help"
			if cmd.HasParent() {
				e.hint = cmd.CommandPath() + " -h"
			}
		}
	}
	if e.err != nil {
		sayln(s.err, complaint(e.err, e.hint))
	}
	return e.code
}

// complaint is how drawbridge says what went wrong.
func complaint(err error, hint string) string {
	line := "drawbridge: " + err.Error()
	if hint != "" {
		line += "; hint: " + hint
	}
	return line
}

// globals are the flags that every verb understands alike.
type globals struct {
	streams
	config  string // --config
	json    bool   // --json, where a verb has it
	started bool   // set once a verb itself runs
}

// newRoot returns the tree of verbs. A new verb is one line here.
func newRoot(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:   "drawbridge",
		Short: "Join IRC channels to encrypted Jabber contacts and rooms",
		Long: `Drawbridge joins IRC channels to encrypted Jabber (XMPP) contacts and rooms.

Start with "drawbridge init", then "check", "doctor" and "run". Results go to
stdout, everything else to stderr. Exit codes: 0 all is well, 1 something
failed, 2 misuse or a wrong configuration.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { g.started = true },
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(g.err)
			_ = cmd.Usage()
			return said(exitMisuse)
		},
		Args: cobra.NoArgs,
	}
	root.PersistentFlags().StringVar(&g.config, "config", "",
		"configuration `FILE` (default: ./drawbridge.yaml, then /etc/drawbridge/drawbridge.yaml)")
	_ = root.MarkPersistentFlagFilename("config", "yaml", "yml")
	root.AddCommand(
		newInit(g), newImport(g),
		newRegister(g),
		newCheck(g),
		newDoctor(g),
		newRun(g),
		newStatus(g), newAudit(g),
		newReload(g),
		newKeys(g),
		newTrust(g),
		newOTRVerbs(g),
		newGuard(g),
		newMigrate(g),
		newStore(g),
		newVersion(g),
		newMan(g),
	)
	return root
}

// needsVerb is what a verb does that only has others below it: it says which.
func needsVerb(name, hint string) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		what := name + " needs a verb"
		if len(args) > 0 {
			what = fmt.Sprintf("unknown verb %q of %s", args[0], name)
		}
		return misused(errors.New(what), hint)
	}
}

// jsonFlag gives a verb the flag --json.
func jsonFlag(cmd *cobra.Command, g *globals) {
	cmd.Flags().BoolVar(&g.json, "json", false, "print JSON")
}
