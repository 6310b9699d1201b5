package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// newMan returns the hidden verb that `make man` calls.
func newMan(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:    "man [FILE]",
		Short:  "Write the manual page",
		Args:   cobra.MaximumNArgs(1),
		Hidden: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			out := g.out
			if len(args) == 1 {
				f, err := os.Create(args[0])
				if err != nil {
					return failed(err, "")
				}
				defer func() { _ = f.Close() }()
				out = f
			}
			return writeMan(out, cmd.Root())
		},
	}
}

// writeMan writes one page, man(7), for the whole tree of verbs. (cobra/doc
// writes one page per verb and would link a Markdown renderer into the bot.)
func writeMan(w io.Writer, root *cobra.Command) error {
	_, err := fmt.Fprintf(w, `.TH DRAWBRIDGE 1 "" Drawbridge "User Commands"
.SH NAME
drawbridge \- %s
.SH SYNOPSIS
.B drawbridge
.I verb
[\fIflags\fR]
.SH DESCRIPTION
%s
.SH OPTIONS
These are the same for every verb.
.nf
%s.fi
.SH VERBS
`, roff(root.Short), roff(root.Long), roff(root.PersistentFlags().FlagUsagesWrapped(76)))
	if err != nil {
		return err
	}
	if err := writeVerbs(w, root); err != nil {
		return err
	}
	_, err = io.WriteString(w, manFiles)
	return err
}

// writeVerbs writes a subsection for each visible verb below cmd.
func writeVerbs(w io.Writer, cmd *cobra.Command) error {
	for _, c := range cmd.Commands() {
		if c.Hidden || c.Name() == "help" {
			continue
		}
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		if _, err := fmt.Fprintf(w, ".SS %s\n%s\n", roff(c.UseLine()), roff(text)); err != nil {
			return err
		}
		if flags := c.LocalNonPersistentFlags().FlagUsagesWrapped(76); flags != "" {
			if _, err := fmt.Fprintf(w, ".PP\n.nf\n%s.fi\n", roff(flags)); err != nil {
				return err
			}
		}
		if err := writeVerbs(w, c); err != nil {
			return err
		}
	}
	return nil
}

// roff escapes text for man(7); an empty line becomes a new paragraph.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		switch {
		case l == "" && i < len(lines)-1:
			lines[i] = ".PP"
		case strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'"):
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

const manFiles = `.SH FILES
.TP
.I ./drawbridge.yaml, /etc/drawbridge/drawbridge.yaml
The configuration, looked for in this order unless \-\-config names another.
.SH EXIT STATUS
0 all is well, 1 something failed, 2 misuse or a wrong configuration.
.SH SIGNALS
.TP
.B SIGHUP
Reload the configuration; a bad file is refused whole and the old one stays.
.TP
.B SIGTERM, SIGINT
Shut down, for at most fifteen seconds; a second one ends drawbridge at once.
`
